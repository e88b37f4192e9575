package api

import (
	"context"
	"errors"

	"github.com/danielgtaylor/huma/v2"
)

// Names of the session cookies.
const (
	OperatorCookie = "fettle_operator"
	OwnerCookie    = "fettle_owner"
)

func (s *server) authorize(ctx huma.Context, next func(huma.Context)) { next(ctx) }
func (s *server) problem(_ context.Context, err error) error          { return err }
func soon[I, O any](context.Context, *I) (o O, err error)             { return o, errors.New("coming") }
func soonDo[I any](context.Context, *I) error                         { return errors.New("coming") }
