// Package rights wires what owners' rights over their data need: notices,
// withdrawals, shares and exports.
package rights

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"fettle.dev/fettle/internal/api/data"
	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/consent/share"
	"fettle.dev/fettle/internal/consent/takeout"
	"fettle.dev/fettle/internal/consent/withdrawal"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/rights"
	"fettle.dev/fettle/internal/telemetry"
	"fettle.dev/fettle/internal/telemetry/live"
)

// Stream is what withdrawals ask of the stream.
type Stream interface {
	Last(ctx context.Context) (uint64, error)
	Erase(ctx context.Context, upTo uint64) error
}

// Eraser is what withdrawals ask of the bare history: what is erased is not read.
type Eraser interface {
	EraseUnits(ctx context.Context, units []int64, signals []string) error
	EraseEvents(ctx context.Context, product string, units []int64, gone func(kind telemetry.EventKind, name string) bool) error
	Scrub(ctx context.Context) error
}

// Config is what the rooms are built on.
type Config struct {
	Records  *sqldb.DB
	Fleet    fleet.Store
	Read     telemetry.History // guarded
	Consents *consent.Service
	History  Eraser
	Stream   Stream
	Flow     telemetry.Stream
	// Settled waits until history and detectors' state hold the stream up to an entry.
	Settled func(ctx context.Context, entry uint64) error
	Clock   clock.Clock
	IDs     clock.IDs
	Log     *slog.Logger
	// Alone runs fn while no backup copies the stream.
	Alone func(fn func() error) error
	// Exports is the directory of owners' exports, and Sources what they are made from.
	Exports string
	Sources Sources
}

// Rooms are those built.
type Rooms struct {
	Notices     *consent.Notices
	Withdrawals *withdrawal.Manager
	Shares      *share.Service
	Exports     *takeout.Manager
	Live        *live.Hub
	c           Config
}

// New builds the rooms.
func New(c Config) *Rooms {
	store := c.Records.Consent()
	r := &Rooms{
		c:       c,
		Notices: consent.NewNotices(rights.Notices(c.Records), store, c.Records, c.Clock),
		Shares:  share.New(share.Config{Store: rights.Shares(c.Records), Tx: c.Records, Clock: c.Clock, IDs: c.IDs}),
		Live:    live.New(c.Flow, c.Log),
	}
	e := &eraser{c}
	r.Withdrawals = withdrawal.New(withdrawal.Config{
		Store: rights.Withdrawals(c.Records), Choices: store, Clock: c.Clock, IDs: c.IDs, Log: c.Log,
		Steps: []withdrawal.Step{
			{Name: "waits for what was on its way", Do: e.settle},
			{Name: "erases what was concluded", Do: e.conclusions},
			{Name: "erases history", Do: e.history},
			{Name: "erases what was on its way", Do: e.stream},
			{Name: "overwrites what was freed on disk", Do: e.scrub},
		},
	})
	c.Consents.OnChoice(r.Withdrawals)
	r.Exports = takeout.New(takeout.Config{
		Store: rights.Exports(c.Records), Clock: clock.Real{}, IDs: c.IDs, Log: c.Log, Dir: c.Exports, Parts: r.parts,
	})
	return r
}

// Operations is what the API serves of the rooms.
func (r *Rooms) Operations() data.Deps {
	return data.Deps{
		Clock: r.c.Clock, Consents: r.c.Consents, Choices: r.c.Records.Consent(), Notices: r.Notices, Withdrawals: r.Withdrawals,
		Shares: r.Shares, Exports: r.Exports, History: r.c.Read, Live: r.Live,
		Rates: func(ctx context.Context, product string) (map[string]data.Rate, error) {
			given, refused, err := rights.Rates(ctx, r.c.Records, product)
			out := map[string]data.Rate{}
			for name, n := range given {
				out[name] = data.Rate{Given: n, Refused: refused[name]}
			}
			return out, err
		},
	}
}

// Published takes up the words of products that were declared before there
// were notices, so that a later change is compared with them.
func (r *Rooms) Published(ctx context.Context) error {
	all, err := r.c.Fleet.Products(ctx)
	if err != nil {
		return err
	}
	for i := range all {
		if _, err := r.Notices.Current(ctx, &all[i]); err != nil {
			return err
		}
	}
	return nil
}

type eraser struct{ Config }

// settle waits until everything that was taken before the withdrawal has been
// written and judged: what comes after the mark of the choice was taken by it.
func (e *eraser) settle(ctx context.Context, of []withdrawal.Withdrawal) error {
	if err := e.Consents.Tell(ctx); err != nil { // the mark is in the stream, also after a crash
		return err
	}
	last, err := e.Stream.Last(ctx)
	if err != nil {
		return err
	}
	return e.Settled(ctx, last)
}

func parts(of []withdrawal.Withdrawal) (ids []string, keys []int64) {
	for _, w := range of {
		ids, keys = append(ids, w.UnitID), append(keys, w.UnitKey)
	}
	slices.Sort(keys)
	return ids, slices.Compact(keys)
}

func (e *eraser) conclusions(ctx context.Context, of []withdrawal.Withdrawal) error {
	ids, keys := parts(of)
	return rights.EraseConclusions(ctx, e.Records, of[0].Product, of[0].Purpose, ids, keys)
}

// history erases values of signals, and events, that nothing permits any more.
func (e *eraser) history(ctx context.Context, of []withdrawal.Withdrawal) error {
	if len(of[0].Erase) == 0 {
		return nil
	}
	_, keys := parts(of)
	p, err := e.Fleet.Product(ctx, of[0].Product)
	if err != nil {
		return err
	}
	var signals []string
	events := false
	for _, item := range of[0].Erase {
		if _, ok := p.Signal(item); ok {
			signals = append(signals, item)
		} else {
			events = true
		}
	}
	if len(signals) > 0 {
		if err := e.History.EraseUnits(ctx, keys, signals); err != nil {
			return fmt.Errorf("erase %d units of %s: %w", len(keys), p.Name, err)
		}
	}
	if !events {
		return nil
	}
	return e.History.EraseEvents(ctx, p.Name, keys, func(kind telemetry.EventKind, name string) bool {
		return slices.Contains(of[0].Erase, consent.EventItem(&p, kind.String(), name))
	})
}

// scrub overwrites the room that erased values have left in the file.
func (e *eraser) scrub(ctx context.Context, of []withdrawal.Withdrawal) error {
	if len(of[0].Erase) == 0 {
		return nil
	}
	return e.History.Scrub(ctx)
}

// stream erases what consumers have taken: batches hold many units' samples, and
// are of no use to anybody by then but to repeat what was lost of history.
func (e *eraser) stream(ctx context.Context, of []withdrawal.Withdrawal) error {
	if len(of[0].Erase) == 0 {
		return nil
	}
	last, err := e.Stream.Last(ctx)
	if err != nil || last < 2 {
		return err
	}
	if err := e.Settled(ctx, last-1); err != nil {
		return err
	}
	return e.Alone(func() error { return e.Stream.Erase(ctx, last-1) })
}
