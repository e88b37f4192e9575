package app

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"fettle.dev/fettle/internal/app/anchor"
	"fettle.dev/fettle/internal/app/archive"
	work "fettle.dev/fettle/internal/app/privacy"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/privacy"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/message"
	store "fettle.dev/fettle/internal/sqldb/privacy"
	"fettle.dev/fettle/internal/sqldb/trail"
)

// Trail opens the audit trail of the service that c names, which may run or
// not. Call close when it is done with.
func Trail(ctx context.Context, c Config, log *slog.Logger) (t *audit.Trail, closing func() error, err error) {
	if info, err := os.Stat(c.Data); err != nil || !info.IsDir() {
		return nil, nil, fault.New(fault.NotFound, "there is no data directory %s: name the service's with --data", c.Data)
	}
	db, err := sqldb.Open(ctx, c.recordsDSN())
	if err != nil {
		return nil, nil, err
	}
	return trailOf(c, db, log), db.Close, nil
}

func trailOf(c Config, db *sqldb.DB, log *slog.Logger) *audit.Trail {
	s := trail.New(db)
	return audit.New(audit.Config{Store: s, Tx: db, Clock: clock.Real{}, Log: log, Keeper: anchor.New(c.path(anchor.Name), s, log)})
}

// commanded enters, with what fn changes in the records, that a command was
// given on the service's own machine.
func commanded(ctx context.Context, c Config, db *sqldb.DB, log *slog.Logger, command string, fn func(ctx context.Context) error) error {
	ctx, op := trailOf(c, db, log).Begin(ctx, audit.Entry{
		Kind: audit.Change, Actor: audit.Actor{Party: audit.Command, ID: command}, Operation: command, From: host(),
	})
	err := fn(ctx)
	status := 200
	if err != nil {
		status = 500
	}
	return errors.Join(err, op.End(context.WithoutCancel(ctx), status))
}

// backups seals backups and keeps their keys.
func (h *house) backups() work.Backups {
	return work.Backups{Path: h.config.path(archive.KeyringFile), Store: h.privacy.Store(), Trail: h.trail, Busy: &h.backing}
}

// restored erases from records that were just restored whoever was erased since
// the backup: the work begins when the service starts.
func restored(ctx context.Context, c Config, keys archive.Keyring, log *slog.Logger) (err error) {
	db, err := sqldb.Open(ctx, c.recordsDSN())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := keys.Save(c.path(archive.KeyringFile)); err != nil {
		return err
	}
	return commanded(ctx, c, db, log, "restore", func(ctx context.Context) error {
		n, err := privacy.NewService(privacy.Config{Store: store.New(db), Tx: db, Clock: clock.Real{}, IDs: clock.Random{}, Log: log}).Again(ctx, keys.Erased)
		if n > 0 {
			log.Warn("people in the backup were erased since: they are erased again when the service starts", "people", n)
		}
		return err
	})
}

// host is the machine a command is given on.
func host() string {
	name, _ := os.Hostname()
	return name
}

// remember keeps the trail to its age, and enters once a day that what people's
// data is older than declared was removed; the log then says where the trail
// ends, so that it stands elsewhere, too.
func (h *house) remember(ctx context.Context) error {
	if err := h.backups().Destroy(ctx); err != nil {
		return err
	}
	if err := h.trail.Expire(ctx, clock.Real{}.Now().Add(-h.config.AuditAge)); err != nil {
		return err
	}
	if now := (clock.Real{}).Now(); now.Sub(h.remembered) >= 24*time.Hour {
		const day = 24 * time.Hour
		if _, err := message.Prune(ctx, h.records, now, message.Ages{Safety: 5 * 365 * day, Webhook: min(30*day, h.config.MessageAge), Other: h.config.MessageAge}); err != nil {
			return err
		}
		err := h.trail.Append(ctx, audit.Entry{
			Kind: audit.Change, Actor: audit.Actor{Party: audit.Server, ID: "retention"}, Operation: "applyRetention", Object: "history", Outcome: audit.Done,
			Changed: []string{"what is older than the products declare"},
		})
		if err != nil {
			return err
		}
		head, err := h.trail.Store().Head(ctx)
		if err != nil {
			return err
		}
		h.remembered = now
		h.log.Info("audit trail", "head", head.String())
	}
	return nil
}
