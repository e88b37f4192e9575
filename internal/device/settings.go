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
	// Desired are the values, as JSON, that a unit is to have now.
	Desired(ctx context.Context, unitID string) (map[string]string, error)
	// Refused takes a unit's reasons for not taking some.
	Refused(ctx context.Context, unitID string, why map[string]string) error
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
	d.Parameters, d.Features = map[string]json.RawMessage{}, map[string]json.RawMessage{}
	for component, value := range values {
		if name, ok := strings.CutPrefix(component, fleet.ParameterComponent); ok {
			d.Parameters[name] = json.RawMessage(value)
		} else {
			d.Features[strings.TrimPrefix(component, fleet.FeatureComponent)] = json.RawMessage(value)
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
// is set to, and what it refused to be set to. What its product does not
// declare is refused by name.
func (g *Gateway) Report(ctx context.Context, id Identity, r Report) error {
	u, err := g.active(ctx, id.UnitID)
	if err != nil {
		return err
	}
	if err := r.Declared(&u.product.Product); err != nil {
		return err
	}
	if len(r.Refused) > 0 && g.cfg.Settings != nil {
		why := make(map[string]string, 2*len(r.Refused))
		for name, words := range r.Refused {
			why[fleet.ParameterComponent+name], why[fleet.FeatureComponent+name] = words, words
		}
		if err := g.cfg.Settings.Refused(ctx, id.UnitID, why); err != nil {
			return fmt.Errorf("take refusal of settings: %w", err)
		}
	}
	if len(r.Versions) == 0 {
		g.Contact(id) //nolint:contextcheck // Contact is not the caller's request: it may outlive it
		return nil
	}
	return g.ReportVersions(ctx, id, r.Versions)
}
