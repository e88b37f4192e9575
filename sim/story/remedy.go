package story

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"fettle.dev/fettle/sim/client"
	"fettle.dev/fettle/sim/drive"
)

type task struct {
	UnitID    string    `json:"unitId"`
	State     string    `json:"state"`
	Why       string    `json:"why"`
	Wave      int       `json:"wave"`
	FoundAt   time.Time `json:"foundAt"`
	EndedAt   time.Time `json:"endedAt"`
	OfferedAt time.Time `json:"offeredAt"`
}

type campaignState struct {
	State    string         `json:"state"`
	Why      string         `json:"why"`
	WaveOpen int            `json:"waveOpen"`
	Counts   map[string]int `json:"counts"`
}

// ending is how the campaign ended.
type ending struct {
	tasks  map[string]task // by unit
	state  campaignState
	closed bool
	open   []string // why it is not closed
}

// remedy declares the campaign, starts it, and follows it until every unit
// that can be remedied is, or it stops.
func (r *run) remedy(ctx context.Context, c *cohorts) (*ending, error) {
	if err := r.start(ctx, len(c.in)); err != nil {
		return nil, err
	}
	began := r.clock.Now()
	bar := r.tell.progress("remedy verified", int64(len(c.in)))
	defer bar.done()
	end := &ending{}
	told := -1
	var last string
	var rested time.Time
	err := until(ctx, 200*time.Millisecond, func() (bool, error) {
		var now campaignState
		if _, err := r.op.Do(ctx, http.MethodGet, "/v1/campaigns/"+campaign, nil, &now); err != nil {
			return false, err
		}
		end.state = now
		bar.set(int64(now.Counts["verified"]))
		r.tell.behind(r.fleet.Stats().Lag)
		for ; told < now.WaveOpen; told++ {
			r.tell.at(r.clock.Now(), "Wave %d of 3 opens: owners get a mail.", told+2)
		}
		stopped := now.State != "running"
		if counts := fmt.Sprint(now.Counts); stopped || counts != last && time.Now().After(rested) {
			begun := time.Now()
			last = counts
			if err := r.judge(ctx, end); err != nil {
				return false, err
			}
			rested = time.Now().Add(5 * time.Since(begun)) // the tasks of a large campaign are not read for the story alone
		}
		if end.closed || stopped {
			return true, nil
		}
		if r.clock.Now().Sub(began) > patience {
			end.open = append(end.open, fmt.Sprintf("%s after the start of the campaign it was not done", patience))
			return true, nil
		}
		return false, nil
	})
	if err != nil {
		return nil, err
	}
	switch {
	case end.closed:
		r.tell.at(r.clock.Now(), "Every defective unit that can be reached, and whose owner agreed, is verified.")
	default:
		r.tell.at(r.clock.Now(), "The campaign is %s: %s", end.state.State, end.state.Why)
	}
	return end, nil
}

func (r *run) start(ctx context.Context, size int) error {
	// The first wave must hold a few units to say anything at all.
	first := int(math.Ceil(float64(size) * max(0.1, min(0.4, 10/float64(size)))))
	docs, err := documents(r.o.Files, "campaign.yaml",
		"{{FIRST}}", fmt.Sprint(first), "{{MINVERIFIED}}", fmt.Sprint(min(3, max(1, size/20))))
	if err != nil {
		return err
	}
	if err := client.Patiently(ctx, func() error { return apply(ctx, r.op, docs) }); err != nil {
		return fmt.Errorf("apply the campaign: %w", err)
	}
	var dry struct {
		OfferedCount int `json:"offeredCount"`
		NotCount     int `json:"notCount"`
		NotByCode    map[string]int
	}
	err = client.Patiently(ctx, func() error {
		_, err := r.op.Do(ctx, http.MethodPost, "/v1/campaigns/"+campaign+"/dry-run?limit=0", map[string]any{}, &dry)
		return err
	})
	if err != nil {
		return fmt.Errorf("dry run: %w", err)
	}
	r.tell.at(r.clock.Now(), "Dry run of campaign %s: %d units would be offered the update, %d not.", campaign, dry.OfferedCount, dry.NotCount)
	err = client.Patiently(ctx, func() error {
		_, err := r.op.Do(ctx, http.MethodPost, "/v1/campaigns/"+campaign+"/start", map[string]any{"why": "the story goes on"}, nil)
		if client.Code(err) == http.StatusConflict { // started already, the answer was lost
			var now campaignState
			if _, err := r.op.Do(ctx, http.MethodGet, "/v1/campaigns/"+campaign, nil, &now); err == nil && now.State == "running" {
				return nil
			}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("start the campaign: %w", err)
	}
	return nil
}

// judge reads the tasks and compares them with the truth.
func (r *run) judge(ctx context.Context, end *ending) error {
	tasks := make(map[string]task)
	err := client.All(ctx, r.op, "/v1/campaigns/"+campaign+"/tasks", func(t task) error {
		tasks[t.UnitID] = t
		return nil
	})
	if err != nil {
		return err
	}
	open := make(map[string][]string) // units by what is missing
	for _, t := range r.fleet.Truths() {
		if why := missing(t, tasks[t.Unit.ID].State); why != "" {
			open[why] = append(open[why], t.Unit.ID)
		}
	}
	end.tasks, end.open, end.closed = tasks, nil, len(open) == 0
	for _, why := range slices.Sorted(maps.Keys(open)) {
		units := open[why]
		end.open = append(end.open, fmt.Sprintf("%d units: %s (%s)", len(units), why, strings.Join(units[:min(3, len(units))], ", ")))
	}
	return nil
}

// missing says what is not as it should be at the end with one unit, or "".
func missing(t drive.Truth, state string) string {
	u := t.Unit
	if !u.Defective || t.Left || !u.Mood.Accepts() {
		return ""
	}
	switch {
	case u.Consents && state == "verified", !u.Consents && state == "not judgeable" && t.Installs == 1:
		return ""
	case state == "":
		return "defective, reachable and willing, but without a task"
	default:
		return fmt.Sprintf("defective, reachable and willing, but %q", state)
	}
}
