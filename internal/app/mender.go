package app

import (
	"crypto/rand"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/device/door"
	"fettle.dev/fettle/internal/device/mender"
	"fettle.dev/fettle/internal/update"
	"fettle.dev/fettle/internal/update/link"
)

// mender is the door of mender-client. The key of its tokens lives as long as
// the process: clients whose token is unknown authenticate anew by themselves.
func (h *house) mender() http.Handler {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails since Go 1.24
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "fettle", Name: "mender_refused_total", Help: "Requests of Mender clients that were not believed, by reason: credential, of units that wait to be approved, too; action, another unit's deployment.",
	}, []string{"reason"})
	for _, reason := range mender.Reasons {
		refused.WithLabelValues(reason)
	}
	h.metrics.MustRegister(refused)
	return mender.New(mender.Config{
		Updates: h.updates, Gateway: h.gateway, Enrol: h.provision, Log: h.log, Wall: clock.Real{}, Key: key,
		Refused: func(reason string) { refused.WithLabelValues(reason).Inc() },
		Link: func(r *http.Request, d *update.Deployment) (string, time.Time) {
			c := link.Claims{
				Assignment: d.Assignment.ID, SHA256: d.Artifact.SHA256, Filename: d.Artifact.Filename, Expires: h.clock.Now().Add(link.Life),
			}
			return door.Base(r) + h.links.Path(c), c.Expires
		},
	})
}
