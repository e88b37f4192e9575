package update

import (
	"context"
	"slices"
	"strings"
	"time"
)

// saysNothing are words that clients end with whatever went wrong: the reason
// stands before them. SWUpdate 2022.12 closes with the first of them.
var saysNothing = []string{
	"no suitable .swu image found", "waiting for requests", "main thread sleep again",
	"image invalid or corrupted. not installing", "update log to server from thread",
	"cannot read stored update state",                                                 // of a unit without a bootloader, at every poll
	"writing into swupdate ipc stream failed", "failed writing received data to disk", // of the downloader, when the installer has given up
	"error processing update chunk",
	"effective url resolved", "mtd is not present", "cannot open libmtd",
}

// mostReasons is how many of a client's errors are named.
const mostReasons = 3

// Reason picks why an update failed out of what the unit's client said: its
// last errors, or else its last words that say something.
func Reason(details []string) string {
	var all, errors []string
	for _, d := range slices.Backward(details) {
		d = strings.TrimSpace(d)
		low := strings.ToLower(d)
		if d == "" || slices.ContainsFunc(saysNothing, func(s string) bool { return strings.Contains(low, s) }) {
			continue
		}
		if strings.Contains(low, "software update started") { // what came before belongs to another attempt
			break
		}
		if !slices.Contains(all, d) {
			all = append(all, d)
		}
		if strings.Contains(low, "error") && !slices.Contains(errors, d) && len(errors) < mostReasons {
			errors = append(errors, d)
		}
	}
	switch {
	case len(errors) > 0:
		slices.Reverse(errors)
		return strings.Join(errors, "; ")
	case len(all) == 0:
		return "the unit gave no reason"
	case strings.HasPrefix(all[0], "["): // a trace: those before are of other steps
		return all[0]
	default:
		said := slices.DeleteFunc(all[:min(len(all), mostReasons)], func(d string) bool { return strings.HasPrefix(d, "[") })
		slices.Reverse(said)
		return strings.Join(said, "; ")
	}
}

// late is how long after a failure its client's words are still kept: SWUpdate
// sends them by a thread of its own, which the closing ones may overtake.
const late = time.Minute

// lateWords keeps what a client says of an assignment that has just failed. It
// is told all the same that the action is over.
func (s *Service) lateWords(ctx context.Context, unitID string, id int64, details []string) error {
	if len(details) == 0 {
		return nil
	}
	_, err := s.change(ctx, id, func(a *Assignment) error {
		if a.UnitID != unitID || a.State != Failed || s.clock.Now().Sub(a.Ended) > late {
			return errSame
		}
		for _, d := range details {
			a.Details = append(a.Details, clip(d))
		}
		a.Details = slices.Clone(a.Details[max(len(a.Details)-maxDetails, 0):])
		return nil
	})
	return err
}
