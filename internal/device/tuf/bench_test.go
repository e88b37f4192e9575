package tuf_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"fettle.dev/fettle/internal/campaign/campaigntest"
)

// What a unit costs that asks for the first time (three signatures), and one
// that asks whether there is anything new.
func BenchmarkTimestamp(b *testing.B) {
	w := newWorld(b)
	n := 0
	ask := func(id, tag string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/tuf/director/timestamp.json", nil)
		r.SetBasicAuth(id, "token of "+id)
		r.Header.Set("If-None-Match", tag)
		rec := httptest.NewRecorder()
		w.real.ServeHTTP(rec, r)
		return rec
	}
	b.Run("made", func(b *testing.B) {
		for b.Loop() {
			n++
			if rec := ask(campaigntest.UnitID(n), ""); rec.Code != http.StatusOK {
				b.Fatal(rec.Code)
			}
		}
	})
	b.Run("unchanged", func(b *testing.B) {
		id := campaigntest.UnitID(n + 1)
		tag := ask(id, "").Header().Get("ETag")
		for b.Loop() {
			if rec := ask(id, tag); rec.Code != http.StatusNotModified {
				b.Fatal(rec.Code)
			}
		}
	})
}
