package drive

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"fettle.dev/fettle/sim/charger"
	"fettle.dev/fettle/sim/client"
	"fettle.dev/fettle/sim/mailbox"
)

// owner is one person who reads mail and decides.
type owner struct {
	fleet *Fleet
	unit  *unit
	spec  *charger.Unit

	mu      sync.Mutex
	browser client.Owner
	token   string               // of the newest link
	asked   bool                 // for a link
	told    map[string]time.Time // of the newest mail, by subject
	reacts  bool                 // a reaction is planned or done
	want    client.Choice
	acting  bool
	over    bool // has chosen for good
	chosen  []client.Choice
}

// Mail takes a mail for one of the owners; other people's mail is ignored and
// told by false.
func (f *Fleet) Mail(m mailbox.Mail) bool {
	w, ok := f.byEmail[m.To]
	if !ok {
		return false
	}
	f.mails.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if t := m.Token(); t != "" {
		w.token = t
	}
	if isSignIn(m) {
		if w.asked {
			w.asked = false
			w.soon()
		}
		return true
	}
	if w.told == nil {
		w.told = make(map[string]time.Time)
	}
	now := f.clock.Now()
	if last, ok := w.told[m.Subject]; ok && now.Sub(last) < remindersApart {
		f.secondNotices.Add(1)
	}
	w.told[m.Subject] = now
	if w.reacts || w.spec.Mood == charger.NeverReact {
		return true
	}
	w.reacts = true
	w.in(w.spec.Delay, w.firstChoice())
	return true
}

// remindersApart is less than what lies between two reminders: the same
// subject again sooner is a notice sent twice.
const remindersApart = 72 * time.Hour

// isSignIn says that the mail carries the link that was asked for, and no offer.
func isSignIn(m mailbox.Mail) bool {
	s := strings.ToLower(m.Subject)
	return strings.Contains(s, "sign in") || strings.Contains(s, "sign-in") || strings.Contains(s, "anmelde")
}

func (w *owner) firstChoice() client.Choice {
	switch w.spec.Mood {
	case charger.Tonight:
		return client.Tonight
	case charger.Schedules:
		return client.At
	case charger.Postpones:
		return client.NotNow
	case charger.Declines:
		return client.Decline
	default:
		return client.Now
	}
}

// in plans to make a choice after a simulated while. The caller holds the lock.
func (w *owner) in(d time.Duration, c client.Choice) {
	w.unit.queue.at(w.fleet.clock.Now().Add(d), func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.want = c
		w.soon()
	})
}

// soon goes to the portal. The caller holds the lock.
func (w *owner) soon() {
	if w.acting || w.want == "" || w.fleet.stopping.Load() {
		return
	}
	w.acting = true
	w.fleet.people.submit(w.act)
}

// act is one visit to the portal: sign in where needed, look, choose.
func (w *owner) act(ctx context.Context) {
	w.mu.Lock()
	want, token := w.want, w.token
	browser := w.browser
	w.token = ""
	w.mu.Unlock()

	chosen, ask, err := w.visit(ctx, &browser, token, want)

	w.mu.Lock()
	defer w.mu.Unlock()
	w.acting = false
	w.browser = browser
	retry := w.fleet.clock.Simulated(time.Duration(300+rand.IntN(700)) * time.Millisecond)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		w.fleet.note(err)
		if w.token == "" && client.Temporary(err) {
			w.token = token // it was not used up, or using it will say so
		}
		w.in(retry, want)
	case ask:
		if w.token != "" { // it came meanwhile
			w.asked = false
			w.soon()
			return
		}
		w.asked = true
		asked := w.fleet.clock.Simulated(15 * time.Second)
		w.unit.queue.at(w.fleet.clock.Now().Add(asked), w.askAgain)
	case chosen:
		w.fleet.choices.Add(1)
		w.chosen = append(w.chosen, want)
		w.want = ""
		if want == client.NotNow {
			w.in(time.Duration((18+8*rand.Float64())*float64(time.Hour)), client.Now)
			return
		}
		w.over = true
	default: // nothing to choose: it has begun, or is over
		w.want = ""
		w.over = true
	}
}

// askAgain asks for another link when none came.
func (w *owner) askAgain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asked {
		w.asked = false
		w.soon()
	}
}

// visit makes one choice. Ask says that a sign-in link was asked for.
func (w *owner) visit(ctx context.Context, b *client.Owner, token string, want client.Choice) (chosen, ask bool, err error) {
	if b.Cookie == "" && token != "" {
		if err := b.Click(ctx, token); err != nil && client.Temporary(err) {
			return false, false, err
		}
	}
	if b.Cookie == "" {
		return w.ask(ctx, b)
	}
	updates, err := b.Updates(ctx)
	if client.Code(err) == http.StatusUnauthorized {
		b.Cookie = ""
		return w.ask(ctx, b)
	}
	if err != nil {
		return false, false, err
	}
	for i := range updates {
		u := &updates[i]
		if u.UnitID != w.spec.ID || !slices.Contains(u.Choices, want) {
			continue
		}
		at := w.fleet.clock.Now().Add(time.Duration((6 + 12*rand.Float64()) * float64(time.Hour)))
		err := b.Choose(ctx, u.ID, want, at)
		if client.Code(err) == http.StatusConflict {
			return false, false, nil
		}
		return err == nil, false, err
	}
	return false, false, nil
}

func (w *owner) ask(ctx context.Context, b *client.Owner) (chosen, ask bool, err error) {
	w.mu.Lock()
	w.asked = true // the mail may be faster than the answer
	w.mu.Unlock()
	if err := b.AskLink(ctx, w.spec.Email); err != nil {
		return false, false, err
	}
	return false, true, nil
}
