package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"fettle.dev/fettle/internal/api/declare"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/fault"
)

// Backtest tries a detector on history and waits for the end, telling of each
// look at how far it is. If ctx ends first the job is cancelled. Refusals of
// the detector are told by their places in its file, where doc is given.
func (c *Client) Backtest(ctx context.Context, doc *declare.Located, in wire.BacktestRequest, look func(j *wire.Backtest)) (*wire.Backtest, error) {
	begun, err := c.StartBacktest(ctx, doc, in)
	if err != nil {
		return nil, err
	}
	j, pause, lost := *begun, 20*time.Millisecond, 0
	for !j.State.Ended() {
		look(&j)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, time.Second)
		if ctx.Err() == nil {
			next := wire.Backtest{}
			err := c.Call(ctx, http.MethodGet, "/v1/backtests/"+j.ID, nil, &next)
			if err == nil {
				j, lost = next, 0
				continue
			}
			if lost++; ctx.Err() == nil && (!away(err) || lost > patience) {
				return nil, fmt.Errorf("backtest %s: %w", j.ID, err)
			}
		}
		if ctx.Err() != nil {
			last, stop := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer stop()
			if err := c.Call(last, http.MethodDelete, "/v1/backtests/"+j.ID, nil, nil); err != nil {
				return nil, errors.Join(ctx.Err(), err)
			}
			return nil, ctx.Err()
		}
	}
	return &j, nil
}

// StartBacktest begins a job.
func (c *Client) StartBacktest(ctx context.Context, doc *declare.Located, in wire.BacktestRequest) (*wire.Backtest, error) {
	if doc != nil {
		in.Name, in.Detector = doc.Metadata.Name, wire.Spec(doc.Spec)
	}
	var j wire.Backtest
	if err := c.Call(ctx, http.MethodPost, "/v1/backtests", in, &j); err != nil {
		return nil, located(err, doc)
	}
	return &j, nil
}

// patience is how often a service is asked again that does not answer.
const patience = 60

// away reports whether a service that could not be asked may be back soon: the
// job outlives its restart.
func away(err error) bool {
	p, ok := errors.AsType[*ProblemError](err)
	return !ok || p.Status == http.StatusServiceUnavailable
}

// located moves what a refusal says of the detector to its place in the file.
func located(err error, doc *declare.Located) error {
	p, ok := errors.AsType[*ProblemError](err)
	if !ok || len(p.Errors) == 0 || doc == nil {
		return err
	}
	var wrong declare.MistakesError
	for _, e := range p.Errors {
		path, ok := strings.CutPrefix(e.Location, "body.detector.")
		if !ok {
			return err // not in the file: of the request
		}
		wrong = append(wrong, doc.Locate([]fault.Field{{Path: "spec." + path, Expected: strings.TrimPrefix(e.Message, "expected ")}})...)
	}
	return wrong
}
