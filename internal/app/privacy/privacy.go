// Package privacy builds the erasure of people on the stores of one process:
// what each has to do, in the order in which nothing of it can come back.
package privacy

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"fettle.dev/fettle/internal/bus"
	"fettle.dev/fettle/internal/campaign"
	"fettle.dev/fettle/internal/condition/watch"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/fleet/access"
	"fettle.dev/fettle/internal/privacy"
	"fettle.dev/fettle/internal/sqldb"
	store "fettle.dev/fettle/internal/sqldb/privacy"
	"fettle.dev/fettle/internal/telemetry"
)

// Deps is what an erasure works on.
type Deps struct {
	Records   *sqldb.DB
	Sessions  access.Store
	Consents  *consent.Service
	Campaigns *campaign.Manager
	Gateway   *device.Gateway
	Stream    *bus.Bus
	// Settled waits until history and detectors' state hold the stream up to a position.
	Settled func(ctx context.Context, position uint64) error
	Watcher *watch.Watcher
	History interface {
		EraseUnits(ctx context.Context, units []int64, signals []string) error
		EraseSpan(ctx context.Context, unit int64, from, to time.Time) error
		Scrub(ctx context.Context) error
	}
	Data string // data directory
	// Busy is held while a backup is made, which needs what the stream holds.
	Busy interface {
		Lock()
		Unlock()
	}
	// Handed is told, in the transaction that unlinks them, of units that have no owner any more.
	Handed func(ctx context.Context, units []string) error
}

// files are those of a person's, by directory below the data directory and the
// table whose rows name them: DATA/<directory>/<id>….
var files = []struct{ dir, table, column string }{
	{"exports", "consent_export", "owner_id"},
}

// Stores is what the service of erasures asks for.
func Stores(d Deps) privacy.Stores {
	return privacy.Stores{
		Stop: func(ctx context.Context, s *privacy.Subject) error {
			if err := d.Sessions.DropSession(ctx, access.PartyOwner, s.OwnerID, ""); err != nil {
				return err
			}
			if err := d.Sessions.DropLinks(ctx, access.PartyOwner, s.OwnerID); err != nil {
				return err
			}
			if err := d.removeFiles(ctx, s); err != nil { // while the records still name them
				return err
			}
			if err := d.Consents.Reset(ctx, s.Units, "erasure"); err != nil {
				return err
			}
			return d.Consents.Tell(ctx)
		},
		Unlinked: func(ctx context.Context, s *privacy.Subject) error {
			if d.Handed != nil {
				return d.Handed(ctx, s.Units)
			}
			return d.Campaigns.OwnersChanged(ctx, s.Units)
		},
		Changed: func(ctx context.Context, s *privacy.Subject) error {
			for _, id := range s.Units {
				d.Gateway.Invalidate(id)
			}
			return nil
		},
		Last:    d.Stream.Last,
		Settled: d.Settled,
		Detectors: func(ctx context.Context, s *privacy.Subject) error {
			return d.Watcher.Forget(ctx, func(ctx context.Context) error {
				return store.New(d.Records).EraseFound(ctx, *s)
			})
		},
		History: func(ctx context.Context, s *privacy.Subject) error {
			var whole []int64
			for i, id := range s.Units {
				if s.Whole(id) {
					whole = append(whole, s.Keys[i])
				}
			}
			if err := d.History.EraseUnits(ctx, whole, nil); err != nil {
				return err
			}
			for _, v := range s.Spans {
				if err := d.History.EraseSpan(ctx, v.UnitKey, v.From, v.To); err != nil {
					return err
				}
			}
			return d.History.Scrub(ctx)
		},
		Stream: func(ctx context.Context, position uint64) error {
			d.Busy.Lock()
			defer d.Busy.Unlock()
			if last, err := d.Stream.Last(ctx); err != nil {
				return err
			} else if last <= position { // something must come after what goes
				const interval = 30 * time.Second // as the gateway's ticks say on the clock
				tick := telemetry.Mark{Kind: telemetry.MarkTick, Text: strconv.FormatInt(interval.Milliseconds(), 10)}
				if err := d.Gateway.Mark(ctx, tick); err != nil {
					return err
				}
			}
			return d.Stream.Erase(ctx, position)
		},
		Files: func(context.Context, *privacy.Subject) (map[string]int, error) { return nil, nil }, // see Stop
	}
}

// removeFiles removes what files there are of a person's.
func (d *Deps) removeFiles(ctx context.Context, s *privacy.Subject) error {
	for _, f := range files {
		rows, err := d.Records.Query(ctx, `SELECT id FROM `+f.table+` WHERE `+f.column+` = ?`, s.OwnerID)
		if err != nil {
			return err
		}
		var ids []string
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return errors.Join(err, rows.Close())
			}
			ids = append(ids, id)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return err
		}
		for _, id := range ids {
			found, err := filepath.Glob(filepath.Join(d.Data, f.dir, filepath.Base(id)+"*"))
			if err != nil {
				return err
			}
			for _, path := range found {
				if err := os.RemoveAll(path); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
