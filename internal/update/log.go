package update

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Bounds of the log that is kept of one assignment: the last lines count, they
// say why it failed.
const (
	maxLogLines = 1000
	maxLogLine  = 1000
	maxReasons  = 5
)

// LogLine is a line of an update client's log.
type LogLine struct {
	At    time.Time `json:"at,omitzero"` // by the unit's clock
	Level string    `json:"level,omitempty"`
	Text  string    `json:"text"`
}

// LogStore keeps one log an assignment; a later one replaces it.
type LogStore interface {
	PutLog(ctx context.Context, id int64, lines []LogLine, at time.Time) error
	Log(ctx context.Context, id int64) ([]LogLine, error) // empty if there is none
}

// KeepLog keeps the client's log of a unit's own assignment, whatever became of
// it. The last errors in it also stand in the assignment's details, where
// everybody looks first.
func (s *Service) KeepLog(ctx context.Context, unitID string, id int64, lines []LogLine) error {
	if _, err := s.own(ctx, unitID, id); err != nil {
		return err
	}
	if n := len(lines); n > maxLogLines {
		lines = lines[n-maxLogLines:]
	}
	var reasons []string
	for i := range lines {
		l := &lines[i]
		l.Text, l.Level = cut(l.Text, maxLogLine), cut(l.Level, 20)
		switch strings.ToLower(l.Level) {
		case "error", "fatal", "panic":
			if n := len(reasons); n == 0 || reasons[n-1] != clip(l.Text) {
				reasons = append(reasons, clip(l.Text))
			}
		}
	}
	err := s.tx.InTx(ctx, func(ctx context.Context) error {
		if s.logs != nil {
			if err := s.logs.PutLog(ctx, id, lines, s.clock.Now()); err != nil {
				return err
			}
		}
		if len(reasons) == 0 {
			return nil
		}
		_, err := s.change(ctx, id, func(a *Assignment) error {
			a.Details = append(a.Details, reasons[max(0, len(reasons)-maxReasons):]...)
			a.Details = a.Details[max(0, len(a.Details)-maxDetails):]
			return nil
		})
		return err
	})
	if err != nil {
		return fmt.Errorf("log of assignment %d: %w", id, err)
	}
	return nil
}

// Log is the client's log of an assignment that it kept one of.
func (s *Service) Log(ctx context.Context, id int64) ([]LogLine, error) {
	if _, err := s.store.Assignment(ctx, id); err != nil {
		return nil, err
	}
	if s.logs == nil {
		return []LogLine{}, nil
	}
	return s.logs.Log(ctx, id)
}

func cut(s string, most int) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "?") // the records take no others
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
