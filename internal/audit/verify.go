package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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

// Verify checks the whole trail, and that heads which were kept elsewhere (those
// given, and the Keeper's) are still in it. It gives the trail's end; the error names the first entry that
// is wrong.
func (t *Trail) Verify(ctx context.Context, kept []Head) (Head, error) {
	if t.cfg.Keeper != nil { // before the end is read: what is kept is in the trail by then
		own, err := t.cfg.Keeper.Heads()
		if err != nil {
			return Head{}, err
		}
		kept = append(own, kept...)
	}
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
	beyond := int64(0)
	var entries []Entry // whose filing is not checked yet
	for _, k := range kept {
		want[k.Seq] = true
	}
	err = t.Each(ctx, Filter{}, func(r Record, e Entry) error {
		if e.Seq > head.Seq && c.Seq == head.Seq {
			beyond = e.Seq
			return errLater // entered since the head was read, or put in: see below
		}
		if want[e.Seq] {
			found[e.Seq] = r
		}
		if _, err := c.Next(r); err != nil {
			return err
		}
		if entries = append(entries, e); len(entries) < page {
			return nil
		}
		return t.filed(ctx, &entries)
	})
	if err == nil || err == errLater { //nolint:errorlint // our own, unwrapped
		if filed := t.filed(ctx, &entries); filed != nil {
			err = filed
		}
	}
	if err != nil && err != errLater { //nolint:errorlint // our own, unwrapped
		return c.Head, err
	}
	if err := c.End(head); err != nil {
		return c.Head, err
	}
	if beyond > 0 {
		if now, err := t.cfg.Store.Head(ctx); err != nil || now.Seq < beyond {
			return c.Head, errors.Join(err, broken(head.Seq+1, "was put in: the trail ends before it"))
		}
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

// filed checks that entries, which follow one another, are found by what they
// say: one that is filed elsewhere would be there and seen by nobody. It empties the list.
func (t *Trail) filed(ctx context.Context, entries *[]Entry) error {
	list := *entries
	if len(list) == 0 {
		return nil
	}
	*entries = list[:0]
	filings, err := t.cfg.Store.Filings(ctx, list[0].Seq, list[len(list)-1].Seq)
	if err != nil {
		return fmt.Errorf("read the audit trail: %w", err)
	}
	for i := range list {
		want := list[i].filing()
		switch {
		case i >= len(filings) || filings[i].Seq != want.Seq:
			return broken(want.Seq, "is filed under another number")
		case !filings[i].At.Equal(want.At):
			return broken(want.Seq, "is filed under another time: %s", filings[i].At.UTC().Format(time.RFC3339Nano))
		case filings[i].Kind != want.Kind || filings[i].Actor != want.Actor || filings[i].Operation != want.Operation || filings[i].Object != want.Object:
			return broken(want.Seq, "is filed under another kind, actor, operation or object")
		case !slices.Equal(filings[i].About, want.About):
			return broken(want.Seq, "is filed under other people than it names")
		}
	}
	return nil
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
