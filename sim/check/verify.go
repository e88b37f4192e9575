package check

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"fettle.dev/fettle/sim/client"
)

// Report is what a verification looked at.
type Report struct {
	Units, Messages, Values int64 // values found in history, each compared
	Resent                  int64 // samples counted as duplicates
	Uncertain               int64 // messages sent and never acknowledged
}

func (r Report) String() string {
	return fmt.Sprintf("%d units, %d messages, %d values compared, %d samples sent again, %d messages in doubt", r.Units, r.Messages, r.Values, r.Resent, r.Uncertain)
}

// Verify holds what the server has against what each unit saw acknowledged,
// through an operator's API. For every unit: each value acknowledged is stored
// once, as it was sent, at its time; nothing else is stored; and the accounting
// is exact: acknowledged = stored + not consented + undeclared + duplicate +
// invalid, each as far as the unit can know it (a message whose acknowledgement
// was lost may have been counted). Call it when the fleet waits or has stopped
// and history has taken the stream.
func (f *Fleet) Verify(ctx context.Context, api *client.Caller) (Report, error) {
	var mu sync.Mutex
	var sum Report
	errs := []error{f.noted()}
	work := make(chan *driver)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for d := range work {
				r, err := d.verify(ctx, api)
				mu.Lock()
				sum.Units++
				sum.Messages += r.Messages
				sum.Values += r.Values
				sum.Resent += r.Resent
				sum.Uncertain += r.Uncertain
				if err != nil && len(errs) < 20 {
					errs = append(errs, fmt.Errorf("unit %s: %w", d.ID, err))
				}
				mu.Unlock()
			}
		})
	}
	for _, d := range f.drivers {
		work <- d
	}
	close(work)
	wg.Wait()
	return sum, errors.Join(errs...)
}

type account struct{ Acknowledged, Stored, NotConsented, Undeclared, Duplicate, Invalid int64 }

type point struct {
	At       time.Time
	Min, Max float64
	Count    int64
}

func (d *driver) verify(ctx context.Context, api *client.Caller) (Report, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := Report{Messages: int64(d.made)}
	doubt := map[int]bool{} // messages of which no copy was acknowledged
	for _, s := range d.open {
		if !s.again {
			doubt[s.n] = true
			r.Uncertain++
		}
	}
	found := int64(0) // samples of messages in doubt
	for _, signal := range signals {
		n, inDoubt, err := d.signal(ctx, api, signal, doubt)
		if err != nil {
			return r, fmt.Errorf("%s: %w", signal, err)
		}
		r.Values += n
		found += inDoubt
	}
	n, inDoubt, err := d.events(ctx, api, doubt)
	if err != nil {
		return r, fmt.Errorf("events: %w", err)
	}
	r.Values += n
	found += inDoubt
	if want := d.first.stored + found; r.Values != want {
		return r, fmt.Errorf("%d values are stored, %d were acknowledged", r.Values, want)
	}
	var a account
	if _, err := api.Do(ctx, "GET", "/v1/units/"+d.ID+"/accounting", nil, &a); err != nil {
		return r, err
	}
	r.Resent = a.Duplicate
	if err := d.account(a, r.Values); err != nil {
		return r, fmt.Errorf("%w: the server's accounting is %+v; acknowledged at least %+v, sent at most %+v", err, a, d.least, d.most)
	}
	return r, d.newest(ctx, api, doubt)
}

// account holds the server's accounting against the unit's.
func (d *driver) account(a account, stored int64) error {
	between := func(what string, got, least, most int64) error {
		if got < least || got > most {
			return fmt.Errorf("%s: %d is not between %d and %d", what, got, least, most)
		}
		return nil
	}
	if a.Acknowledged != a.Stored+a.NotConsented+a.Undeclared+a.Duplicate+a.Invalid {
		return errors.New("it does not add up")
	}
	return errors.Join(
		between("acknowledged", a.Acknowledged, d.least.total(), d.most.total()),
		between("stored", a.Stored, stored, stored),
		between("not consented", a.NotConsented, d.least.notConsented, d.most.notConsented),
		between("undeclared", a.Undeclared, d.least.undeclared, d.most.undeclared),
		between("duplicate", a.Duplicate, d.least.stored-stored, d.most.stored-stored),
		between("invalid", a.Invalid, d.least.invalid, d.most.invalid),
	)
}

// page is how many milliseconds of a unit are read at once, each a bucket.
const page = 5000

// signal compares every value of a signal.
func (d *driver) signal(ctx context.Context, api *client.Caller, signal string, doubt map[int]bool) (values, inDoubt int64, err error) {
	stored := make([]bool, d.made)
	span := int64(d.made)
	for from := d.start - span; from < d.start+span; from += page {
		points, withheld, err := d.series(ctx, api, signal, from, from+page, page)
		if err != nil {
			return 0, 0, err
		}
		if withheld != (d.silent && signal != signalCharging) {
			return 0, 0, fmt.Errorf("withheld: %t", withheld)
		}
		for _, p := range points {
			n, ok := d.number(p.At.UnixMilli())
			want, sent := d.value(n, signal)
			switch {
			case !ok || n >= d.made || !sent:
				return 0, 0, fmt.Errorf("a value at %s that was never sent: %v", p.At.Format(time.RFC3339Nano), p.Min)
			case p.Count != 1 || stored[n]:
				return 0, 0, fmt.Errorf("message %d at %s is stored %d times", n, p.At.Format(time.RFC3339Nano), p.Count)
			case p.Min != want || p.Max != want:
				return 0, 0, fmt.Errorf("message %d at %s: stored %v, sent %v", n, p.At.Format(time.RFC3339Nano), p.Min, want)
			}
			stored[n] = true
			values++
			if doubt[n] {
				inDoubt++
			}
		}
	}
	for n := range stored {
		if _, sent := d.value(n, signal); sent && !stored[n] && !doubt[n] {
			return 0, 0, fmt.Errorf("message %d was acknowledged and is not stored", n)
		}
	}
	// No other times: all that there is, in one bucket.
	all, _, err := d.series(ctx, api, signal, time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli(), d.start+400*24*3600*1000, 1)
	if err != nil {
		return 0, 0, err
	}
	total := int64(0)
	for _, p := range all {
		total += p.Count
	}
	if total != values {
		return 0, 0, fmt.Errorf("%d values are stored in all, %d of them at the times they were sent for", total, values)
	}
	return values, inDoubt, nil
}

// events compares every event.
func (d *driver) events(ctx context.Context, api *client.Caller, doubt map[int]bool) (values, inDoubt int64, err error) {
	type shown struct {
		At                      time.Time
		Sequence                int64
		Kind, Name, State, Text string
	}
	stored := make([]bool, d.made)
	err = client.All(ctx, api, "/v1/units/"+d.ID+"/events", func(e shown) error {
		n, ok := d.number(e.At.UnixMilli())
		if !ok || n >= d.made || d.silent || d.kind(n) != event {
			return fmt.Errorf("one that was never sent: %+v", e)
		}
		state, text := d.event(n)
		if want := (shown{e.At, int64(n + 1), "fault", fault, state, text}); e != want {
			return fmt.Errorf("message %d: stored %+v, sent %+v", n, e, want)
		}
		if stored[n] {
			return fmt.Errorf("message %d is stored twice", n)
		}
		stored[n] = true
		values++
		if doubt[n] {
			inDoubt++
		}
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	for n := range stored {
		if d.kind(n) == event && !d.silent && !stored[n] && !doubt[n] {
			return 0, 0, fmt.Errorf("message %d was acknowledged and is not stored", n)
		}
	}
	return values, inDoubt, nil
}

func (d *driver) series(ctx context.Context, api *client.Caller, signal string, from, to int64, buckets int) (points []point, withheld bool, err error) {
	text := func(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339Nano) }
	q := url.Values{"signal": {signal}, "from": {text(from)}, "to": {text(to)}, "buckets": {strconv.Itoa(buckets)}}
	var out struct {
		Points   []point
		Withheld bool
	}
	_, err = api.Do(ctx, "GET", "/v1/units/"+d.ID+"/series?"+q.Encode(), nil, &out)
	return out.Points, out.Withheld, err
}

// newest looks whether the unit's view shows its newest values.
func (d *driver) newest(ctx context.Context, api *client.Caller, doubt map[int]bool) error {
	if len(doubt) > 0 {
		return nil
	}
	type latest struct {
		Signal   string
		At       time.Time
		Number   *float64
		Withheld bool
	}
	var out struct{ Items []latest }
	if _, err := api.Do(ctx, "GET", "/v1/units/"+d.ID+"/latest", nil, &out); err != nil {
		return err
	}
	for _, signal := range signals {
		n := d.made - 1
		for ; n >= 0; n-- {
			if _, sent := d.value(n, signal); sent && d.kind(n) != late {
				break
			}
		}
		if n < 0 {
			continue
		}
		want, _ := d.value(n, signal)
		i := slices.IndexFunc(out.Items, func(v latest) bool { return v.Signal == signal })
		if i < 0 || out.Items[i].At.UnixMilli() != d.at(n) || out.Items[i].Number == nil || *out.Items[i].Number != want {
			return fmt.Errorf("the newest %s is %v of message %d, at %d; shown is %+v", signal, want, n, d.at(n), out.Items)
		}
	}
	return nil
}
