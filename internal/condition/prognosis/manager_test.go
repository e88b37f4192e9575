package prognosis_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/condition"
	"fettle.dev/fettle/internal/condition/prognosis"
	"fettle.dev/fettle/internal/condition/prognosis/spec"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/maintenance"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/sqldb/wear"
	"fettle.dev/fettle/internal/telemetry"
)

const day = 24 * time.Hour

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(d int) time.Time { return start.AddDate(0, 0, d) }

// wearing plays history: a unit's signal goes from 0, when its part is new, to
// 1, when it fails.
type wearing struct {
	life  map[int64]float64 // days that a unit's part lasts
	since map[int64]time.Time
	past  map[int64][]span
	quiet map[int64]bool // says nothing any more
	now   func() time.Time
}

type span struct {
	from, to time.Time
	life     float64
}

// worn is how much of its life a part had behind it then.
func (w *wearing) worn(unit int64, t time.Time) float64 {
	for _, s := range w.past[unit] {
		if !t.Before(s.from) && t.Before(s.to) {
			return t.Sub(s.from).Hours() / 24 / s.life
		}
	}
	return t.Sub(w.since[unit]).Hours() / 24 / w.life[unit]
}

func (w *wearing) Windows(_ context.Context, q telemetry.WindowQuery, fn func(*telemetry.Window) error) error {
	units := slices.Clone(q.Units)
	slices.Sort(units)
	for _, u := range units {
		for from := q.From; from.Before(q.To); from = from.Add(q.Width) {
			mid := from.Add(q.Width / 2)
			v := w.worn(u, mid)
			if v < 0 || w.quiet[u] || mid.After(w.now()) {
				continue
			}
			if err := fn(&telemetry.Window{Unit: u, At: from, Stats: []telemetry.Stat{{Count: 2, Sum: 2 * v, Min: v, Max: v}}}); err != nil {
				return err
			}
		}
	}
	return nil
}

// learner foresees from how worn a part is, right if the lives it has seen are
// like those to come; spoiled, it foresees nonsense.
type learner struct {
	spoiled bool
	learned int
}

type foresight struct{ Life, Wrong float64 }

func (l *learner) Learn(_ []string, lives []prognosis.Series) (prognosis.Foresight, error) {
	l.learned++
	f := &foresight{}
	n := 0.
	for _, s := range lives {
		if s.Failed {
			f.Life += s.End
			n++
		}
	}
	f.Life /= n
	if l.spoiled {
		f.Wrong = 1000
	}
	return f, nil
}

func (l *learner) Open(data []byte) (prognosis.Foresight, error) {
	f := &foresight{}
	return f, json.Unmarshal(data, f)
}

func (f *foresight) Predict(s *prognosis.Series, n int) (prognosis.Interval, error) {
	worn := s.Values[0][n-1]
	rest := (s.Ages[n-1]-.5)/worn - s.Ages[n-1] + f.Wrong // a reading is of the middle of its step
	return prognosis.Interval{Low: .8 * rest, Median: rest, High: 1.2 * rest}, nil
}

func (f *foresight) Drift(s *prognosis.Series, n int) ([]float64, error) {
	return []float64{10 * s.Values[0][n-1], math.NaN()}, nil
}

func (f *foresight) MarshalBinary() ([]byte, error) { return json.Marshal(f) }

// world is a fleet whose parts wear out.
type world struct {
	t       *testing.T
	db      *sqldb.DB
	clock   *clock.Manual
	history *wearing
	learner *learner
	service *maintenance.Service
	config  prognosis.Config
	manager *prognosis.Manager
	told    []string
}

const detector = "fan-life"

func newWorld(t *testing.T, units int) *world {
	t.Helper()
	ctx := t.Context()
	w := &world{t: t, db: sqldbtest.SQLite(t), clock: clock.NewManual(at(0)), learner: &learner{}}
	w.history = &wearing{life: map[int64]float64{}, since: map[int64]time.Time{}, past: map[int64][]span{}, quiet: map[int64]bool{}, now: w.clock.Now}
	p := fleet.Product{
		Name: "fan", Purposes: []fleet.Purpose{{Name: "care", Basis: fleet.BasisConsent}},
		Signals: []fleet.Signal{{Name: "noise", Type: fleet.Number, Purposes: []string{"care"}}},
	}
	require.NoError(t, w.db.Fleet().PutProduct(ctx, p))
	ids := &clock.Sequence{Prefix: "id"}
	consents := consent.NewService(w.db.Consent(), w.db.Fleet(), w.db, w.clock, ids)
	var all []fleet.Unit
	given := map[string][]string{}
	for i := range units {
		key := int64(i + 1)
		id := fmt.Sprintf("F-%02d", i)
		all = append(all, fleet.Unit{ID: id, Key: key, Product: "fan", Serial: fmt.Sprint(i), State: fleet.UnitActive, CreatedAt: at(0)})
		w.history.life[key], w.history.since[key] = 40.4+float64(7*i%30), at(0)
		given[id] = []string{"care"}
	}
	require.NoError(t, w.db.Fleet().PutUnits(ctx, all))
	_, err := consents.Import(ctx, "fan", given, "")
	require.NoError(t, err)
	w.service = maintenance.NewService(maintenance.Config{Store: wear.Maintenance(w.db), Fleet: w.db.Fleet(), Tx: w.db, Clock: w.clock, IDs: ids})
	w.config = prognosis.Config{
		Store: wear.Prognosis(w.db), Findings: w.db.Condition(), Lives: w.service, Fleet: w.db.Fleet(), Consents: consents,
		History: w.history, Learner: w.learner, Tx: w.db, Clock: w.clock,
		Told: func(_ context.Context, opened, cleared []condition.Finding) error {
			for _, f := range opened {
				w.told = append(w.told, "opened "+f.UnitID)
			}
			for _, f := range cleared {
				w.told = append(w.told, "cleared "+f.UnitID)
			}
			return nil
		},
	}
	w.manager = prognosis.NewManager(w.config)
	w.declare(func(*condition.Detector) {})
	return w
}

func (w *world) declare(change func(*condition.Detector)) {
	w.t.Helper()
	d := condition.Detector{
		Name: detector, Product: "fan", Type: condition.TypePrognosis, Severity: condition.Major, Purpose: "care",
		Prognosis: &spec.Prognosis{Part: "fan", Signals: []string{"noise"}, Horizon: fleet.Duration(10 * day), Failures: 8},
	}
	change(&d)
	_, err := w.db.Condition().PutDetector(w.t.Context(), d)
	require.NoError(w.t, err)
}

// run lets days pass, one by one; parts that are worn out fail, unless keep
// says otherwise, and are replaced.
func (w *world) run(to int) {
	w.t.Helper()
	for w.clock.Now().Before(at(to)) {
		w.clock.Advance(day)
		w.wearOut()
		w.step()
	}
}

// learn lets days pass until there is a first model, and says which day it is.
func (w *world) learn() (today int) {
	w.t.Helper()
	for today = 41; today < 70; today++ {
		w.run(today)
		if len(w.models()) > 0 {
			break
		}
	}
	require.Len(w.t, w.models(), 1, w.status().Why)
	return today
}

func (w *world) wearOut() {
	w.t.Helper()
	now := w.clock.Now()
	for key, life := range w.history.life {
		if failed := w.history.since[key].Add(time.Duration(life * float64(day))); !failed.After(now) {
			w.replace(key, failed, maintenance.Failed)
		}
	}
}

func (w *world) replace(key int64, when time.Time, why maintenance.Reason) {
	w.t.Helper()
	u, err := w.db.Fleet().UnitByKey(w.t.Context(), key)
	require.NoError(w.t, err)
	_, err = w.service.Add(w.t.Context(), []maintenance.Record{{UnitID: u.ID, At: when, Part: "fan", Kind: maintenance.Replacement, Reason: why}}, "ann")
	require.NoError(w.t, err)
	w.history.past[key] = append(w.history.past[key], span{w.history.since[key], when, w.history.life[key]})
	w.history.since[key] = when
	w.history.life[key] = 40 + math.Mod(w.history.life[key]*13, 30)
	w.manager.Wake()
}

// step does what is due, ten minutes after the clock's full days.
func (w *world) step() {
	w.t.Helper()
	w.clock.Advance(10 * time.Minute)
	require.NoError(w.t, w.manager.Step(w.t.Context()))
	w.clock.Advance(-10 * time.Minute)
}

func (w *world) status() prognosis.Status {
	w.t.Helper()
	all, err := w.manager.Status(w.t.Context(), "fan")
	require.NoError(w.t, err)
	require.Len(w.t, all, 1)
	return all[0]
}

func (w *world) models() []prognosis.Model {
	w.t.Helper()
	models, err := w.manager.Models(w.t.Context(), detector)
	require.NoError(w.t, err)
	return models
}

func (w *world) findings(state condition.FindingState) []condition.Finding {
	w.t.Helper()
	all, err := w.db.Condition().Findings(w.t.Context(), condition.FindingFilter{Product: "fan", State: state})
	require.NoError(w.t, err)
	return all
}

func TestPrognosisLivesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 24)
	w.run(41)
	s := w.status()
	require.Equal(t, "it needs 8 failures to learn from, and has 1", s.Why)
	require.Equal(t, []int{0, 8, 1, 24}, []int{s.Model, s.Needed, s.Failures, s.Censored}, "one has failed; it and 23 others go on")
	require.Empty(t, w.models())
	risks, err := w.manager.Risks(t.Context(), prognosis.RiskFilter{})
	require.NoError(t, err)
	require.Empty(t, risks, "silent")

	today := w.learn()
	models := w.models()
	m := models[0]
	require.Equal(t, prognosis.Champion, m.State, m.Verdict)
	require.Nil(t, m.Before)
	require.Less(t, m.Figures.Loss, m.Age.Loss, "better than age alone")
	require.InDelta(t, 0, m.Figures.MAE, 1)
	require.GreaterOrEqual(t, len(m.Test), 2)
	require.GreaterOrEqual(t, len(m.Test)+failed(m.Training), 8)
	for _, k := range m.Test {
		for _, l := range m.Training {
			require.NotEqual(t, k.Unit, l.Unit, "nothing is learned of a unit that is held out")
		}
	}
	s = w.status()
	require.Equal(t, 1, s.Model)
	require.Empty(t, s.Why)
	risks, err = w.manager.Risks(t.Context(), prognosis.RiskFilter{})
	require.NoError(t, err)
	require.Len(t, risks, 24)
	require.True(t, slices.IsSortedFunc(risks, func(a, b prognosis.Prediction) int { return cmp.Compare(place(a), place(b)) }))
	require.Equal(t, prognosis.Heading, risks[0].State)
	require.Regexp(t, `^noise above its first readings \(\+\d\.\d σ\)$`, risks[0].Reasons[0].Text)
	for _, p := range risks {
		if p.State == prognosis.Unknown {
			require.Regexp(t, "are needed|no data of it", p.Why, "its part is new")
			continue
		}
		truth := w.history.since[p.UnitKey].Add(time.Duration(w.history.life[p.UnitKey]*float64(day))).Sub(p.At).Hours() / 24
		require.InDelta(t, truth, p.Median, 1, p.UnitID)
		require.Equal(t, p.Median < 10, p.State == prognosis.Heading)
	}
	open := w.findings(condition.Open)
	require.Len(t, open, s.Counts.Heading)
	require.NotEmpty(t, open)
	require.Contains(t, open[0].Why, "failure of fan expected in")
	require.Contains(t, open[0].Why, "by model 1; noise above its first readings")

	// A part that is replaced in time is a new life, its finding clears at once.
	f := open[0]
	w.replace(f.UnitKey, w.clock.Now().Add(-time.Hour), maintenance.Preventive)
	w.step()
	cleared, err := w.db.Condition().Finding(t.Context(), f.ID)
	require.NoError(t, err)
	require.Equal(t, condition.Cleared, cleared.State)
	require.Equal(t, "the fan was replaced", cleared.ClearWhy)
	risks, err = w.manager.Risks(t.Context(), prognosis.RiskFilter{UnitID: f.UnitID})
	require.NoError(t, err)
	require.Empty(t, risks)
	require.Contains(t, w.told, "cleared "+f.UnitID)
	history, err := w.manager.Predictions(t.Context(), f.UnitID, detector, 100)
	require.NoError(t, err)
	require.NotEmpty(t, history, "what was foreseen stays on record")
	require.Equal(t, 1, history[0].Model)

	// Whoever no longer permits it is not looked at.
	other := w.findings(condition.Open)[0]
	consents := w.config.Consents.(*consent.Service)
	_, err = consents.Withdraw(t.Context(), other.UnitID, "care", "owner:1", "")
	require.NoError(t, err)
	w.run(today + 1)
	gone, err := w.db.Condition().Finding(t.Context(), other.ID)
	require.NoError(t, err)
	require.Equal(t, "the owner no longer permits it", gone.ClearWhy)
	require.Equal(t, 1, w.status().Withheld)

	// A detector that is deleted clears what it has open.
	require.NoError(t, w.db.Condition().DeleteDetector(t.Context(), detector))
	w.step()
	require.Empty(t, w.findings(condition.Open))
	left, err := w.manager.Status(t.Context(), "")
	require.NoError(t, err)
	require.Empty(t, left)
}

func failed(members []prognosis.Member) (n int) {
	for _, k := range members {
		if k.Failed {
			n++
		}
	}
	return n
}

func place(p prognosis.Prediction) float64 {
	if p.State == prognosis.Unknown {
		return math.Inf(1)
	}
	return p.Median
}

func TestChampionAndChallenger(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 30)
	w.learn()
	first := w.models()
	trained := w.learner.learned
	begun := int(first[0].TrainedAt.Sub(at(0)) / day)
	w.run(begun + 6)
	require.Equal(t, trained, w.learner.learned, "not before a week has passed")

	// A worse one does not take over, and stays on record.
	w.learner.spoiled = true
	w.run(begun + 8)
	models := w.models()
	require.Len(t, models, 2)
	loser := models[0]
	require.Equal(t, prognosis.Rejected, loser.State)
	require.Equal(t, 1, loser.Than)
	require.Greater(t, loser.Figures.Loss, 100.)
	require.Equal(t, 1, w.status().Model)
	for _, k := range loser.Test {
		for _, l := range first[0].Training {
			require.NotEqual(t, k.Unit, l.Unit, "nobody is tested on what another has seen anything of")
		}
	}
	require.GreaterOrEqual(t, len(loser.Test), len(first[0].Test))

	// One that is as good, with more behind it, does.
	w.learner.spoiled = false
	w.run(begun + 15)
	models = w.models()
	require.Len(t, models, 3)
	require.Equal(t, prognosis.Champion, models[0].State, models[0].Verdict)
	require.Equal(t, 1, models[0].Than, "the champion is to be beaten, not the last one that was learned")
	require.Contains(t, models[0].Verdict, "it takes over from model 1")
	require.Equal(t, prognosis.Retired, models[2].State)
	require.Equal(t, models[0].TrainedAt, models[2].RetiredAt)
	require.Equal(t, prognosis.Rejected, models[1].State)
	require.Equal(t, 3, w.status().Model)

	// Another horizon changes nothing of what was learned; other signals do.
	w.declare(func(d *condition.Detector) { d.Prognosis.Horizon = fleet.Duration(20 * day) })
	w.step()
	require.Equal(t, 3, w.status().Model)
	require.Equal(t, 2, w.status().Version)
	for _, f := range w.findings(condition.Open) {
		require.Equal(t, 2, f.Detector.Version)
	}
	w.declare(func(d *condition.Detector) { d.Prognosis.Step = fleet.Duration(12 * time.Hour) })
	w.step()
	models = w.models()
	require.Len(t, models, 4)
	require.Equal(t, prognosis.Champion, models[0].State)
	require.Nil(t, models[0].Before)
	require.Equal(t, prognosis.Retired, models[1].State)
}

// unlucky fails at a write, as a process that is killed there would.
type unlucky struct {
	prognosis.Store
	left int
}

var errKilled = errors.New("killed")

func (u *unlucky) hit() error {
	u.left--
	if u.left == 0 {
		return errKilled
	}
	return nil
}

func (u *unlucky) PutModel(ctx context.Context, m prognosis.Model) error {
	if err := u.hit(); err != nil {
		return err
	}
	return u.Store.PutModel(ctx, m)
}

func (u *unlucky) PutPredictions(ctx context.Context, d string, p []prognosis.Prediction, keep time.Time) error {
	if err := u.hit(); err != nil {
		return err
	}
	return u.Store.PutPredictions(ctx, d, p, keep)
}

func (u *unlucky) PutStatus(ctx context.Context, s prognosis.Status) error {
	if err := u.hit(); err != nil {
		return err
	}
	return u.Store.PutStatus(ctx, s)
}

// Wherever it is killed, it comes to the same models, predictions and findings.
func TestCrashResumes(t *testing.T) {
	t.Parallel()
	outcome := func(kill int) string {
		w := newWorld(t, 24)
		w.run(51)
		u := &unlucky{Store: w.config.Store, left: kill}
		w.config.Store = u
		for d := 52; d <= 58; d++ {
			w.clock.Set(at(d))
			w.wearOut()
			w.clock.Advance(10 * time.Minute)
			m := prognosis.NewManager(w.config)
			if err := m.Step(t.Context()); err != nil {
				require.ErrorIs(t, err, errKilled)
				require.NoError(t, prognosis.NewManager(w.config).Step(t.Context()), "started again")
			}
		}
		require.LessOrEqual(t, u.left, 0, "it was killed")
		risks, err := w.manager.Risks(t.Context(), prognosis.RiskFilter{})
		require.NoError(t, err)
		findings := w.findings("")
		text, err := json.Marshal([]any{w.models(), w.status(), risks, findings})
		require.NoError(t, err)
		return string(text)
	}
	want := outcome(1) // killed at the first write
	for kill := 2; kill <= 9; kill++ {
		require.Equal(t, want, outcome(kill), "killed at write %d", kill)
	}
	require.Contains(t, want, "failure of fan expected in")
}

// What the signals say may be worth nothing; then it says so.
func TestNoBetterThanAge(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 24)
	w.learner.spoiled = true
	today := w.learn()
	models := w.models()
	for _, m := range models {
		require.Equal(t, prognosis.Rejected, m.State)
	}
	s := w.status()
	require.Zero(t, s.Model)
	require.Contains(t, s.Why, "no better than age alone")
	require.Empty(t, w.findings(""))

	// Units that say nothing are not judged, and what is open stays.
	w.learner.spoiled = false
	w.run(today + 8)
	open := w.findings(condition.Open)
	require.NotEmpty(t, open)
	w.history.quiet[open[0].UnitKey] = true
	w.run(today + 9)
	risks, err := w.manager.Risks(t.Context(), prognosis.RiskFilter{UnitID: open[0].UnitID})
	require.NoError(t, err)
	require.Equal(t, prognosis.Unknown, risks[0].State)
	require.Contains(t, risks[0].Why, "no data of it since")
	still, err := w.db.Condition().Finding(t.Context(), open[0].ID)
	require.NoError(t, err)
	require.Equal(t, condition.Open, still.State)
}
