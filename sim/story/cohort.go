package story

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"fettle.dev/fettle/sim/client"
)

type finding struct {
	ID       string    `json:"id"`
	UnitID   string    `json:"unitId"`
	Detector ref       `json:"detector"`
	Onset    time.Time `json:"onset"`
	OpenedAt time.Time `json:"openedAt"`
	SeenAt   time.Time `json:"seenAt"`
	Why      string    `json:"why"`
}

type ref struct {
	Name    string `json:"name"`
	Version int    `json:"version"`
}

type overview struct {
	Products []struct {
		Name       string         `json:"name"`
		Open       map[string]int `json:"openFindings"`
		Conditions map[string]int `json:"conditions"`
	} `json:"products"`
}

// watch lets the fleet live until the engineers have seen enough.
func (r *run) watch(ctx context.Context) error {
	began := r.clock.Now()
	r.tell.at(began, "The fleet goes on the air.")
	bar := r.tell.progress("hours watched", int64(watchFor/time.Hour))
	defer bar.done()
	first := false
	return until(ctx, 250*time.Millisecond, func() (bool, error) {
		now := r.clock.Now()
		bar.set(int64(now.Sub(began) / time.Hour))
		r.tell.behind(r.fleet.Stats().Lag)
		if r.upTo.IsZero() && now.Sub(began) >= watchFor-r.lead() {
			r.upTo, r.loads = now, r.fleet.Truths()
		}
		if !first {
			f, err := r.newest(ctx)
			if err != nil {
				return false, err
			}
			if f != nil {
				first = true
				r.tell.at(f.SeenAt, "First finding, on %s: %s", f.UnitID, f.Why)
			}
		}
		return first && now.Sub(began) >= watchFor, r.tooLong(began)
	})
}

// lead is how far back the data reaches that all units have delivered, where
// most report in turn: engineers ask about that, and do not wait for the rest.
func (r *run) lead() time.Duration {
	if r.o.Units <= connected {
		return 0
	}
	return r.visitEvery() * 6 / 5
}

func (r *run) tooLong(began time.Time) error {
	if r.clock.Now().Sub(began) > patience {
		return errTooLong
	}
	return nil
}

// newest is a finding of the detector, or nil.
func (r *run) newest(ctx context.Context) (*finding, error) {
	var page client.Page[finding]
	_, err := r.op.Do(ctx, http.MethodGet, "/v1/findings?limit=1&product="+product+"&detector="+detector, nil, &page)
	if err != nil || len(page.Items) == 0 {
		return nil, err
	}
	return &page.Items[0], nil
}

type snapshot struct {
	ID           string `json:"id"`
	State        string `json:"state"`
	Error        string `json:"error"`
	In           int    `json:"in"`
	Out          int    `json:"out"`
	NotJudgeable int    `json:"notJudgeable"`
}

// members is who is in a cohort: the code of the reason by unit id.
type members map[string]string

// cohorts is what "who else?" gave.
type cohorts struct {
	at         time.Time
	evidence   members // in by evidence alone
	attributes members // in by batch alone
	in         members // in the campaign's cohort
	batches    []string
}

// whoElse asks for the cohort: first by evidence, then, for safety, with every
// unit of the batches that the evidence points at.
func (r *run) whoElse(ctx context.Context) (*cohorts, error) {
	stats := r.fleet.Stats()
	var o overview
	if err := client.Patiently(ctx, func() error {
		_, err := r.op.Do(ctx, http.MethodGet, "/v1/overview", nil, &o)
		return err
	}); err != nil {
		return nil, err
	}
	open := 0
	for _, p := range o.Products {
		for _, n := range p.Open {
			open += n
		}
	}
	c := &cohorts{at: r.upTo}
	r.tell.at(r.clock.Now(), "%d messages taken, %d findings open. Who else?", stats.Messages, open)
	if err := until(ctx, 50*time.Millisecond, func() (bool, error) { return r.fleet.Delivered(c.at), nil }); err != nil {
		return nil, err
	}
	f, err := r.suggestion(ctx)
	if err != nil {
		return nil, err
	}
	evidence := map[string]any{
		"detector": f.Detector, "from": c.at.Add(-60 * 24 * time.Hour), "to": c.at, "minExposure": fmt.Sprintf("%gh", enoughUse),
	}
	snap, err := r.freeze(ctx, map[string]any{
		"name": cohort + "-evidence", "product": product, "findingId": f.ID,
		"description": "Units whose own data shows the fault.", "evidence": evidence,
	})
	if err != nil {
		return nil, err
	}
	r.tell.at(r.clock.Now(), "By evidence: %d in, %d out, %d not judgeable.", snap.In, snap.Out, snap.NotJudgeable)
	if c.evidence, err = r.list(ctx, snap.ID, "in"); err != nil {
		return nil, err
	}
	out, err := r.list(ctx, snap.ID, "out")
	if err != nil {
		return nil, err
	}
	if c.batches, err = r.suspects(ctx, c.evidence, out); err != nil {
		return nil, err
	}
	if len(c.batches) == 0 {
		return nil, fmt.Errorf("no batch stands out among %d units with evidence", len(c.evidence))
	}
	attributes := map[string]any{"batch": c.batches}
	alone, err := r.freeze(ctx, map[string]any{
		"name": cohort + "-batches", "product": product,
		"description": "All units of the batches that stand out.", "attributes": attributes,
	})
	if err != nil {
		return nil, err
	}
	if c.attributes, err = r.list(ctx, alone.ID, "in"); err != nil {
		return nil, err
	}
	both, err := r.freeze(ctx, map[string]any{
		"name": cohort, "product": product, "findingId": f.ID, "match": "any",
		"description": "Units that show the fault, and for safety all of the same batches.", "evidence": evidence, "attributes": attributes,
	})
	if err != nil {
		return nil, err
	}
	if c.in, err = r.list(ctx, both.ID, "in"); err != nil {
		return nil, err
	}
	r.tell.at(r.clock.Now(), "The evidence points at batches %v. For safety all their units join: %d in cohort %s.", c.batches, both.In, cohort)
	return c, nil
}

// suggestion is the finding to start from.
func (r *run) suggestion(ctx context.Context) (f *finding, err error) {
	err = until(ctx, 100*time.Millisecond, func() (bool, error) {
		f, err = r.newest(ctx)
		return f != nil, err
	})
	if err != nil {
		return nil, err
	}
	var suggested struct {
		Definition struct {
			Product string `json:"product"`
		} `json:"definition"`
		Shared []struct {
			Attribute, Value    string
			Affected, Of, Fleet int
		} `json:"shared"`
	}
	err = client.Patiently(ctx, func() error {
		_, err := r.op.Do(ctx, http.MethodGet, "/v1/findings/"+f.ID+"/who-else", nil, &suggested)
		return err
	})
	if err == nil && suggested.Definition.Product != product {
		err = fmt.Errorf("who else? suggests product %q", suggested.Definition.Product)
	}
	for i, s := range suggested.Shared {
		if i < 3 {
			r.tell.say("    what they share: %s %s, of which the fleet has %d, is that of %d of the %d affected", s.Attribute, s.Value, s.Fleet, s.Affected, s.Of)
		}
	}
	return f, err
}

// freeze makes a cohort and waits until it is ready.
func (r *run) freeze(ctx context.Context, definition map[string]any) (snapshot, error) {
	var s snapshot
	name, _ := definition["name"].(string)
	err := client.Patiently(ctx, func() error {
		_, err := r.op.Do(ctx, http.MethodPost, "/v1/cohorts", map[string]any{"definition": definition}, &s)
		return err
	})
	if err != nil {
		return s, fmt.Errorf("cohort %s: %w", name, err)
	}
	bar := r.tell.progress("cohort computed, %", 100)
	defer bar.done()
	again := false
	err = until(ctx, 100*time.Millisecond, func() (bool, error) {
		var now struct {
			snapshot
			Done float64 `json:"done"`
		}
		_, err := r.op.Do(ctx, http.MethodGet, "/v1/cohorts/"+s.ID, nil, &now)
		if err != nil {
			return false, err
		}
		s = now.snapshot
		bar.set(int64(100 * now.Done))
		if s.State == "failed" && !again && r.kills > 0 { // the server was killed while computing
			again = true
			_, err := r.op.Do(ctx, http.MethodPost, "/v1/cohorts", map[string]any{"definition": definition}, &s)
			return false, err
		}
		if s.State == "failed" {
			return false, fmt.Errorf("it failed: %s", s.Error)
		}
		return s.State == "ready", nil
	})
	if err != nil {
		return s, fmt.Errorf("cohort %s: %w", name, err)
	}
	return s, nil
}

// list is the members of one list of a cohort.
func (r *run) list(ctx context.Context, id, list string) (members, error) {
	type member struct{ UnitID, Code string }
	out := make(members)
	err := client.Patiently(ctx, func() error {
		clear(out)
		return client.All(ctx, r.op, "/v1/cohorts/"+id+"/members?list="+list, func(m member) error {
			out[m.UnitID] = m.Code
			return nil
		})
	})
	return out, err
}

// suspects are the batches in which the share of units with evidence stands
// out: at least a fifth of those that could be judged, and at least two.
func (r *run) suspects(ctx context.Context, in, out members) ([]string, error) {
	type unit struct{ ID, Batch string }
	type count struct{ in, out int }
	counts := make(map[string]*count)
	err := client.Patiently(ctx, func() error {
		clear(counts)
		return client.All(ctx, r.op, "/v1/units?product="+product, func(u unit) error {
			c := counts[u.Batch]
			if c == nil {
				c = &count{}
				counts[u.Batch] = c
			}
			if _, ok := in[u.ID]; ok {
				c.in++
			} else if _, ok := out[u.ID]; ok {
				c.out++
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	var batches []string
	for b, c := range counts {
		if c.in >= min(2, len(in)) && float64(c.in) >= 0.2*float64(c.in+c.out) {
			batches = append(batches, b)
		}
	}
	slices.Sort(batches)
	return batches, nil
}
