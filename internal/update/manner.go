package update

import (
	"context"
	"time"

	"fettle.dev/fettle/internal/fault"
)

// Manner is how the client of a bench unit is to take an assignment, as tools
// written for hawkBit ask for it. Owners' units have none: their owner's time
// is kept by not offering, and they are told to install.
type Manner struct {
	Soft         bool    `json:"soft,omitempty"`         // the client may decide when
	DownloadOnly bool    `json:"downloadOnly,omitempty"` // it is not installed
	Window       *Recurs `json:"window,omitempty"`       // it is installed within
	By           string  `json:"by,omitempty"`           // who asked for it
	Set          int64   `json:"set,omitempty"`          // the distribution set's id
	Downloaded   bool    `json:"downloaded,omitempty"`   // the client has it, which was all that was asked
}

// Wire is what the client is told: of download and update, "forced", "attempt"
// or "skip", and whether its window is open: "available", "unavailable", or ""
// where it has none. Only what is asked to be downloaded alone, or has a
// window, is ever told "skip".
func (m *Manner) Wire(now time.Time) (download, update, window string) {
	if m == nil {
		return "forced", "forced", ""
	}
	download = "forced"
	if m.Soft {
		download = "attempt"
	}
	update = download
	if m.DownloadOnly {
		update = "skip"
	}
	if m.Window != nil {
		window = "available"
		if !m.Window.Open(now) {
			update, window = "skip", "unavailable"
		}
	}
	return download, update, window
}

// AsAsked sets how the client is to take an assignment that was just made.
func (s *Service) AsAsked(ctx context.Context, id int64, m Manner) (Assignment, error) {
	a, err := s.change(ctx, id, func(a *Assignment) error {
		if a.State != Withheld {
			return fault.New(fault.Conflict, "assignment %d is %s", id, a.State)
		}
		a.Manner = &m
		return nil
	})
	return a, wrap("set the manner of assignment", id, err)
}

// Abandon ends an assignment without waiting for its unit.
func (s *Service) Abandon(ctx context.Context, id int64) (Assignment, error) {
	a, err := s.change(ctx, id, func(a *Assignment) error {
		if a.Over() {
			return errSame
		}
		a.State, a.Ended = Canceled, s.clock.Now()
		return nil
	})
	return a, wrap("abandon assignment", id, err)
}

// Downloaded notes that a client has the image. An assignment that was to be
// downloaded alone ends with it.
func (s *Service) Downloaded(ctx context.Context, unitID string, id int64, f Feedback) (Assignment, error) {
	a, err := s.Feedback(ctx, unitID, id, f)
	if err != nil || a.Manner == nil || !a.Manner.DownloadOnly {
		return a, err
	}
	a, err = s.change(ctx, id, func(a *Assignment) error {
		if a.Over() {
			return errSame
		}
		a.Manner.Downloaded, a.State, a.Ended = true, Canceled, s.clock.Now()
		return nil
	})
	return a, wrap("end assignment", id, err)
}
