package install

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"fettle.dev/fettle/unitkit"
)

// say keeps words for the next report.
func (u *Updater) say(line string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.said = append(u.said, clip(line, maxDetailBytes))
	if n := len(u.said); n > maxDetails {
		u.said = slices.Clone(u.said[n-maxDetails:])
	}
}

// post puts a report into the outbox, with what was said since the last one.
// Reports on the way are merged while they wait: the server needs the latest.
// It is called in change.
func (u *Updater) post(j *Journal, n unitkit.Update, state unitkit.State, words ...string) {
	details := u.said
	u.said = nil
	for _, w := range words {
		if w != "" {
			details = append(details, clip(w, maxDetailBytes))
		}
	}
	j.put(Message{Update: n, Progress: unitkit.Progress{State: state, Details: details}})
}

func (u *Updater) postChoice(j *Journal, c Choice) {
	m := Message{Update: *j.Update, Choice: &c}
	if u.cfg.Tell == nil {
		m.Choice, m.Progress = nil, unitkit.Progress{State: unitkit.StateDownloading, Details: []string{c.words()}}
		if j.State != Downloading {
			m.Progress.State = unitkit.StateDownloaded
		}
	}
	j.put(m)
}

// ended keeps how an update came out, and puts it into the outbox.
func (u *Updater) ended(j *Journal, result unitkit.State, words string) {
	n := *j.Update
	j.Last = &Ended{Action: n.Action, Release: n.Release, Result: result, Why: j.Why, At: u.cfg.Now().UTC()}
	u.result(j, n, result, j.Why, words)
}

// result posts the end of an update, and after a success the versions.
func (u *Updater) result(j *Journal, n unitkit.Update, result unitkit.State, words ...string) {
	n.NotBefore = time.Time{} // told also when the owner started it on the unit before that time
	u.post(j, n, result, words...)
	if result == unitkit.StateInstalled {
		j.put(Message{Update: n, Confirm: true})
	}
}

// put appends a message. One on the way takes the place, and the words, of one
// on the way before it.
func (j *Journal) put(m Message) {
	if slices.ContainsFunc(j.Outbox, func(have Message) bool {
		return have.Update.Action == m.Update.Action && have.ended() && have.Progress.State == m.Progress.State && have.Confirm == m.Confirm
	}) {
		return // it waits already
	}
	j.Sent++
	m.ID = j.Sent
	if n := len(j.Outbox); n > 0 && !m.ended() && m.Choice == nil {
		last := &j.Outbox[n-1]
		if last.Update.Action == m.Update.Action && !last.ended() && last.Choice == nil && last.Progress.State != unitkit.StateRefused {
			m.Progress.Details = append(slices.Clone(last.Progress.Details), m.Progress.Details...)
			j.Outbox = j.Outbox[:n-1]
		}
	}
	if d := m.Progress.Details; len(d) > maxDetails {
		m.Progress.Details = slices.Clone(d[len(d)-maxDetails:])
	}
	j.Outbox = append(j.Outbox, m)
	for len(j.Outbox) > maxOutbox { // what is on the way goes first, then the oldest
		i := slices.IndexFunc(j.Outbox, func(m Message) bool { return !m.ended() })
		i = max(i, 0)
		j.Outbox = slices.Delete(j.Outbox, i, i+1)
	}
}

// Deliver sends what the server has yet to be told, in order. What it no
// longer wants to hear is dropped. After an error call it again later.
func (u *Updater) Deliver(ctx context.Context) error {
	for {
		j := u.Journal()
		if len(j.Outbox) == 0 {
			return nil
		}
		m := j.Outbox[0]
		err := u.deliver(ctx, m)
		if over(err) {
			u.log.Info("update: the server does not take this report", "action", m.Update.Action, "state", m.Progress.State, "err", err)
			err = nil
		}
		if err != nil {
			return err
		}
		err = u.change(func(j *Journal) error {
			j.Outbox = slices.DeleteFunc(j.Outbox, func(have Message) bool { return have.ID == m.ID })
			return nil
		})
		if err != nil {
			return err
		}
	}
}

func (u *Updater) deliver(ctx context.Context, m Message) error {
	switch {
	case m.Choice != nil:
		return u.cfg.Tell(ctx, &m.Update, *m.Choice)
	case m.Confirm:
		return u.cfg.Source.Confirm(ctx, &m.Update)
	default:
		return u.cfg.Source.Report(ctx, &m.Update, m.Progress)
	}
}

// over reports whether the server will never take it.
func over(err error) bool {
	if errors.Is(err, ErrGone) {
		return true
	}
	s, ok := errors.AsType[*unitkit.StatusError](err)
	return ok && (s.Code == http.StatusGone || s.Code == http.StatusNotFound || s.Code == http.StatusBadRequest || s.Code == http.StatusConflict)
}
