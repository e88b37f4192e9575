package drive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"fettle.dev/fettle/sim/client"
	"fettle.dev/fettle/unitkit"
)

// trust has the unit verify its updates: it believes what the holders of
// offline keys and the director have signed, and nothing that a poll says.
func (u *unit) trust() (err error) {
	o := &u.fleet.options
	u.kit, err = unitkit.New(unitkit.Config{
		Server: o.HTTP, UnitID: u.spec.ID, Token: u.ddi.Token, HTTP: u.fleet.http, Store: unitkit.MemoryStore(), Now: o.Clock.Now,
		ImageRoot: o.Roots[0], DirectorRoot: o.Roots[1],
		Components: func() map[string]unitkit.Component {
			u.mu.Lock()
			defer u.mu.Unlock()
			return map[string]unitkit.Component{"software": {Hardware: u.spec.Hardware, Version: u.body.Firmware.Version}}
		},
	})
	if err != nil {
		return fmt.Errorf("unit %s: %w", u.spec.ID, err)
	}
	return nil
}

// errOrder says that poll and director do not mean the same: one is newer.
var errOrder = errors.New("poll and director differ")

func orders(u *unitkit.Update) string {
	if u == nil {
		return "nothing"
	}
	return strconv.FormatInt(u.Action, 10)
}

// fetch downloads and checks a deployment.
func (u *unit) fetch(ctx context.Context, dep client.Deployment) error {
	if u.kit == nil {
		return u.ddi.Fetch(ctx, dep)
	}
	ordered, err := u.kit.Ordered(ctx)
	switch {
	case err != nil:
		return asStatus(err)
	case ordered == nil || strconv.FormatInt(ordered.Action, 10) != dep.ID || len(ordered.Targets) != 1:
		return fmt.Errorf("%w: the poll shows %s, the director %s", errOrder, dep.ID, orders(ordered))
	case ordered.Targets[0].SHA256 != dep.SHA256:
		return client.ErrBadImage
	}
	if _, err := u.kit.Fetch(ctx, ordered.Targets[0], io.Discard, 0); err != nil {
		return asStatus(err)
	}
	u.fleet.verified.Add(1)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ordered = ordered
	return nil
}

// confirm reports the new version, signed. The caller holds the lock.
func (u *unit) confirm(ctx context.Context) error {
	ordered := u.ordered
	u.mu.Unlock()
	defer u.mu.Lock()
	return client.Patiently(ctx, func() error { return asStatus(u.kit.Confirm(ctx, ordered)) })
}

// asStatus gives a server's refusal the type that this package knows.
func asStatus(err error) error {
	if s, ok := errors.AsType[*unitkit.StatusError](err); ok {
		return &client.StatusError{Code: s.Code, Method: "unitkit", Path: s.Path, Body: s.Message}
	}
	return err
}
