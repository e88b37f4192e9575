package install

import (
	"context"
	"fmt"
	"strings"
)

// Slots is a component with two places of which one runs while the other is
// written: A/B. A program of the product does the writing and the choosing.
// It is called with one of these, and must do what stands behind it:
//
//	current            print the name of the slot that was started, and nothing else
//	other              print the name of the slot to be written, never the current one
//	install SLOT FILE  write FILE into SLOT; sync it
//	activate SLOT      the next start is from SLOT: once, on trial, if the bootloader can
//	commit SLOT        every start is from SLOT from now on, until the next activate
//
// Exit status 0 means done and on the disk; anything else means failed, and
// what the program printed goes to the server as the reason. Power may be cut
// in each call, which is then made again: install begins anew, activate and
// commit are each one atomic change (of a bootloader's variables, say) and do
// no harm when they are done twice. To return, activate and commit are called
// with the old slot.
//
// Each call gets FETTLE_ACTION, FETTLE_RELEASE, FETTLE_COMPONENT,
// FETTLE_VERSION, FETTLE_FILENAME, FETTLE_SHA256 and FETTLE_LENGTH in its
// environment; FILE has been verified.
type Slots struct {
	Run func(ctx context.Context, t Task, args ...string) (output string, err error)
}

// A note of Slots is the names of the old and the new slot.
func slotsOf(note string) (from, to string) {
	from, to, _ = strings.Cut(note, " ")
	return from, to
}

func (p *Slots) name(ctx context.Context, t Task, which string) (string, error) {
	out, err := p.Run(ctx, t, which)
	if err != nil {
		return "", err
	}
	name := strings.TrimSpace(out)
	if name == "" || strings.ContainsAny(name, " \t\r\n") || len(name) > 64 {
		return "", fmt.Errorf("the installer program must print the name of a slot on %q, without spaces; it printed %q", which, clip(out, 80))
	}
	return name, nil
}

func (p *Slots) do(ctx context.Context, t Task, args ...string) error {
	out, err := p.Run(ctx, t, args...)
	if out = strings.TrimSpace(out); out != "" && err == nil {
		t.Say(args[0] + ": " + out)
	}
	return err
}

// Prepare writes the slot that does not run.
func (p *Slots) Prepare(ctx context.Context, t Task) (string, error) {
	from, err := p.name(ctx, t, "current")
	if err != nil {
		return "", err
	}
	to, err := p.name(ctx, t, "other")
	if err != nil {
		return "", err
	}
	if from == to {
		return "", fmt.Errorf("the installer program says that slot %s runs and that it is the other one", from)
	}
	return from + " " + to, p.do(ctx, t, "install", to, t.File)
}

// Activate chooses the new slot for the next start.
func (p *Slots) Activate(ctx context.Context, t Task) error {
	_, to := slotsOf(t.Note)
	return p.do(ctx, t, "activate", to)
}

// Active asks which slot was started.
func (p *Slots) Active(ctx context.Context, t Task) error {
	_, to := slotsOf(t.Note)
	now, err := p.name(ctx, t, "current")
	if err == nil && now != to {
		err = fmt.Errorf("slot %s was started, not %s: the bootloader did not start the new version, or returned to the old one", now, to)
	}
	return err
}

// Commit keeps the new slot, if it is the one that runs.
func (p *Slots) Commit(ctx context.Context, t Task) error {
	if err := p.Active(ctx, t); err != nil {
		return err
	}
	_, to := slotsOf(t.Note)
	return p.do(ctx, t, "commit", to)
}

// Return chooses the old slot for good.
func (p *Slots) Return(ctx context.Context, t Task) (bool, error) {
	from, _ := slotsOf(t.Note)
	if err := p.do(ctx, t, "activate", from); err != nil {
		return false, err
	}
	if err := p.do(ctx, t, "commit", from); err != nil {
		return false, err
	}
	now, err := p.name(ctx, t, "current")
	return now != from, err
}

// Clean does nothing: the other slot is written anew next time.
func (*Slots) Clean(context.Context, Task) error { return nil }

// clip shortens words for a report.
func clip(s string, n int) string {
	s = strings.ToValidUTF8(strings.TrimSpace(s), "?")
	if len(s) <= n {
		return s
	}
	return "…" + strings.ToValidUTF8(s[len(s)-n:], "")
}
