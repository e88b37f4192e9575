package device

import (
	"fmt"
	"testing"
	"time"

	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

// BenchmarkConsentCheck is what a sample's way through declaration, consent and
// sense costs, of a message of ten values: permitted ones, and ones that the
// owner refuses. The choice is read when it changes and stands beside the
// signal, so the check of a sample is one look at it; "check alone" is that.
func BenchmarkConsentCheck(b *testing.B) {
	p := &product{Product: fleet.Product{Name: "p", Purposes: []fleet.Purpose{{Name: "care", Basis: fleet.BasisConsent}}}, index: map[string]int{}}
	var m Message
	for i := range 10 {
		name := fmt.Sprintf("signal_%d", i)
		p.index[name] = i
		p.Signals = append(p.Signals, fleet.Signal{Name: name, Type: fleet.Number, Purposes: []string{"care"}})
		m.Values = append(m.Values, Value{Name: []byte(name), Kind: KindNumber, Number: float64(i)})
	}
	m.HasEvent, m.Event = true, time.Now().UnixMilli()
	g := New(Config{})
	for _, given := range []bool{true, false} {
		u := &unit{product: p, times: new(unitTimes), permitted: make([]bool, 10)}
		mask := consent.Mask{"care": given}
		for i, s := range p.Signals {
			u.permitted[i] = mask.Permits(&p.Product, s)
		}
		at := time.Now()
		b.Run(map[bool]string{true: "permitted", false: "refused"}[given], func(b *testing.B) {
			values := make([]telemetry.Value, 0, 10)
			for b.Loop() {
				row, _, _ := g.row(u, &m, at, values[:0], nil)
				if given && len(row.Values) != 10 || !given && row.NotConsented != 10 {
					b.Fatal(row)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10, "ns/sample")
		})
	}
	b.Run("check alone", func(b *testing.B) {
		u := &unit{permitted: make([]bool, 10)}
		n := 0
		for b.Loop() {
			for i := range u.permitted {
				if u.permitted[i] {
					n++
				}
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10, "ns/sample")
	})
}
