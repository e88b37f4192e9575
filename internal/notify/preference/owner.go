package preference

import (
	"context"
	"slices"
	"time"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify"
)

// Preferences are what an owner has set; nothing yet is the defaults.
func (s *Service) Preferences(ctx context.Context, ownerID string) (Preferences, error) {
	p, err := s.c.Keeper.Preferences(ctx, ownerID)
	if fault.KindOf(err) == fault.NotFound {
		return Preferences{}, nil
	}
	return p, err
}

// SetPreferences keeps what an owner sets.
func (s *Service) SetPreferences(ctx context.Context, ownerID string, p Preferences) error {
	if err := p.Validate(); err != nil {
		return err
	}
	return s.c.Keeper.PutPreferences(ctx, ownerID, p)
}

// Unsubscribe switches a kind off, as a link in a mail asks for. Safety and
// security notices cannot be switched off.
func (s *Service) Unsubscribe(ctx context.Context, ownerID string, kind notify.Kind) error {
	if !kind.Optional() {
		return fault.New(fault.Invalid, "messages about %s cannot be switched off: they tell of dangers, or of what you asked for", kind)
	}
	return s.c.Tx.InTx(ctx, func(ctx context.Context) error {
		p, err := s.Preferences(ctx, ownerID)
		if err != nil || slices.Contains(p.Off, kind) {
			return err
		}
		p.Off = append(p.Off, kind)
		return s.SetPreferences(ctx, ownerID, p)
	})
}

// Contact is how an owner can be reached.
func (s *Service) Contact(ctx context.Context, ownerID string) (Contact, error) {
	return s.c.Store.Contact(ctx, ownerID)
}

// SetContact keeps how an owner can be reached.
func (s *Service) SetContact(ctx context.Context, ownerID string, c Contact) error {
	if err := c.Validate(); err != nil {
		return err
	}
	return s.c.Store.PutContact(ctx, ownerID, c)
}

// Notices are what an owner was, will be or was not told, newest first.
func (s *Service) Notices(ctx context.Context, f Filter) ([]Notice, error) {
	list, err := s.c.Store.Notices(ctx, f)
	for i := range list {
		if err == nil {
			err = s.heard(ctx, &list[i])
		}
	}
	return list, err
}

// heard adds to a notice what was heard by its messages: an acknowledgement by
// the link in a mail.
func (s *Service) heard(ctx context.Context, n *Notice) error {
	if !n.AckedAt.IsZero() || !n.Acknowledge || n.Verdict != notify.Told {
		return nil
	}
	messages, err := s.c.Store.Messages(ctx, n.Key)
	if err != nil {
		return err
	}
	for _, m := range messages {
		if !m.AckedAt.IsZero() && (n.AckedAt.IsZero() || m.AckedAt.Before(n.AckedAt)) {
			n.AckedAt, n.AckedVia = m.AckedAt, m.AckedVia
		}
	}
	return nil
}

// Notice is one of an owner's own.
func (s *Service) Notice(ctx context.Context, ownerID, id string) (Notice, error) {
	n, err := s.c.Store.Notice(ctx, id)
	if err == nil && (n.OwnerID != ownerID || ownerID == "") {
		err = fault.New(fault.NotFound, "no notice %q", id)
	}
	if err != nil {
		return Notice{}, err
	}
	return n, s.heard(ctx, &n)
}

// Read notes that an owner has opened a notice.
func (s *Service) Read(ctx context.Context, ownerID, id string) (Notice, error) {
	return s.change(ctx, ownerID, id, func(n *Notice, now time.Time) {
		if n.ReadAt.IsZero() {
			n.ReadAt = now
		}
	})
}

// Acknowledge notes that an owner says they have read a notice, on the notice
// and on the messages that carried it.
func (s *Service) Acknowledge(ctx context.Context, ownerID, id string, via notify.Via) (Notice, error) {
	return s.change(ctx, ownerID, id, func(n *Notice, now time.Time) {
		if n.ReadAt.IsZero() {
			n.ReadAt = now
		}
		if n.AckedAt.IsZero() {
			n.AckedAt, n.AckedVia = now, via
		}
	})
}

func (s *Service) change(ctx context.Context, ownerID, id string, fn func(n *Notice, now time.Time)) (out Notice, err error) {
	err = s.c.Tx.InTx(ctx, func(ctx context.Context) error {
		if out, err = s.Notice(ctx, ownerID, id); err != nil {
			return err
		}
		before := out
		fn(&out, s.c.Clock.Now())
		if before.ReadAt.Equal(out.ReadAt) && before.AckedAt.Equal(out.AckedAt) {
			return nil
		}
		if err := s.c.Store.SaveNotice(ctx, out); err != nil {
			return err
		}
		if out.AckedAt.Equal(before.AckedAt) {
			return nil
		}
		messages, err := s.c.Store.Messages(ctx, out.Key)
		if err != nil {
			return err
		}
		for _, m := range messages {
			if !m.Acknowledge || !m.AckedAt.IsZero() {
				continue
			}
			_, err := s.c.Messages.Heard(ctx, notify.Delivery{MessageID: m.ID, At: out.AckedAt, Channel: m.Channel, Result: notify.Acknowledged, Detail: string(out.AckedVia)}, func(m *notify.Message) error {
				m.AckedAt, m.AckedVia = out.AckedAt, out.AckedVia
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return out, err
}

// Seen reports whether a notice could be seen: the next hop took one of its
// messages, or its owner opened it.
func (s *Service) Seen(ctx context.Context, key string) (bool, error) {
	n, err := s.c.Store.NoticeByKey(ctx, key)
	if fault.KindOf(err) == fault.NotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if n.Into != "" {
		if n, err = s.c.Store.Notice(ctx, n.Into); err != nil {
			return false, err
		}
	}
	if !n.ReadAt.IsZero() || !n.AckedAt.IsZero() {
		return true, nil
	}
	messages, err := s.c.Store.Messages(ctx, n.Key)
	return slices.ContainsFunc(messages, func(m notify.Message) bool {
		return !m.SentAt.IsZero() && m.State != notify.Bounced && m.State != notify.Failed
	}), err
}
