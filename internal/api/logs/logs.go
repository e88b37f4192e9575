// Package logs serves what update clients logged about assignments.
package logs

import (
	"context"
	"net/http"

	"fettle.dev/fettle/internal/fleet/access"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/update"
)

// Reader is what the operations need of the room update; *update.Service is one.
type Reader interface {
	Log(ctx context.Context, id int64) ([]update.LogLine, error)
}

type assignmentIn struct {
	ID int64 `path:"id" minimum:"1" doc:"Action id, a task's assignmentId."`
}

// AssignmentLog is what a client logged.
type AssignmentLog struct {
	Lines []update.LogLine `json:"lines" doc:"The last 1,000 lines, oldest first; empty if the client sent none."`
}

// Register adds the operations to a server.
func Register(s *frame.Server, updates Reader) {
	frame.Add(s, frame.Route{
		Method: http.MethodGet, Path: "/v1/assignments/{id}/log", ID: "getAssignmentLog", Personal: audit.DataUpdates, Summary: "The update client's log of an assignment",
		Doc: "Mender clients send it when a deployment failed.", Tag: "campaigns", Access: access.Look, Sight: frame.ByUnit,
	}, func(ctx context.Context, in *assignmentIn) (AssignmentLog, error) {
		lines, err := updates.Log(ctx, in.ID)
		return AssignmentLog{lines}, err
	})
}
