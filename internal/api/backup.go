package api

import (
	"context"
	"net/http"

	"fettle.dev/fettle/internal/fleet/access"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/audit"

	"github.com/danielgtaylor/huma/v2"
)

// backups streams an archive of every store. What fails after the first byte
// cuts the archive short, which restore notices.
func (s *server) backups() {
	r := frame.Route{
		Method: http.MethodGet, Path: "/v1/backup", ID: "backup", Personal: audit.DataBackup, Summary: "Download a backup of everything",
		Doc: "A compressed archive, consistent over all stores, for `fettle restore`.", Tag: "service", Access: access.Administer,
	}
	op := r.Operation()
	op.Responses = map[string]*huma.Response{"200": {
		Description: "The archive.",
		Content:     map[string]*huma.MediaType{"application/zstd": {Schema: &huma.Schema{Type: "string", Format: "binary"}}},
	}}
	huma.Register(s.API, op, func(_ context.Context, _ *frame.None) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			w := &late{ctx: ctx}
			err := audit.Looked(ctx.Context(), audit.Everyone)
			if err == nil {
				err = s.d.Backup(ctx.Context(), w)
			}
			if err == nil {
				return
			}
			if w.begun {
				s.d.Log.ErrorContext(ctx.Context(), "backup", "error", err)
				panic(http.ErrAbortHandler) // so that the client sees a broken transfer, not a whole one
			}
			p := s.Problem(ctx.Context(), err)
			status, why := http.StatusInternalServerError, err.Error()
			if se, ok := p.(huma.StatusError); ok { //nolint:errorlint // problem makes it
				status, why = se.GetStatus(), se.Error()
			}
			s.Refuse(ctx, status, why)
		}}, nil
	})
}

// backupKeys gives what opens backups.
func (s *server) backupKeys() {
	frame.Add(s.Server, frame.Route{
		Method: http.MethodGet, Path: "/v1/backup/keys", ID: "getBackupKeys", Summary: "The keys that open backups",
		Doc: "Keep the newest copy alone, apart from the backups: keys of backups that hold somebody who was erased long enough ago are gone from it.",
		Tag: "service", Access: access.Administer, Personal: audit.DataBackup,
	}, func(ctx context.Context, _ *frame.None) (any, error) {
		if err := audit.Looked(ctx, audit.Everyone); err != nil {
			return nil, err
		}
		return s.d.BackupKeys(ctx)
	})
}

// late sets the headers at the first byte, when nothing can be refused any more.
type late struct {
	ctx   huma.Context
	begun bool
}

func (l *late) Write(p []byte) (int, error) {
	if !l.begun {
		l.begun = true
		l.ctx.SetHeader("Content-Type", "application/zstd")
		l.ctx.SetHeader("Content-Disposition", `attachment; filename="fettle.backup"`)
		l.ctx.SetStatus(http.StatusOK)
	}
	return l.ctx.BodyWriter().Write(p)
}
