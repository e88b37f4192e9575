package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"fettle.dev/fettle/internal/app/hold"
	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/device/door"
	"fettle.dev/fettle/internal/device/tuf"
	"fettle.dev/fettle/internal/fault"
	store "fettle.dev/fettle/internal/sqldb/trust"
	"fettle.dev/fettle/internal/update/link"
	"fettle.dev/fettle/internal/update/trust"
)

// sealKey is the file of the key that opens the online keys of the update
// metadata, which stand sealed in the records. It stands in no backup: whoever
// has only one of the two can sign nothing.
const sealKey = "trust-key"

// trusts builds what signs update metadata, with the key in the data directory,
// which is made at the first start.
func (h *house) trusts(ctx context.Context) error {
	path := h.config.path(sealKey)
	line, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		key := make([]byte, trust.SealSize)
		_, _ = rand.Read(key) // never fails since Go 1.24
		line = []byte(hex.EncodeToString(key))
		err = hold.Secret(path, string(line))
	}
	if err != nil {
		return fmt.Errorf("key of update metadata: %w", err)
	}
	seal, err := hex.DecodeString(strings.TrimSpace(string(line)))
	if err != nil || len(seal) != trust.SealSize {
		return fmt.Errorf("%s does not hold a key of %d bytes in hexadecimal digits", path, trust.SealSize)
	}
	h.trust, err = trust.NewService(ctx, trust.Config{
		Store: store.New(h.records), Releases: h.records.Update(), Tx: h.records, Clock: h.clock, Log: h.log,
		Server: h.config.publicURL(), Seal: seal, Versions: h.proven,
		Refused: h.reportRefused(),
	})
	if err != nil {
		return err
	}
	h.trust.Assign(h.updates)
	h.updates.SetSigned(h.trust.Refuse)
	return nil
}

// reportRefused counts refused version reports by name.
func (h *house) reportRefused() func(name string) {
	n := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "fettle", Name: "trust_refused_total", Help: "Version reports of units that were refused, by name.",
	}, []string{"name"})
	h.metrics.MustRegister(n)
	h.versionRefused = n
	return func(name string) { n.WithLabelValues(name).Inc() }
}

// provenKey marks a context in which a unit's versions are proven by its
// signature.
type provenKey struct{}

// proven takes versions that a unit has signed.
func (h *house) proven(ctx context.Context, unitID string, versions map[string]string) error {
	u, err := h.fleet.Unit(ctx, unitID)
	if err != nil {
		return err
	}
	ctx = context.WithValue(ctx, provenKey{}, true)
	return h.gateway.ReportVersions(ctx, device.Identity{UnitID: u.ID, Key: u.Key, Product: u.Product}, versions)
}

// mayReport tells whether versions count that a unit is said to have: those of
// a unit that signs its reports only when they are signed. Else whoever has its
// credential could report an installation that there never was.
func (h *house) mayReport(ctx context.Context, unitID string) (bool, error) {
	if ctx.Value(provenKey{}) != nil {
		return true, nil
	}
	_, err := store.New(h.records).Reporter(ctx, unitID)
	switch {
	case fault.KindOf(err) == fault.NotFound:
		return true, nil
	case err != nil:
		return false, fault.Wrap(fault.Unavailable, "versions of "+unitID, err)
	}
	h.versionRefused.WithLabelValues("report-unsigned").Inc()
	h.log.WarnContext(ctx, "an unsigned version report of a unit that signs them was ignored", "unit", unitID)
	return false, nil
}

// metadata is the door at which units fetch signed metadata.
func (h *house) metadata() http.Handler {
	return tuf.New(door.New(h.gateway, h.gateway, door.Config{}, h.log), tuf.Config{
		Trust: h.trust, Contacts: h.gateway, Address: h.fetchAt,
	})
}

// fetchAt is where a unit may fetch an image that it was told of, be it ahead
// of the owner's time.
func (h *house) fetchAt(ctx context.Context, unitID, sha256, filename string) (string, error) {
	a, _, err := h.updates.Directed(ctx, unitID)
	if err != nil {
		return "", err
	}
	if a.ID == 0 {
		return "", fault.New(fault.NotFound, "the unit has nothing to fetch")
	}
	if _, _, err := h.updates.Fetch(ctx, a.ID, sha256, true); err != nil {
		return "", err
	}
	return h.links.Path(link.Claims{Assignment: a.ID, SHA256: sha256, Filename: filename, Ahead: true}), nil
}
