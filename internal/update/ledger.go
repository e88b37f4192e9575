package update

import (
	"context"
	"time"

	"fettle.dev/fettle/internal/update/register"
)

// Ledger keeps what has become of releases on units, beside the releases and
// assignments themselves.
type Ledger interface {
	register.Store

	// Withdraw keeps that a release is offered to nobody any more; fault.NotFound without it.
	Withdraw(ctx context.Context, release string, w Withdrawal) error

	// RaiseCounter keeps the highest counter that a component of a unit has confirmed.
	RaiseCounter(ctx context.Context, c Counter) error
	// Counters are those of a unit by component.
	Counters(ctx context.Context, unitID string) (map[string]int64, error)
	// CountersAbove calls fn for each unit of a product whose component has confirmed a higher counter.
	CountersAbove(ctx context.Context, product, component string, counter int64, fn func(unitID string, counter int64)) error

	// AddTaking keeps how long an installation took, once an assignment.
	AddTaking(ctx context.Context, t Taking) error
	// Takings is how many there are of a release, or of a family where release is "", and their
	// q-quantile: the smallest that a share q of them does not exceed.
	Takings(ctx context.Context, release, family string, q float64) (n int, quantile time.Duration, err error)

	// Holders lists units that have or had a release, or its versions from elsewhere, by unit id.
	Holders(ctx context.Context, r *Release, after string, limit int) ([]Holder, error)
	// UnendedOf lists a release's assignments that are not ended, by id.
	UnendedOf(ctx context.Context, release string, after int64, limit int) ([]Assignment, error)
}

// Counter is the release counter that a component of a unit has confirmed: the
// unit has reported the release's version after installing it.
type Counter struct {
	UnitID, Component, Product, Release string
	Counter                             int64
	At                                  time.Time
}

// Taking is how long one installation took.
type Taking struct {
	Assignment      int64
	Release, Family string // Family: what installs alike, see (*Release).family
	Took            time.Duration
	At              time.Time
}

// Holding is what a unit has of a release.
type Holding string

// Has: it reports the versions of the release. Had: it reported them after our
// update, and reports others now. The others are the states of its assignment.
const (
	Has      Holding = "has it"
	Had      Holding = "had it"
	OnTheWay Holding = "on the way" // offered, running, claimed or canceling
	NotBegun Holding = "not begun"  // assigned, and withheld
	Never    Holding = "never had"  // failed or canceled
)

// Holder is a unit that a release concerns.
type Holder struct {
	UnitID     string            `json:"unitId"`
	Holding    Holding           `json:"holding" enum:"has it,had it,on the way,not begun,never had"`
	Versions   map[string]string `json:"versions,omitempty" doc:"What the unit reports now, by component."`
	Assignment int64             `json:"assignment,omitempty" doc:"The newest of the release for the unit; absent: it came with it from elsewhere."`
	State      AssignmentState   `json:"state,omitempty" doc:"Of that assignment."`
	At         time.Time         `json:"at,omitzero" doc:"When that assignment changed last."`
}
