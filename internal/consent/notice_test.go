package consent_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/rights"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
)

func noticed(version string) fleet.Product {
	day := fleet.Duration(24 * time.Hour)
	return fleet.Product{
		Name: "wall-charger", Title: "Wall charger",
		Purposes: []fleet.Purpose{
			{Name: "care", Title: "Care", Description: "To warn you.", Basis: fleet.BasisConsent},
			{Name: "study", Title: "Study", Description: "To learn.", Basis: fleet.BasisConsent},
		},
		Signals: []fleet.Signal{
			{Name: "heat", Type: fleet.Number, Purposes: []string{"care", "study"}, Retention: 90 * day},
			{Name: "mood", Type: fleet.Number, Purposes: []string{"study"}, Retention: 90 * day},
		},
		Notice: &fleet.Notice{
			Version: version, Controller: fleet.Controller{Name: "Chargers", Contact: "p@chargers.example"},
			Texts: map[string]fleet.NoticeWords{"en": {Title: "Your data", Text: "Why."}},
		},
	}
}

func TestNotices(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		s, clk := newService(t, db, 3)
		n := consent.NewNotices(rights.Notices(db), db.Consent(), db, clk)
		publish := func(p fleet.Product) error {
			require.NoError(t, db.Fleet().PutProduct(ctx, p))
			return n.Publish(ctx, &p)
		}
		first := noticed("1")
		require.NoError(t, publish(first))
		require.NoError(t, publish(first), "nothing changed")

		// Until somebody has seen it, its words may change.
		first.Notice.Texts["en"] = fleet.NoticeWords{Title: "Your data", Text: "Why, said better."}
		require.NoError(t, publish(first))
		require.NoError(t, n.Show(ctx, "o1", "wall-charger", "1", "en"))
		clk.Advance(time.Hour)
		require.NoError(t, n.Show(ctx, "o1", "wall-charger", "1", "en"), "the first time counts")
		shown, err := n.ShownTo(ctx, "o1")
		require.NoError(t, err)
		require.Equal(t, []consent.Shown{{OwnerID: "o1", Product: "wall-charger", Version: "1", Language: "en", At: noon}}, shown)
		changed := noticed("1")
		err = publish(changed)
		require.Equal(t, "spec.notice.version", fault.FieldsOf(err)[0].Path)
		require.ErrorContains(t, err, "spec.notice differs")
		kept, err := n.Version(ctx, &first, "1")
		require.NoError(t, err)
		require.Equal(t, "Why, said better.", kept.Words.Notice.Texts["en"].Text)

		// A new version keeps choices where nothing is wider, and asks where it is.
		for _, id := range []string{unit(1), unit(2)} {
			for _, q := range []string{"care", "study"} {
				_, err := s.Choose(ctx, consent.Choice{UnitID: id, Purpose: q, Given: true, By: "owner:o1", Notice: "1", Language: "en"})
				require.NoError(t, err)
			}
		}
		second := noticed("2")
		second.Signals = append(second.Signals, fleet.Signal{Name: "humidity", Type: fleet.Number, Purposes: []string{"care"}, Retention: fleet.Duration(time.Hour)})
		require.NoError(t, publish(second))
		mask, err := s.Mask(ctx, unit(1))
		require.NoError(t, err)
		humidity, _ := second.Signal("humidity")
		require.True(t, mask.Permits(&second, second.Signals[0]), "as before")
		require.False(t, mask.Permits(&second, humidity), "nobody agreed to it")
		require.Equal(t, []string{"humidity"}, mask.Uncovered("care"))
		require.Empty(t, mask.Uncovered("study"))
		_, err = s.Choose(ctx, consent.Choice{UnitID: unit(1), Purpose: "care", Given: true, By: "owner:o1", Notice: "2", Language: "en"})
		require.NoError(t, err)
		mask, err = s.Mask(ctx, unit(1))
		require.NoError(t, err)
		require.True(t, mask.Permits(&second, humidity))
		other, err := s.Mask(ctx, unit(2))
		require.NoError(t, err)
		require.False(t, other.Permits(&second, humidity), "each owner for theirs")

		require.Equal(t, fault.NotFound, fault.KindOf(func() error { _, err := n.Version(ctx, &second, "9"); return err }()))
		all, err := n.All(ctx, "wall-charger")
		require.NoError(t, err)
		require.Len(t, all, 2)
		saw, err := n.Saw(ctx, "wall-charger")
		require.NoError(t, err)
		require.Equal(t, map[string]int{"1": 1}, saw)
	})
}

func TestWidened(t *testing.T) {
	t.Parallel()
	day := fleet.Duration(24 * time.Hour)
	for name, c := range map[string]struct {
		change func(p *fleet.Product)
		want   map[string][]string
	}{
		"other words":   {func(p *fleet.Product) { p.Purposes[0].Title = "Fürsorge" }, map[string][]string{}},
		"a signal less": {func(p *fleet.Product) { p.Signals = p.Signals[:1] }, map[string][]string{}},
		"shorter":       {func(p *fleet.Product) { p.Signals[0].Retention = day }, map[string][]string{}},
		"longer":        {func(p *fleet.Product) { p.Signals[0].Retention = 91 * day }, map[string][]string{"care": {"heat"}, "study": {"heat"}}},
		"for one more":  {func(p *fleet.Product) { p.Signals[1].Purposes = []string{"study", "care"} }, map[string][]string{"care": {"mood"}}},
		"a feature":     {func(p *fleet.Product) { p.Features = []fleet.Feature{{Name: "boost", Purposes: []string{"study"}}} }, map[string][]string{"study": {"feature:boost"}}},
		"a log":         {func(p *fleet.Product) { p.Log = &fleet.Log{Purposes: []string{"care"}} }, map[string][]string{"care": {"log"}}},
		"a recipient": {func(p *fleet.Product) {
			p.Notice.Recipients = []fleet.Recipient{{Name: "Lab", Purposes: []string{"care"}}}
		}, map[string][]string{"care": {"*"}}},
		"kept on withdrawal": {func(p *fleet.Product) { p.Purposes[1].OnWithdrawal = fleet.OnWithdrawalKeep }, map[string][]string{"study": {"*"}}},
		"said to be":         {func(p *fleet.Product) { p.Notice.Widens = []string{"study"} }, map[string][]string{"study": {"*"}}},
		"a new purpose": {func(p *fleet.Product) {
			p.Purposes = append(p.Purposes, fleet.Purpose{Name: "ads", Basis: fleet.BasisConsent})
		}, map[string][]string{}},
	} {
		before, now := noticed("1"), noticed("2")
		c.change(&now)
		require.Equal(t, c.want, consent.Widened(&before, &now), name)
	}
}

// What a sample is checked against stands beside the signal: the choice is
// looked up once, when it changes.
func BenchmarkPermits(b *testing.B) {
	p := noticed("1")
	mask := consent.Mask{"care": true, "study": false}
	for b.Loop() {
		if !mask.Permits(&p, p.Signals[0]) {
			b.Fatal("permitted")
		}
	}
}
