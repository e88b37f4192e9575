package audit

import (
	"context"
	"slices"
	"sync"

	"fettle.dev/fettle/internal/fleet"
)

// Operation is one request that changes something, or shows personal data, on
// its way. The first transaction that it commits holds its entry, so that
// neither stands without the other.
type Operation struct {
	trail *Trail
	about []string
	data  string

	mu      sync.Mutex
	entry   Entry
	entered bool
	ended   bool
	looked  bool
}

type operationKey struct{}

// mostChanged bounds what an entry says was changed.
const mostChanged = 20

// Begin begins an operation of the actor of e that changes something (Kind is
// Change) or shows data of the kind e.Data.
func (t *Trail) Begin(ctx context.Context, e Entry) (context.Context, *Operation) {
	o := &Operation{trail: t, entry: e, data: e.Data}
	ctx = context.WithValue(ctx, operationKey{}, o)
	if e.Kind == Change && e.Actor.Party != Nobody { // who signs in is known at the end: see As
		ctx = fleet.WithCommit(ctx, o.commit)
	}
	return ctx, o
}

// commit enters the operation in a transaction of its.
func (o *Operation) commit(ctx context.Context) (func(), error) {
	o.mu.Lock()
	if o.entered || o.ended {
		o.mu.Unlock()
		return nil, nil
	}
	e := o.entry
	e.Data = ""
	e.About = slices.Compact(slices.Sorted(slices.Values(o.about)))
	o.mu.Unlock()
	e.Outcome = Done
	durable, err := o.trail.write(ctx, e)
	if err != nil {
		return nil, err
	}
	return func() {
		durable()
		o.mu.Lock()
		o.entered = true
		o.mu.Unlock()
	}, nil
}

// End ends the operation: what no transaction has entered is entered now.
// status is that of HTTP, below 400 for what was done. It fails when the entry
// cannot be kept: then the answer must not be given.
func (o *Operation) End(ctx context.Context, status int) error {
	o.mu.Lock()
	entered, ended, e := o.entered, o.ended, o.entry
	looked := o.looked
	e.About = slices.Compact(slices.Sorted(slices.Values(o.about)))
	o.ended = true
	o.mu.Unlock()
	if ended {
		return nil
	}
	failed := status >= 400
	switch {
	case e.Kind == Look:
		if looked || failed {
			return nil
		}
		e.Outcome = Done // nobody said whose it was: rather an entry too many
	case !failed && entered:
		return nil
	case !failed:
		e.Data, e.Outcome = "", Done
	default:
		e.Data, e.Outcome, e.Status = "", Failed, status
	}
	if e.Actor.Party == Nobody { // anybody can ask as often as they like
		return o.trail.asked(ctx, e)
	}
	return o.trail.Append(ctx, e)
}

// As says who the actor of the operation of ctx turned out to be: someone who
// signed in.
func As(ctx context.Context, a Actor) {
	if o := of(ctx); o != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.entry.Actor = a
	}
}

func of(ctx context.Context) *Operation {
	o, _ := ctx.Value(operationKey{}).(*Operation)
	return o
}

// Looked enters, before the answer is given, whose data the operation of ctx
// shows: ids of owners, "" for nobody. Call it with none where nobody's is
// shown. Outside an operation it does nothing.
func Looked(ctx context.Context, ownerIDs ...string) error {
	o := of(ctx)
	if o == nil {
		return nil
	}
	o.mu.Lock()
	o.looked = true
	e := o.entry
	o.mu.Unlock()
	e.Data = o.data
	if e.Data == "" { // a change that shows what it changed
		e.Data = DataContact
	}
	e.About, e.Changed = nil, nil
	return o.trail.Looked(fleet.WithCommit(ctx, nil), e, ownerIDs...) // which is not the change
}

// About says whose data the operation of ctx changes: ids of owners.
func About(ctx context.Context, ownerIDs ...string) {
	if o := of(ctx); o != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.about = append(o.about, slices.DeleteFunc(ownerIDs, func(id string) bool { return id == "" })...)
	}
}

// Object says what the operation of ctx changes, where its path does not.
func Object(ctx context.Context, object string) {
	if o := of(ctx); o != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.entry.Object = object
	}
}

// Changed adds what was changed, in brief: names of things and fields, never
// what a person typed.
func Changed(ctx context.Context, what ...string) {
	if o := of(ctx); o != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		room := mostChanged - len(o.entry.Changed)
		if len(what) > room {
			what = append(what[:max(0, room):max(0, room)], "…")
			if room < 0 {
				return
			}
		}
		o.entry.Changed = append(o.entry.Changed, what...)
	}
}

// End ends the operation of ctx, if there is one.
func End(ctx context.Context, status int) error {
	if o := of(ctx); o != nil {
		return o.End(ctx, status)
	}
	return nil
}
