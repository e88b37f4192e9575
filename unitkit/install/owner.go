package install

import (
	"fmt"
	"time"

	"fettle.dev/fettle/unitkit"
)

// What an owner may say on the unit.
const (
	StartNow = "start-now" // install as soon as nothing on the unit is against it
	NotNow   = "not-now"   // wait until the owner says otherwise, here or in the portal
	Postpone = "postpone"  // not before Until
)

// Choice is what the owner said on the unit. It holds offline, and until the
// owner's time on the server changes: the latest word counts.
type Choice struct {
	Choice string    `json:"choice"`
	Until  time.Time `json:"until,omitzero"`
	At     time.Time `json:"at"` // when it was said
}

func (c *Choice) words() string {
	switch c.Choice {
	case StartNow:
		return "the owner said on the unit: start now"
	case NotNow:
		return "the owner said on the unit: not now"
	default:
		return "the owner said on the unit: not before " + c.Until.UTC().Format(time.RFC3339)
	}
}

// Choose keeps what the owner says on the unit, and tells the server when it
// can be reached. It comes too late when installing has begun.
func (u *Updater) Choose(choice string, until time.Time) error {
	c := Choice{Choice: choice, At: u.cfg.Now().UTC().Truncate(time.Second)}
	switch choice {
	case StartNow, NotNow:
	case Postpone:
		if !until.After(c.At) {
			return fmt.Errorf("postpone to a time to come, not to %s", until.UTC().Format(time.RFC3339))
		}
		c.Until = until.UTC().Truncate(time.Second)
	default:
		return fmt.Errorf("an owner may say %s, %s or %s, not %q", StartNow, NotNow, Postpone, choice)
	}
	err := u.change(func(j *Journal) error {
		switch {
		case j.Update == nil:
			return ErrNoUpdate
		case j.State.Begun():
			return ErrTooLate
		}
		j.Choice = &c
		u.postChoice(j, c)
		return nil
	})
	if err == nil {
		u.interrupt()
	}
	return err
}

// begins says nil when it is time to install, else why not and how long to wait.
func (j *Journal) begins(now time.Time) (why string, wait time.Duration) {
	n := j.Update
	from := n.NotBefore
	if c := j.Choice; c != nil {
		switch c.Choice {
		case StartNow:
			from = time.Time{}
		case NotNow:
			return "the owner said: not now", recheckAfter
		case Postpone:
			from = later(c.Until, n.NotBefore)
		}
	}
	if now.Before(from) {
		return "the owner's time is " + from.UTC().Format(time.RFC3339), min(from.Sub(now), recheckAfter)
	}
	if !n.NotAfter.IsZero() && now.After(n.NotAfter) {
		return "the server must be asked again: its word held until " + n.NotAfter.UTC().Format(time.RFC3339), recheckAfter
	}
	return "", 0
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// shown reports whether the server shows this update to the unit's client
// already: before the owner's time reports on it are not taken.
func shown(n *unitkit.Update, now time.Time) bool { return !now.Before(n.NotBefore) }
