// Package frame is what every operation of the API stands in: who asks, whether
// they may, how lists are paged and how refusals are told.
package frame

import (
	"log/slog"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/fleet/people"
)

// Server registers operations and lets requests through to them.
type Server struct {
	API       huma.API
	Log       *slog.Logger
	Wall      clock.Clock // the machine's, for the life of sessions
	Access    *access.Service
	Fleet     fleet.Store
	People    *people.Service // who owns and drives what
	PublicURL string          // as people reach us; its origin may call with cookies
	Trail     *audit.Trail    // of changes and looks; nil: none

	origins *http.CrossOriginProtection
}

// Guard makes s authorize every request to its API.
func (s *Server) Guard() {
	s.origins = crossOrigin(s.PublicURL)
	s.API.UseMiddleware(s.authorize)
}
