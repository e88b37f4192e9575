package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// page is how many records are read at a time.
const page = 1000

// Each calls fn for the records of f, in their order, in pages.
func (t *Trail) Each(ctx context.Context, f Filter, fn func(Record, Entry) error) error {
	f.Limit, f.Newest = page, false
	for {
		list, err := t.cfg.Store.Records(ctx, f)
		if err != nil {
			return fmt.Errorf("read the audit trail: %w", err)
		}
		for _, r := range list {
			var e Entry
			if err := json.Unmarshal(r.Entry, &e); err != nil {
				e.Seq = f.After + 1
			}
			f.After = max(f.After, e.Seq)
			if err := fn(r, e); err != nil {
				return err
			}
		}
		if len(list) < page {
			return nil
		}
	}
}

// Verify checks the whole trail, and that heads which were kept elsewhere are
// still in it. It gives the trail's end; the error names the first entry that
// is wrong.
func (t *Trail) Verify(ctx context.Context, kept []Head) (Head, error) {
	start, err := t.cfg.Store.Start(ctx)
	if err != nil {
		return Head{}, err
	}
	head, err := t.cfg.Store.Head(ctx)
	if err != nil {
		return Head{}, err
	}
	c := From(start)
	found := map[int64]Record{}
	want := map[int64]bool{}
	for _, k := range kept {
		want[k.Seq] = true
	}
	err = t.Each(ctx, Filter{}, func(r Record, e Entry) error {
		if e.Seq > head.Seq && c.Seq == head.Seq {
			return errLater // entered since the head was read
		}
		if want[e.Seq] {
			found[e.Seq] = r
		}
		_, err := c.Next(r)
		return err
	})
	if err != nil && err != errLater { //nolint:errorlint // our own, unwrapped
		return c.Head, err
	}
	if err := c.End(head); err != nil {
		return c.Head, err
	}
	for _, k := range kept {
		if k.Seq <= start.Seq { // went by age, as the chain says itself
			if k.Seq == start.Seq && k.Hash != start.Hash {
				return c.Head, Kept(k, &Record{Hash: start.Hash})
			}
			continue
		}
		var now *Record
		if r, ok := found[k.Seq]; ok {
			now = &r
		}
		if err := Kept(k, now); err != nil {
			return c.Head, err
		}
	}
	return c.Head, nil
}

type stop struct{}

func (stop) Error() string { return "later" }

var errLater error = stop{}

// Retention is how long the trail is kept where nothing else is set: long
// enough to answer for what was done (the limitation of claims), no longer.
const Retention = 3 * 365 * 24 * time.Hour

// Broken is the entry that a check of the trail names, if it does.
func Broken(err error) (*BreakError, bool) { return errors.AsType[*BreakError](err) }

// Columns are the heads of Row.
var Columns = []string{
	"number", "time", "kind", "party", "actor", "role", "via", "from", "operation", "object", "about", "data", "outcome", "status", "changed", "more", "request", "hash", "previous",
}

// Row is an entry as a line of a table, for people to read. What a spreadsheet
// would take for a formula has a ' in front.
func (e *Entry) Row(hash string) []string {
	number := func(n int) string {
		if n == 0 {
			return ""
		}
		return strconv.Itoa(n)
	}
	out := []string{
		strconv.FormatInt(e.Seq, 10), e.At.Format(time.RFC3339Nano), string(e.Kind), e.Actor.Party, e.Actor.ID, e.Actor.Role, e.Actor.Via, e.From,
		e.Operation, e.Object, strings.Join(e.About, " "), e.Data, e.Outcome, number(e.Status), strings.Join(e.Changed, "; "), number(e.Count), e.Request, hash, e.Previous,
	}
	for i, v := range out {
		if v != "" && strings.ContainsRune("=+-@\t\r", rune(v[0])) {
			out[i] = "'" + v
		}
	}
	return out
}
