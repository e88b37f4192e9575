package e2e

import (
	"context"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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
	tokens := s.units(ids, silent...)
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
	ctx, cancel := context.WithTimeout(d.t.Context(), 90*time.Second)
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
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	require.NoError(t, d.fleet.Wait(ctx))
	require.Greater(t, proxy.Lost.Load(), int64(20))
	r := d.checked()
	require.Positive(t, r.Resent)
	s.stop()
}
