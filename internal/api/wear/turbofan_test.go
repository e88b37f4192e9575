package wear_test

import (
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/api/apitest"
	"fettle.dev/fettle/internal/api/wire"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/condition/prognosis"
	"fettle.dev/fettle/internal/peer/recording"
	"fettle.dev/fettle/internal/telemetry"
)

// engine is a turbofan that ran to failure, a row a cycle.
type engine struct {
	id      string
	rows    [][]float64
	begun   time.Time // each cycle is a day from here on
	refuses bool      // its owner permits nothing
}

func (e *engine) end() time.Time { return e.begun.AddDate(0, 0, len(e.rows)) }

// turbofans reads a share of NASA's C-MAPSS FD001, and the names of columns.
func turbofans(t *testing.T) (engines []*engine, columns []string) {
	t.Helper()
	f, err := os.Open(recording.Path(t, "cmapss/train_FD001.csv.gz"))
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	all, err := csv.NewReader(z).ReadAll()
	require.NoError(t, err)
	for _, row := range all[1:] {
		if unit, err := strconv.Atoi(row[0]); err != nil || unit%5 > 2 {
			continue // three of five: seconds, not a minute
		}
		if n := len(engines); n == 0 || engines[n-1].id != "TF-"+row[0] {
			// They went into service over a third of a year.
			engines = append(engines, &engine{id: "TF-" + row[0], begun: apitest.Start.Truncate(day).AddDate(0, 0, 37*n%120)})
		}
		values := make([]float64, len(row)-2)
		for i, text := range row[2:] {
			values[i], err = strconv.ParseFloat(text, 64)
			require.NoError(t, err)
		}
		e := engines[len(engines)-1]
		e.rows = append(e.rows, values)
	}
	return engines, all[0][2:]
}

const day = 24 * time.Hour

// The life of a fleet of turbofans: as engines fail and are recorded, the
// service learns, tests what it learned on engines held out, foresees the
// failures of the others and warns of them.
func TestTurbofanFleet(t *testing.T) {
	t.Parallel()
	engines, columns := turbofans(t)
	e := apitest.New(t)
	product := "apiVersion: fettle.dev/v1\nkind: Product\nmetadata: {name: turbofan}\nspec:\n  title: Turbofan\n" +
		"  purposes: [{name: care, title: Care, description: To see failures coming., basis: consent}]\n  signals:\n"
	for _, c := range columns {
		product += fmt.Sprintf("    - {name: %s, type: number, purposes: [care], retention: 3650d, description: A column.}\n", c)
	}
	e.Apply(product)
	units := ""
	records := []any{}
	for i, x := range engines {
		consents := "[care]"
		if x.refuses = i == 40; x.refuses {
			consents = "[]"
		}
		units += fmt.Sprintf("apiVersion: fettle.dev/v1\nkind: Unit\nmetadata: {name: %s}\nspec: {product: turbofan, serial: %q, consents: %s, owner: {email: %s@example.org}}\n---\n",
			x.id, x.id, consents, strings.ToLower(x.id))
		records = append(records, map[string]any{"unitId": x.id, "at": x.begun, "kind": "installation"})
	}
	e.Apply(units)
	e.Clock.Set(engines[0].begun.AddDate(0, 0, 121))
	apitest.Call[wire.MaintenanceAdded](e, 201, "POST", "/v1/maintenance", map[string]any{"records": records})
	e.Apply(fmt.Sprintf(`apiVersion: fettle.dev/v1
kind: Detector
metadata: {name: engine-life}
spec:
  product: turbofan
  type: prognosis
  severity: major
  purpose: care
  prognosis: {signals: [%s], horizon: 25d, every: 5d, retrain: 60d, failures: 12}
`, strings.Join(columns, ", ")))
	feed(t, e, engines, columns)

	// Every fifth day failures are recorded and units judged.
	failed := map[string]bool{}
	foreseen := newTally()
	byID := map[string]*engine{}
	for _, x := range engines {
		byID[x.id] = x
	}
	for d := 125; len(failed) < len(engines)-10; d += 5 {
		e.Clock.Set(engines[0].begun.AddDate(0, 0, d).Add(time.Hour))
		var gone []any
		for _, x := range engines {
			if !failed[x.id] && !x.end().After(e.Clock.Now()) {
				failed[x.id] = true
				gone = append(gone, map[string]any{"unitId": x.id, "at": x.end(), "kind": "failure", "note": "ran to failure"})
			}
		}
		if len(gone) > 0 {
			apitest.Call[wire.MaintenanceAdded](e, 201, "POST", "/v1/maintenance", map[string]any{"records": gone})
		}
		require.NoError(t, e.Deps.Prognosis.Step(t.Context()))
		risks := apitest.Call[wire.Page[prognosis.Prediction]](e, 200, "GET", "/v1/risks?limit=1000", nil).Items
		if len(failed) < 12 {
			require.Empty(t, risks, "silent while it knows too little")
		}
		for _, p := range risks {
			x := byID[p.UnitID]
			require.False(t, x.refuses, "whoever refuses is not looked at")
			if p.State != prognosis.Unknown {
				foreseen.add(p, x.end().Sub(p.At).Hours()/24)
			}
		}
	}

	models := apitest.Call[wire.List[wire.PrognosisModel]](e, 200, "GET", "/v1/prognoses/engine-life/models", nil).Items
	require.GreaterOrEqual(t, len(models), 2)
	champions := 0
	for _, m := range models {
		t.Logf("model %d %s: learned from %d failures and %d others; %s; 80 %% intervals hold %.0f %%", m.Number, m.State, m.Failures, m.Censored, m.Verdict, 100*m.Figures.Coverage)
		if m.State == prognosis.Champion {
			champions++
		}
	}
	require.Equal(t, 1, champions)
	t.Logf("%d predictions: RMSE %.1f days (of those within 125 days %.1f), 80 %% intervals hold %.0f %%",
		foreseen.n, foreseen.rmse(), math.Sqrt(foreseen.near/foreseen.nearN), 100*foreseen.inside/float64(foreseen.n))
	require.Less(t, math.Sqrt(foreseen.near/foreseen.nearN), 30.)
	require.InDelta(t, .8, foreseen.inside/float64(foreseen.n), .15)

	// Failures were warned of in time, and few without need.
	findings := apitest.Call[wire.Page[wire.Finding]](e, 200, "GET", "/v1/findings?detector=engine-life&limit=1000", nil).Items
	first := map[string]wire.Finding{}
	early := 0
	for _, f := range slices.Backward(findings) {
		if _, ok := first[f.UnitID]; !ok {
			first[f.UnitID] = f
		}
		if byID[f.UnitID].end().Sub(f.OpenedAt) > 3*25*day {
			early++
		}
		if failed[f.UnitID] {
			require.Equal(t, condition.Cleared, f.State, "the engine is no longer in use")
		}
	}
	began := models[len(models)-1].TrainedAt
	due, warned := 0, 0
	for _, x := range engines {
		if failed[x.id] && !x.refuses && x.end().After(began.AddDate(0, 0, 25)) {
			due++
			if f, ok := first[x.id]; ok && x.end().Sub(f.OpenedAt) >= 5*day {
				warned++
			}
		}
	}
	t.Logf("%d of %d engines that failed later were warned of 5 days or more ahead; %d of %d warnings came more than 75 days ahead", warned, due, early, len(findings))
	require.Greater(t, due, 20)
	require.GreaterOrEqual(t, float64(warned), .7*float64(due))
	require.LessOrEqual(t, early, len(findings)/20)
	u := apitest.Call[wire.UnitPrognosis](e, 200, "GET", "/v1/units/"+findings[0].UnitID+"/prognosis", nil)
	require.NotEmpty(t, u.History)
}

// feed puts what the engines showed into history, at noon of each day.
func feed(t *testing.T, e *apitest.Env, engines []*engine, columns []string) {
	t.Helper()
	seq, err := e.History.Applied(t.Context())
	require.NoError(t, err)
	var batches []telemetry.Sequenced
	for _, x := range engines {
		if x.refuses {
			continue // the gateway would have kept nothing
		}
		u, err := e.DB.Fleet().Unit(t.Context(), x.id)
		require.NoError(t, err)
		b := &telemetry.Batch{Product: "turbofan"}
		for c, row := range x.rows {
			at := x.begun.AddDate(0, 0, c).Add(12 * time.Hour).UnixMilli()
			r := telemetry.Row{Unit: u.Key, Event: at, Received: at}
			for i, v := range row {
				r.Values = append(r.Values, telemetry.Value{Signal: columns[i], Number: v})
			}
			b.Rows = append(b.Rows, r)
		}
		seq++
		batches = append(batches, telemetry.Sequenced{Seq: seq, Batch: b})
	}
	require.NoError(t, e.History.Append(t.Context(), batches))
}

// tally holds predictions against what came.
type tally struct {
	n                   int
	square, inside      float64
	near, nearN, nearIn float64
}

func newTally() *tally { return &tally{} }

func (a *tally) add(p prognosis.Prediction, truth float64) {
	a.n++
	miss := (p.Median - truth) * (p.Median - truth)
	a.square += miss
	in := 0.
	if p.Low <= truth && truth <= p.High {
		in = 1
	}
	a.inside += in
	if truth <= 125 {
		a.near, a.nearN, a.nearIn = a.near+miss, a.nearN+1, a.nearIn+in
	}
}

func (a *tally) rmse() float64 { return math.Sqrt(a.square / float64(a.n)) }
