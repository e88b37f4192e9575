package e2e

import (
	"context"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/peer/natsd"
	"fettle.dev/fettle/internal/peer/postgres"
	"fettle.dev/fettle/sim/check"
	"fettle.dev/fettle/sim/client"
)

// driven is a server under a load that is checked.
type driven struct {
	*server
	fleet *check.Fleet
}

// load is what a driven server is sent.
type load struct {
	units, most int           // units, and messages of each
	every       time.Duration // between two of a unit
	mqtt        string        // address, if not the server's own
	seed        uint64
}

// drive lets units send: every fifth by HTTPS, every seventh without its
// owner's consent.
func (s *server) drive(l load) *driven {
	s.t.Helper()
	ids := unitIDs(l.units)
	var silent []string
	units := make([]check.Unit, len(ids))
	for i, id := range ids {
		units[i] = check.Unit{ID: id, HTTP: i%5 == 4, Silent: i%7 == 6}
		if units[i].Silent {
			silent = append(silent, id)
		}
	}
	tokens := s.unitsOf("e2e/testdata/load", ids, silent...)
	for i := range units {
		units[i].Token = tokens[units[i].ID]
	}
	if l.mqtt == "" {
		l.mqtt = s.mqtt
	}
	s.t.Logf("seed %d", l.seed)
	d := &driven{server: s}
	d.fleet = check.Start(s.t.Context(), check.Options{
		MQTT: l.mqtt, HTTP: s.url(""), Units: units, Seed: l.seed,
		Start: time.Now().Add(-3 * time.Hour).Truncate(time.Hour), Most: l.most, Every: l.every,
	})
	s.t.Cleanup(d.fleet.Stop)
	return d
}

// served waits until units have got n more acknowledgements.
func (d *driven) served(n int) {
	d.t.Helper()
	before := d.fleet.Acked()
	until(d.t, 60*time.Second, "units are served", func() bool { return d.fleet.Acked() >= before+n })
}

// finish lets the units end with all acknowledged.
func (d *driven) finish() {
	d.t.Helper()
	d.fleet.Quiet()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	require.NoError(d.t, d.fleet.Wait(ctx))
}

// checked holds history against what the units saw.
func (d *driven) checked() check.Report {
	d.t.Helper()
	d.settled()
	api := &client.Caller{HTTP: http.DefaultClient, Base: d.url(""), Bearer: d.token}
	report, err := d.fleet.Verify(d.t.Context(), api)
	require.NoError(d.t, err)
	d.t.Log(report)
	return report
}

// killed kills the server at random moments under load.
func (d *driven) killed(random *rand.Rand, times int, longest time.Duration) {
	d.t.Helper()
	for range times {
		d.served(1)
		pause(d.t.Context(), time.Duration(random.Int64N(int64(longest))))
		d.kill()
		d.start()
	}
}

// Nothing that was acknowledged is lost, and nothing is stored twice, whenever
// the process is killed.
func TestKilledUnderLoad(t *testing.T) {
	t.Parallel()
	s := serve(t)
	d := s.drive(load{units: 40, most: 1 << 20, every: 2 * time.Millisecond, seed: 1})
	d.killed(rand.New(rand.NewPCG(1, 1)), 5, 800*time.Millisecond)
	d.finish()
	r := d.checked()
	require.Positive(t, r.Resent)
	s.kill()
	s.start()
	d.checked()
	s.stop()
}

func TestSoakKilledAHundredTimes(t *testing.T) {
	soak(t)
	s := serve(t)
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 2))
	d := s.drive(load{units: 60, most: 1 << 20, every: 20 * time.Millisecond, seed: seed})
	for range 10 {
		d.killed(random, 10, 3*time.Second)
	}
	d.finish()
	d.checked()
	s.stop()
}

// A PUBACK that is lost on the wire: the unit sends again, history knows.
func TestAcknowledgementsAreLost(t *testing.T) {
	t.Parallel()
	s := serve(t)
	proxy, err := check.Lossy(t.Context(), s.mqtt, 0.02, 3)
	require.NoError(t, err)
	d := s.drive(load{units: 20, most: 600, every: time.Millisecond, mqtt: proxy.Addr, seed: 3})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, d.fleet.Wait(ctx))
	require.Positive(t, proxy.Lost.Load()) // many acknowledgements may be on the wire as one
	r := d.checked()
	require.Positive(t, r.Resent)
	s.stop()
}

// outgrown is a server whose stream and records are processes of their own.
func outgrown(t *testing.T) (s *server, stream *natsd.Server, cutRecords func()) {
	t.Helper()
	stream = natsd.Start(t)
	dsn := postgres.Start(t).Database(t, "")
	s = &server{t: t, dir: t.TempDir(), http: freeAddress(t), mqtt: freeAddress(t), args: []string{"--records", dsn, "--bus", stream.URL}}
	s.start()
	s.signIn()
	return s, stream, func() { denyDatabase(t, dsn)() }
}

// struck kills, in turn and at random moments under load, the stream's server,
// the records' sessions (and with them the evaluator's and the gateway's work in
// hand), and the process.
func (d *driven) struck(random *rand.Rand, times int, longest time.Duration, stream *natsd.Server, cutRecords func()) {
	d.t.Helper()
	for i := range times {
		d.served(1)
		pause(d.t.Context(), time.Duration(random.Int64N(int64(longest))))
		switch i % 3 {
		case 0:
			stream.Kill()
			pause(d.t.Context(), time.Duration(random.Int64N(int64(longest))))
			stream.Restart(d.t)
		case 1:
			cutRecords()
		case 2:
			d.kill()
			d.start()
		}
	}
}

// What consumes is killed apart from what acknowledges, and the stream apart
// from both.
func TestConsumersAreKilledUnderLoad(t *testing.T) {
	t.Parallel()
	s, stream, cut := outgrown(t)
	d := s.drive(load{units: 20, most: 1 << 20, every: 5 * time.Millisecond, seed: 7})
	d.struck(rand.New(rand.NewPCG(7, 1)), 5, 500*time.Millisecond, stream, cut)
	d.finish()
	d.checked()
	s.stop()
}

func TestSoakConsumersAreKilled(t *testing.T) {
	soak(t)
	s, stream, cut := outgrown(t)
	seed := rand.Uint64()
	d := s.drive(load{units: 30, most: 1 << 20, every: 20 * time.Millisecond, seed: seed})
	d.struck(rand.New(rand.NewPCG(seed, 1)), 60, 2*time.Second, stream, cut)
	d.finish()
	d.checked()
	s.stop()
}

// A full disk under load: units wait, and go on when there is room, without a
// restart; killed while it is full, also when it cannot start, it loses nothing.
func TestDiskFullUnderLoad(t *testing.T) {
	t.Parallel()
	s := &server{t: t, dir: tmpfs(t, 160), http: freeAddress(t), mqtt: freeAddress(t)}
	s.start()
	s.signIn()
	d := s.drive(load{units: 10, most: 1 << 20, every: 2 * time.Millisecond, seed: 8})
	d.served(500)
	filler := filepath.Join(s.dir, "somebody else's file")
	full := func() {
		until(t, 30*time.Second, "nobody is acknowledged", func() bool {
			fill(t, filler)
			before := d.fleet.Acked()
			pause(t.Context(), 300*time.Millisecond)
			return d.fleet.Acked() == before
		})
	}
	free := func() { require.NoError(t, os.Remove(filler)) }
	for range 2 {
		full()
		free()
		d.served(500)
	}
	full()
	s.kill()
	if refusal := s.opens(); refusal != "" {
		require.NotContains(t, refusal, "damaged")
		require.Contains(t, refusal, "space")
	} else {
		require.NoError(t, s.cmd.Process.Kill())
		until(t, 30*time.Second, "it has ended", func() bool { return s.cmd.Process.Signal(syscall.Signal(0)) != nil })
	}
	free()
	s.start()
	d.served(500)
	d.finish()
	d.checked()
	s.stop()
}
