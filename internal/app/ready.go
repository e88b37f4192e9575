package app

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// check asks one engine whether it answers.
type check struct {
	name string
	ask  func(ctx context.Context) error
}

// note is something an operator should know that does not stop the service.
type note struct {
	Name string `json:"name"`
	Note string `json:"note"`
}

type readiness struct {
	Ready  bool              `json:"ready"`
	Engine map[string]string `json:"engines"`
	Notes  []note            `json:"notes,omitempty"`
}

func healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n"))
}

// readyz answers 200 when every engine answers within two seconds, else 503,
// and names each.
func readyz(checks []check, notes func() []note) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		out := readiness{Ready: true, Engine: map[string]string{}, Notes: notes()}
		for _, c := range checks {
			if err := c.ask(ctx); err != nil {
				out.Ready = false
				out.Engine[c.name] = err.Error()
				continue
			}
			out.Engine[c.name] = "ok"
		}
		w.Header().Set("Content-Type", "application/json")
		if !out.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(out)
	}
}

// room is what an operator should know before the data directory has no room.
func (e *engines) room() []note {
	if w := e.disk.Warning(); w != "" {
		return []note{{"disk", w}}
	}
	return nil
}
