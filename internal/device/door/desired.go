package door

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"

	"fettle.dev/fettle/internal/device"
)

// DesiredPath is where a unit reads what it is to do with its own token.
const DesiredPath = "/fettle/v1/desired"

// Desired answers what a unit is to do, with an entity tag (RFC 9110, 8.8.3): a
// unit that polls and has it already is told so (304) in a few bytes.
func Desired(w http.ResponseWriter, r *http.Request, d *device.Desired) {
	body := d.JSON()
	sum := sha256.Sum256(body)
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	w.Header().Set("ETag", tag)
	w.Header().Set("Cache-Control", "no-cache")
	for have := range strings.SplitSeq(strings.Join(r.Header.Values("If-None-Match"), ","), ",") {
		if strings.TrimPrefix(strings.TrimSpace(have), "W/") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // a client that is gone needs no answer
}
