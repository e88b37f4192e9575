package device_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/device/devicetest"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// store parses and stores one payload of a unit.
func store(t *testing.T, h *devicetest.House, id device.Identity, body string) []device.Outcome {
	t.Helper()
	p := device.NewPayload()
	require.NoError(t, p.Parse([]byte(body)))
	out := make([]device.Outcome, len(p.Messages))
	require.NoError(t, h.Gateway.Store(t.Context(), id, p.Messages, out))
	return out
}

func at(d time.Duration) string { return fmt.Sprint(devicetest.Start.Add(d).UnixMilli()) }

func TestWhatIsKept(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, body string
		want       device.Outcome
	}{
		{"every type", `{"values":{"current":16,"charging":true,"label":"x","error":0}}`, device.Outcome{Kept: 4}},
		{"a boolean as 0 or 1", `{"values":{"charging":1}}`, device.Outcome{Kept: 1}},
		{"undeclared", `{"values":{"current":1,"wifi":3,"":4}}`, device.Outcome{Kept: 1, Undeclared: 2}},
		{"not a number", `{"values":{"current":NaN,"plug_temperature":1}}`, device.Outcome{Kept: 1, Invalid: 1, Why: "current: expected a finite number"}},
		{"infinite", `{"values":{"current":Infinity,"plug_temperature":-Infinity}}`, device.Outcome{Invalid: 2, Why: "current: expected a finite number; plug_temperature: expected a finite number"}},
		{"inf", `{"values":{"current":inf}}`, device.Outcome{Invalid: 1, Why: "current: expected a finite number"}},
		{"overflow", `{"values":{"current":1e999}}`, device.Outcome{Invalid: 1, Why: "current: expected a finite number"}},
		{"not quite a number", `{"values":{"current":1-2}}`, device.Outcome{Invalid: 1, Why: "current: expected a finite number"}},
		{"a string for a number", `{"values":{"current":"16"}}`, device.Outcome{Invalid: 1, Why: "current: expected a number"}},
		{"null", `{"values":{"label":null}}`, device.Outcome{Invalid: 1, Why: "label: expected a string"}},
		{"an object", `{"values":{"charging":{"a":1}}}`, device.Outcome{Invalid: 1, Why: "charging: expected true or false"}},
		{"two for a boolean", `{"values":{"charging":2}}`, device.Outcome{Invalid: 1, Why: "charging: expected true or false"}},
		{"named twice", `{"values":{"current":1,"current":2}}`, device.Outcome{Kept: 1, Invalid: 1, Why: "current: named twice in one message"}},
		{"bad UTF-8", "{\"values\":{\"label\":\"\xff\"}}", device.Outcome{Invalid: 1, Why: "label: expected at most 4096 bytes of UTF-8"}},
		{"a day ahead", `{"ts":` + at(24*time.Hour) + `,"values":{"current":1}}`, device.Outcome{Kept: 1}},
		{"more than a day ahead", `{"ts":` + at(24*time.Hour+time.Millisecond) + `,"values":{"current":1}}`, device.Outcome{Invalid: 1, Why: "current: event time is more than 1d ahead of the server's clock"}},
		{"a year ahead", `{"ts":` + at(365*24*time.Hour) + `,"values":{"current":1}}`, device.Outcome{Invalid: 1, Why: "current: event time is more than 1d ahead of the server's clock"}},
		{"a year behind", `{"ts":` + at(-365*24*time.Hour) + `,"values":{"current":1,"x":1}}`, device.Outcome{Undeclared: 1, Invalid: 1, Why: "current: event time is more than 180d behind the server's clock"}},
		{"180 days behind", `{"ts":` + at(-180*24*time.Hour) + `,"values":{"current":1}}`, device.Outcome{Kept: 1}},
		{"1970", `{"ts":0,"values":{"current":1}}`, device.Outcome{Invalid: 1, Why: "current: event time is before the year 2000"}},
		{"seconds for milliseconds", `{"ts":1401624000,"values":{"current":1}}`, device.Outcome{Invalid: 1, Why: "current: event time is before the year 2000"}},
		{"no clock at all", `{"ts":NaN,"values":{"current":1}}`, device.Outcome{Invalid: 1, Why: "current: event time is before the year 2000"}},
		{"the end of time", `{"ts":1e300,"values":{"current":1}}`, device.Outcome{Invalid: 1, Why: "current: event time is more than 1d ahead of the server's clock"}},
		{"nothing", `{"values":{}}`, device.Outcome{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := devicetest.New(t, nil)
			id := h.Identity(h.Units(1)[0])
			require.Equal(t, []device.Outcome{c.want}, store(t, h, id, c.body))
			rows := h.Stream.Rows()
			if c.name == "nothing" {
				require.Empty(t, rows)
				return
			}
			require.Len(t, rows, 1)
			require.Len(t, rows[0].Values, c.want.Kept)
			require.Equal(t, c.want.Invalid, rows[0].Invalid)
			require.Equal(t, c.want.Undeclared, rows[0].Undeclared)
			require.Equal(t, id.Key, rows[0].Unit)
			require.Equal(t, devicetest.Start.UnixMilli(), rows[0].Received)
			for _, v := range rows[0].Values {
				require.False(t, math.IsNaN(v.Number) || math.IsInf(v.Number, 0))
			}
			require.Equal(t, c.want.Kept, value(t, h, "kept"))
			require.Equal(t, c.want.Invalid, value(t, h, "invalid"))
			require.Equal(t, c.want.Undeclared, value(t, h, "undeclared"))
		})
	}
}

// value reads the sample counter of a result.
func value(t *testing.T, h *devicetest.House, result string) int {
	t.Helper()
	families, err := h.Metrics.Gather()
	require.NoError(t, err)
	sum := 0
	for _, f := range families {
		if f.GetName() != "fettle_ingest_samples_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "result" && l.GetValue() == result {
					sum += int(m.GetCounter().GetValue())
				}
			}
		}
	}
	return sum
}

func TestConsentIsAppliedAtOnce(t *testing.T) {
	t.Parallel()
	h := devicetest.New(t, nil)
	unit := h.Units(1)[0]
	id := h.Identity(unit)
	const body = `{"values":{"current":1,"error":7}}`
	require.Equal(t, device.Outcome{Kept: 2}, store(t, h, id, body)[0])
	h.Consent(unit, false)
	require.Equal(t, device.Outcome{Kept: 1, NotConsented: 1}, store(t, h, id, body)[0])
	h.Consent(unit, true)
	require.Equal(t, device.Outcome{Kept: 2}, store(t, h, id, body)[0])
	marks := h.Stream.Marks(telemetry.MarkConsent)
	require.Len(t, marks, 2)
	require.Empty(t, marks[0].Text)
	require.Equal(t, "care", marks[1].Text)
	rows := h.Stream.Rows()
	require.Equal(t, []telemetry.Value{{Signal: "error", Number: 7}}, rows[1].Values)
	require.Equal(t, 1, rows[1].NotConsented)
}

// No row judged under consent follows the mark that consent was withdrawn,
// however the two race.
func TestNoRowFollowsTheMarkThatForbidsIt(t *testing.T) {
	t.Parallel()
	h := devicetest.New(t, nil)
	unit := h.Units(1)[0]
	id := h.Identity(unit)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				m := []device.Message{{Values: []device.Value{{Name: []byte("current"), Kind: device.KindNumber, Number: 1}}}}
				if !errors.Is(h.Gateway.Store(context.Background(), id, m, nil), nil) {
					return
				}
			}
		})
	}
	for i := range 20 {
		h.Consent(unit, i%2 == 1)
		time.Sleep(3 * time.Millisecond)
	}
	close(stop)
	wg.Wait()
	given, changes := true, 0
	for _, b := range h.Stream.Batches() {
		for _, r := range b.Rows {
			if !given {
				require.Empty(t, r.Values)
			}
		}
		for _, m := range b.Marks {
			if m.Kind == telemetry.MarkConsent {
				given = m.Text == "care"
				changes++
			}
		}
	}
	require.Equal(t, 20, changes)
}

func TestReceivedIsTheStreamsOrder(t *testing.T) {
	t.Parallel()
	h := devicetest.New(t, func(c *device.Config) { c.MaxRows = 7 })
	ids := h.Units(4)
	other := devicetest.Charger()
	other.Name = "other"
	require.NoError(t, h.DB.Fleet().PutProduct(t.Context(), other))
	require.NoError(t, h.DB.Fleet().PutUnits(t.Context(), []fleet.Unit{{ID: "O-1", Key: 99, Product: "other", Serial: "1", State: fleet.UnitActive}}))
	all := []device.Identity{h.Identity(ids[0]), h.Identity(ids[1]), h.Identity(ids[2]), {UnitID: "O-1", Key: 99, Product: "other"}}
	var wg sync.WaitGroup
	for n, id := range all {
		wg.Go(func() {
			for i := range 50 {
				m := []device.Message{{Sequence: int64(i + 1), Values: []device.Value{{Name: []byte("error"), Kind: device.KindNumber, Number: 1}}}}
				if h.Gateway.Store(context.Background(), id, m, nil) != nil {
					return
				}
				h.Clock.Advance(time.Duration(n+1) * time.Millisecond)
			}
		})
	}
	wg.Wait()
	require.Len(t, h.Stream.Rows(), 200)
	last, sequence := int64(0), map[int64]int64{}
	for _, r := range h.Stream.Rows() {
		require.GreaterOrEqual(t, r.Received, last)
		last = r.Received
		require.Equal(t, sequence[r.Unit]+1, r.Sequence)
		sequence[r.Unit] = r.Sequence
	}
	for _, b := range h.Stream.Batches() {
		for _, r := range b.Rows {
			require.Equal(t, r.Unit == 99, b.Product == "other")
		}
	}
}

func TestMessagesWithoutTimeStayApart(t *testing.T) {
	t.Parallel()
	h := devicetest.New(t, nil)
	id := h.Identity(h.Units(1)[0])
	store(t, h, id, `[{"values":{"current":1}},{"values":{"current":1}},{"values":{"current":1}}]`)
	seen := map[int64]bool{}
	for _, r := range h.Stream.Rows() {
		require.False(t, seen[r.Event])
		seen[r.Event] = true
	}
	require.Len(t, seen, 3)
}

func TestAFailedCommitFailsItsMessages(t *testing.T) {
	t.Parallel()
	h := devicetest.New(t, nil)
	id := h.Identity(h.Units(1)[0])
	h.Stream.Fail(errors.New("no space left on device"))
	m := []device.Message{{Values: []device.Value{{Name: []byte("current"), Kind: device.KindNumber, Number: 1}}}}
	err := h.Gateway.Store(t.Context(), id, m, nil)
	require.Equal(t, fault.Unavailable, fault.KindOf(err))
	require.Zero(t, value(t, h, "kept"))
	require.Error(t, h.Gateway.ReportVersions(t.Context(), id, map[string]string{"software": "2.0.0"}))
	u, err := h.DB.Fleet().Unit(t.Context(), id.UnitID)
	require.NoError(t, err)
	require.Empty(t, u.Versions, "the records never run ahead of the stream")
	h.Stream.Fail(nil)
	require.NoError(t, h.Gateway.Store(t.Context(), id, m, nil))
	require.Len(t, h.Stream.Rows(), 1)
}

func TestBackpressure(t *testing.T) {
	t.Parallel()
	h := devicetest.New(t, func(c *device.Config) { c.InFlight = 4000 })
	id := h.Identity(h.Units(1)[0])
	h.Stream.Hold()
	m := []device.Message{{Values: []device.Value{{Name: []byte("current"), Kind: device.KindNumber, Number: 1}}}}
	done := make(counting, 100)
	taken := 0
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		err := h.Gateway.Submit(ctx, id, m, nil, done, 0)
		cancel()
		if err != nil {
			require.Equal(t, fault.Unavailable, fault.KindOf(err))
			break
		}
		taken++
		require.Less(t, taken, 60, "what is in flight is bounded")
	}
	require.Empty(t, done, "nothing is acknowledged before it is durable")
	h.Stream.Release()
	for range taken {
		require.NoError(t, <-done)
	}
	require.Len(t, h.Stream.Rows(), taken)
	require.NoError(t, h.Gateway.Submit(t.Context(), id, m, nil, done, 0))
}

type counting chan error

func (c counting) Committed(_ uint64, err error) bool { c <- err; return false }
func (c counting) Flush()                             {}

func TestMarks(t *testing.T) {
	t.Parallel()
	h := devicetest.New(t, nil)
	ids := h.Units(2)
	id := h.Identity(ids[0])
	contact := func() int { return len(h.Stream.Marks(telemetry.MarkContact)) }

	for range 5 {
		h.Gateway.Contact(id)
	}
	flushed(t, h)
	require.Equal(t, 1, contact(), "contacts of a minute are one")
	h.Clock.Advance(61 * time.Second)
	h.Gateway.Contact(id)
	flushed(t, h)
	require.Equal(t, 2, contact())
	h.Clock.Advance(61 * time.Second)
	store(t, h, id, `{"values":{"error":1}}`)
	h.Gateway.Contact(id)
	flushed(t, h)
	require.Equal(t, 2, contact(), "data is contact")

	for range 2 {
		require.NoError(t, h.Gateway.ReportVersions(t.Context(), id, map[string]string{"software": "2.0.0", "boot": "1"}))
	}
	marks := h.Stream.Marks(telemetry.MarkVersion)
	require.Len(t, marks, 2, "a version is marked when it changes")
	require.Equal(t, "boot=1", marks[0].Text)
	require.Equal(t, "software=2.0.0", marks[1].Text)
	u, err := h.DB.Fleet().Unit(t.Context(), id.UnitID)
	require.NoError(t, err)
	require.Equal(t, "2.0.0", u.Versions["software"])
	for _, bad := range []map[string]string{nil, {"": "1"}, {"a=b": "1"}, {"software": ""}, {"software": "a\nb"}} {
		require.Equal(t, fault.Invalid, fault.KindOf(h.Gateway.ReportVersions(t.Context(), id, bad)))
	}
	require.Eventually(t, func() bool {
		return slices.ContainsFunc(h.Stream.Marks(telemetry.MarkTick), func(m telemetry.Mark) bool { return m.Text == "3600000" })
	}, time.Minute, time.Millisecond, "the gateway ticks by itself")

	units, err := h.DB.Fleet().Units(t.Context(), fleet.Filter{})
	require.NoError(t, err)
	many := make([]fleet.Unit, 0, 5000)
	for range 2500 {
		many = append(many, units...)
	}
	require.NoError(t, h.Gateway.Enrolled(t.Context(), many...))
	require.Len(t, h.Stream.Marks(telemetry.MarkEnrolled), 5000)
}

// flushed waits until what was submitted before is in the stream.
func flushed(t *testing.T, h *devicetest.House) {
	t.Helper()
	require.NoError(t, h.Gateway.Mark(t.Context(), telemetry.Mark{Kind: telemetry.MarkTick, Text: "1"}))
}

// A row that a unit sends after its version report follows the mark in the
// stream, although marks stand behind rows in a batch.
func TestRowsFollowTheMarkBeforeThem(t *testing.T) {
	t.Parallel()
	h := devicetest.New(t, func(c *device.Config) { c.Linger = 500 * time.Millisecond })
	id := h.Identity(h.Units(1)[0])
	m := []device.Message{{Values: []device.Value{{Name: []byte("error"), Kind: device.KindNumber, Number: 1}}}}
	done := make(counting, 2)
	require.NoError(t, h.Gateway.Submit(t.Context(), id, m, nil, done, 0))
	marked := make(chan error, 1)
	go func() {
		marked <- h.Gateway.Mark(context.Background(), telemetry.Mark{Kind: telemetry.MarkVersion, Unit: id.Key, Text: "software=2"})
	}()
	require.Eventually(t, func() bool { return h.Gateway.Marked(id.Key) || len(marked) == 1 }, time.Minute, time.Millisecond, "the mark is submitted")
	require.NoError(t, h.Gateway.Submit(t.Context(), id, m, nil, done, 0))
	require.NoError(t, <-marked)
	require.NoError(t, <-done)
	require.NoError(t, <-done)
	var order []string
	for _, b := range h.Stream.Batches() {
		for range b.Rows {
			order = append(order, "row")
		}
		for _, k := range b.Marks {
			if k.Kind == telemetry.MarkVersion {
				order = append(order, "version")
			}
		}
	}
	require.Equal(t, []string{"row", "version", "row"}, order)
}

func TestWhoIsRefused(t *testing.T) {
	t.Parallel()
	h := devicetest.New(t, nil)
	ids := h.Units(2)
	ctx := t.Context()
	for _, c := range [][2]string{{ids[0], h.Token(ids[1])}, {ids[0], ""}, {"nobody", h.Token(ids[0])}, {"", ""}} {
		_, err := h.Gateway.Token(ctx, c[0], c[1])
		require.ErrorIs(t, err, device.ErrCredential)
		require.Equal(t, fault.Denied, fault.KindOf(err))
	}
	id := h.Identity(ids[0])
	for _, change := range []func(context.Context, string) error{h.Provide.RevokeUnit, h.Provide.RetireUnit} {
		require.NoError(t, change(ctx, ids[0]))
		_, err := h.Gateway.Token(ctx, ids[0], h.Token(ids[0]))
		require.ErrorIs(t, err, device.ErrInactive)
		err = h.Gateway.Store(ctx, id, []device.Message{{Values: []device.Value{{Name: []byte("error"), Kind: device.KindNumber}}}}, nil)
		require.Equal(t, fault.Denied, fault.KindOf(err), "a session that outlived its unit stores nothing")
		require.NoError(t, h.Provide.RestoreUnit(ctx, ids[0]))
		_, err = h.Gateway.Token(ctx, ids[0], h.Token(ids[0]))
		require.NoError(t, err)
	}
	require.Len(t, h.Stream.Marks(telemetry.MarkRetired), 2)
	require.Len(t, h.Stream.Marks(telemetry.MarkEnrolled), 2)
	renewed, err := h.Provide.IssueToken(ctx, ids[0])
	require.NoError(t, err)
	_, err = h.Gateway.Token(ctx, ids[0], h.Token(ids[0]))
	require.ErrorIs(t, err, device.ErrCredential)
	_, err = h.Gateway.Token(ctx, ids[0], renewed)
	require.NoError(t, err)
}
