package recording

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/sim/mqttc"
	"fettle.dev/fettle/sim/mqttc/mqttctest"
)

func TestReadsTimesAndCounts(t *testing.T) {
	t.Parallel()
	from := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		file   string
		format Format
		want   []Track
		err    string
	}{
		"times, renamed": {
			file:   "timestamp,value\n2013-07-04 00:00:00,69.88\n2013-07-04 01:00:00,\n2013-07-04 02:00:00,71\n",
			format: Format{Time: "timestamp", Columns: []Column{{"value", "temperature"}}},
			want: []Track{{Rows: []Row{
				{At: time.Date(2013, 7, 4, 0, 0, 0, 0, time.UTC), Values: []byte(`{"temperature":69.88}`), Samples: 1},
				{At: time.Date(2013, 7, 4, 2, 0, 0, 0, time.UTC), Values: []byte(`{"temperature":71}`), Samples: 1},
			}}},
		},
		"cycles of two units, semicolons": {
			file:   "\ufeffunit;cycle;s4;on;mode\n1;1;1.5e2;True;eco\n2;1;2;false;eco\n1;3;4;true;full\n",
			format: Format{Time: "cycle", Unit: "unit", Step: time.Hour, From: from, Columns: []Column{{"s4", "s4"}, {"on", "on"}, {"mode", "mode"}}},
			want: []Track{
				{Unit: "1", Rows: []Row{
					{At: from.Add(time.Hour), Values: []byte(`{"s4":150,"on":true,"mode":"eco"}`), Samples: 3},
					{At: from.Add(3 * time.Hour), Values: []byte(`{"s4":4,"on":true,"mode":"full"}`), Samples: 3},
				}},
				{Unit: "2", Rows: []Row{{At: from.Add(time.Hour), Values: []byte(`{"s4":2,"on":false,"mode":"eco"}`), Samples: 3}}},
			},
		},
		"unix milliseconds": {
			file:   "t,v\n1372896000500,1\n",
			format: Format{Time: "t", Columns: []Column{{"v", "v"}}},
			want:   []Track{{Rows: []Row{{At: time.UnixMilli(1372896000500).UTC(), Values: []byte(`{"v":1}`), Samples: 1}}}},
		},
		"no such column":    {file: "a,b\n1,2\n", format: Format{Time: "t", Columns: []Column{{"b", "b"}}}, err: `no column "t"; the file has a, b`},
		"nothing is mapped": {file: "a,b\n1,2\n", format: Format{Time: "a"}, err: "no column is mapped"},
		"a time that is none": {
			file: "t,v\n2013-07-04,1\nyesterday,2\n", format: Format{Time: "t", Columns: []Column{{"v", "v"}}},
			err: `line 3: column t: expected a time`,
		},
		"a short line": {file: "t,v\n1\n", format: Format{Time: "t", Columns: []Column{{"v", "v"}}}, err: "wrong number of fields"},
		"empty":        {file: "", format: Format{Time: "t"}, err: "no header line"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Read(strings.NewReader(c.file), c.format)
			if c.err != "" {
				require.ErrorIs(t, err, ErrFile)
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

const shared = "/work/shared/data"

func TestReadsTheSharedRecordings(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(shared); err != nil {
		t.Skip("the shared recordings are not on this machine")
	}
	f, err := os.Open(filepath.Join(shared, "nab-dev/data/realKnownCause/ambient_temperature_system_failure.csv"))
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	tracks, err := Read(f, Format{Time: "timestamp", Columns: []Column{{"value", "temperature"}}})
	require.NoError(t, err)
	require.Len(t, tracks, 1)
	require.Len(t, tracks[0].Rows, 7267)

	g, err := os.Open(filepath.Join(shared, "cmapss/train_FD001.csv.gz"))
	require.NoError(t, err)
	defer func() { _ = g.Close() }()
	z, err := gzip.NewReader(g)
	require.NoError(t, err)
	tracks, err = Read(z, Format{Time: "cycle", Unit: "unit", Step: time.Hour, Columns: []Column{{"s11", "s11"}, {"s4", "s4"}}})
	require.NoError(t, err)
	require.Len(t, tracks, 100)
	require.Len(t, tracks[0].Rows, 192)
	require.Equal(t, "100", tracks[99].Unit)
}

func TestShift(t *testing.T) {
	t.Parallel()
	at := time.Date(2013, 7, 4, 0, 0, 0, 0, time.UTC)
	tracks := []Track{{Rows: []Row{{At: at}, {At: at.Add(time.Hour)}}}}
	Shift(tracks, 24*time.Hour)
	first, last, ok := Extent(tracks)
	require.True(t, ok)
	require.Equal(t, at.Add(24*time.Hour), first)
	require.Equal(t, at.Add(25*time.Hour), last)
}

// listener takes rows, and loses every hundredth connection's message.
type listener struct {
	mu   sync.Mutex
	n    int
	lose int // every so many messages; 0: never
	rows map[string][]int64
}

func (l *listener) take(user string, p *packets.PublishPacket) bool {
	var in struct {
		TS int64 `json:"ts"`
	}
	if json.Unmarshal(p.Payload, &in) != nil {
		panic(string(p.Payload))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n++
	if l.lose > 0 && l.n%l.lose == 0 {
		return false
	}
	l.rows[user] = append(l.rows[user], in.TS)
	return true
}

func track(n int) *Track {
	at := time.Date(2013, 7, 4, 0, 0, 0, 0, time.UTC)
	t := &Track{}
	for i := range n {
		t.Rows = append(t.Rows, Row{At: at.Add(time.Duration(i) * time.Minute), Values: []byte(`{"v":1}`), Samples: 1})
	}
	return t
}

func TestPlaysEverythingInOrderThoughConnectionsAreLost(t *testing.T) {
	t.Parallel()
	l := &listener{lose: 97, rows: map[string][]int64{}}
	s := (&mqttctest.Server{Take: l.take}).Start(t)
	p := &Player{Addr: s.Addr, Patience: time.Minute}
	require.NoError(t, p.Play(t.Context(), []Part{{UnitID: "a", Track: track(1000)}, {UnitID: "b", Track: track(500)}}))
	require.Equal(t, int64(1500), p.Rows.Load())
	require.Equal(t, int64(1500), p.Samples.Load())
	require.Positive(t, p.Again.Load())
	l.mu.Lock()
	defer l.mu.Unlock()
	for user, n := range map[string]int{"a": 1000, "b": 500} {
		seen := map[int64]bool{}
		newest := int64(0)
		for _, ts := range l.rows[user] {
			if !seen[ts] {
				require.Greater(t, ts, newest, "rows come in order, but for repetitions")
				newest = ts
			}
			seen[ts] = true
		}
		require.Len(t, seen, n)
	}
}

func TestPlaysAtASpeed(t *testing.T) {
	t.Parallel()
	l := &listener{rows: map[string][]int64{}}
	s := (&mqttctest.Server{Take: l.take}).Start(t)
	p := &Player{Addr: s.Addr, Speed: 60 * 60}
	began := time.Now()
	require.NoError(t, p.Play(t.Context(), []Part{{UnitID: "a", Track: track(31)}})) // half an hour
	require.InDelta(t, 10, time.Since(began).Seconds(), 9.6)                         // half a second, and what the machine takes
}

func TestAWrongTokenEndsThePlay(t *testing.T) {
	t.Parallel()
	s := (&mqttctest.Server{Take: (&listener{rows: map[string][]int64{}}).take, Refuse: func(_, password string) byte {
		if password == "right" {
			return 0
		}
		return 5
	}}).Start(t)
	p := &Player{Addr: s.Addr, Patience: time.Minute}
	err := p.Play(t.Context(), []Part{{UnitID: "a", Token: "right", Track: track(10)}, {UnitID: "b", Token: "wrong", Track: track(10)}})
	require.ErrorIs(t, err, mqttc.ErrRefused)
	require.ErrorContains(t, err, "unit b")
}

func TestParseServer(t *testing.T) {
	t.Parallel()
	addr, conf, err := ParseServer("mqtts://fettle.example.com")
	require.NoError(t, err)
	require.Equal(t, "fettle.example.com:8883", addr)
	require.NotNil(t, conf)
	for _, plain := range []string{"mqtt://127.0.0.1:1999", "127.0.0.1:1999"} { // as serve --mqtt has it
		addr, conf, err = ParseServer(plain)
		require.NoError(t, err)
		require.Equal(t, "127.0.0.1:1999", addr)
		require.Nil(t, conf)
	}
	for _, bad := range []string{"", "localhost", "http://a", "mqtt://"} {
		_, _, err = ParseServer(bad)
		require.Error(t, err, bad)
	}
}

func FuzzRead(f *testing.F) {
	f.Add("timestamp,value\n2013-07-04 00:00:00,69.88\n", false)
	f.Add("timestamp;value\n1;\"a\"\"b\"\n", true)
	f.Fuzz(func(t *testing.T, file string, counts bool) {
		format := Format{Time: "timestamp", Columns: []Column{{"value", "v"}}}
		if counts {
			format.Step = time.Hour
		}
		tracks, err := Read(strings.NewReader(file), format)
		if err != nil {
			require.ErrorIs(t, err, ErrFile)
			return
		}
		for _, tr := range tracks {
			for _, r := range tr.Rows {
				require.True(t, json.Valid(r.Values), "%s", r.Values)
			}
		}
	})
}
