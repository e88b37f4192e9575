package device

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
)

// Settings tells what units are to be set to. Keys are components as units'
// versions have them: fleet.ParameterComponent or fleet.FeatureComponent and a name.
type Settings interface {
	// Desired are the values that a unit is to have now.
	Desired(ctx context.Context, unitID string) (map[string]Setting, error)
	// Answered takes what a unit says of values that it does not have yet.
	Answered(ctx context.Context, unitID string, answers map[string]Answer) error
}

// Setting is a value that a unit is to have.
type Setting struct {
	Value    string // JSON
	Revision int64  // another one whenever the unit is to take a value, be it the same again
}

// desired is what a unit is to do now, its settings included. A product that
// declares neither parameters nor features costs no read.
func (g *Gateway) desired(ctx context.Context, u *unit) (Desired, error) {
	d := u.desired()
	if g.cfg.Settings == nil || len(u.product.Parameters)+len(u.product.Features) == 0 {
		return d, nil
	}
	values, err := g.cfg.Settings.Desired(ctx, u.id.UnitID)
	if err != nil {
		return d, fault.Wrap(fault.Unavailable, "settings of unit "+u.id.UnitID, err)
	}
	d.Parameters, d.Features, d.Revisions = map[string]json.RawMessage{}, map[string]json.RawMessage{}, map[string]int64{}
	for component, x := range values {
		d.Revisions[component] = x.Revision
		if name, ok := strings.CutPrefix(component, fleet.ParameterComponent); ok {
			d.Parameters[name] = json.RawMessage(x.Value)
		} else {
			d.Features[strings.TrimPrefix(component, fleet.FeatureComponent)] = json.RawMessage(x.Value)
		}
	}
	return d, nil
}

// tellSettings takes up a change of settings that is due, and sends it where
// the unit is connected. A unit that is not is told when it connects.
func (g *Gateway) tellSettings(unitID string) {
	if g.cfg.Settings == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if len(g.sessions.of(unitID)) == 0 && g.alone() {
		return
	}
	if u, err := g.active(ctx, unitID); err == nil {
		if _, err := g.desired(ctx, u); err != nil { // so that a process that the unit is connected to finds it
			g.log.Warn("a change of settings was not taken up; the unit is told when it connects", "unit", unitID, "error", err)
		}
	}
	g.pushDesired(ctx, unitID)
}

// alone reports whether no other process takes data.
func (g *Gateway) alone() bool { _, ok := g.cfg.Peers.(alone); return ok }

// Report takes what a unit says of itself: versions of its components, what it
// is set to, and what it refused, or waits, to be set to. What its product does not
// declare is refused by name.
func (g *Gateway) Report(ctx context.Context, id Identity, r Report) error {
	u, err := g.active(ctx, id.UnitID)
	if err != nil {
		return err
	}
	if err := r.Declared(&u.product.Product); err != nil {
		return err
	}
	if len(r.Refused)+len(r.Waiting) > 0 && g.cfg.Settings != nil {
		if err := g.cfg.Settings.Answered(ctx, id.UnitID, r.Answers()); err != nil {
			return fmt.Errorf("take the unit's word on settings: %w", err)
		}
	}
	if len(r.Versions) == 0 {
		g.Contact(id) // Contact is not the caller's request: it may outlive it
		return nil
	}
	return g.ReportVersions(ctx, id, r.Versions)
}
