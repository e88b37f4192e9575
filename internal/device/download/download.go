// Package download is the door at which artifacts are fetched by signed
// addresses (room update/link): with ranges, several of them at once
// (RFC 9110, section 14), and of any size in constant memory. Each request asks
// whether the assignment may still be fetched, and what is under way asks again
// every few seconds: a withdrawal ends both.
//
// A client that has an older image says which, and gets what turns it into the
// new one (Compression Dictionary Transport, RFC 9842):
//
//	Accept-Encoding: dcz, zstd
//	Available-Dictionary: :<SHA-256 of its image, in base64>:
//	Delta-Window: <bytes of memory it gives, default 64 MiB>
//
// The answer's Content-Encoding says what came: dcz, zstd where there is no
// delta but the image compresses, or none: the image as it is. Its ETag is the
// SHA-256 of what is sent, so that ranges and If-Range hold for that.
//
// It serves what an address was signed for and nothing else: it fetches from
// nowhere, and no part of an address is a path on the disk.
package download

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/update"
	"fettle.dev/fettle/internal/update/delta"
	"fettle.dev/fettle/internal/update/link"
	unit "fettle.dev/fettle/unitkit/delta"
)

// Updates is what the door needs of the room update; *update.Service is one.
type Updates interface {
	Fetch(ctx context.Context, id int64, sha256 string, ahead bool) (update.Assignment, update.Artifact, error)
	Begun(ctx context.Context, id int64) error
	Artifact(ctx context.Context, sha256 string) (update.Artifact, error)
}

// Blobs opens bytes by their SHA-256; update.Blobs is one.
type Blobs interface {
	Open(ctx context.Context, sha256 string) (io.ReadSeekCloser, error)
}

// Deltas finds what turns one image into another; *delta.Manager is one.
type Deltas interface {
	Ready(ctx context.Context, to, from string, window int64) (delta.Delta, error)
	BySHA256(ctx context.Context, sha256 string) (delta.Delta, error)
}

// Config is what a Door works with.
type Config struct {
	Updates Updates
	Blobs   Blobs
	Links   *link.Signer
	Deltas  Deltas      // nil: there are none
	Clock   clock.Clock // for how long an answer may be cached
	Log     *slog.Logger
	Metrics prometheus.Registerer

	// CDN is the address of a cache before this service, as
	// https://cdn.example.com; empty: there is none.
	CDN string
	// Shares names the rates that a download shares with others; nil: none.
	Shares func(ctx context.Context, a update.Assignment, address string) ([]Share, error)
	// Recheck is how often what is under way asks whether it may go on
	// (default 2 s).
	Recheck time.Duration
}

// Door serves link.Prefix.
type Door struct {
	cfg     Config
	mux     *http.ServeMux
	limits  limits
	told    rate.Sometimes // a flood of refusals is counted, not written down
	refused *prometheus.CounterVec
	served  *prometheus.CounterVec
	running prometheus.Gauge
}

// New makes the door.
func New(cfg Config) *Door {
	if cfg.Recheck <= 0 {
		cfg.Recheck = 2 * time.Second
	}
	if cfg.Shares == nil {
		cfg.Shares = func(context.Context, update.Assignment, string) ([]Share, error) { return nil, nil }
	}
	d := &Door{
		cfg: cfg, mux: http.NewServeMux(), told: rate.Sometimes{First: 20, Interval: time.Second},
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fettle_download_refused_total", Help: "Requests for artifacts that were refused, or cut while they ran, by reason.",
		}, []string{"reason"}),
		served: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fettle_download_bytes_total", Help: "Bytes of artifacts sent: to units by their own address, or to a cache; by content coding (identity: the image as it is).",
		}, []string{"to", "coding"}),
		running: prometheus.NewGauge(prometheus.GaugeOpts{Name: "fettle_downloads_running", Help: "Artifacts that are being sent at this moment."}),
	}
	for _, code := range []link.Code{link.Forged, link.Expired, link.Withdrawn} {
		d.refused.WithLabelValues(string(code))
	}
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(d.refused, d.served, d.running)
	}
	d.mux.HandleFunc("GET "+link.Prefix+"{sha256}/{filename}", d.get) // and HEAD
	return d
}

// ServeHTTP serves a client.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) { d.mux.ServeHTTP(w, r) }

func (d *Door) get(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "private, no-store")
	c, err := d.cfg.Links.Check(r.PathValue("sha256"), r.PathValue("filename"), r.URL.Query())
	switch {
	case err != nil:
	case c.Assignment == 0:
		err = d.edge(w, r, c)
	default:
		err = d.assigned(w, r, c)
	}
	if err != nil {
		d.refuse(w, r, c, err)
	}
}

// assigned serves a unit by its own address.
func (d *Door) assigned(w http.ResponseWriter, r *http.Request, c link.Claims) error {
	may := func(ctx context.Context) (update.Assignment, update.Artifact, error) {
		a, f, err := d.cfg.Updates.Fetch(ctx, c.Assignment, c.SHA256, c.Ahead)
		if k := fault.KindOf(err); k == fault.Conflict || k == fault.NotFound {
			err = &link.RefusedError{Code: link.Withdrawn, Claims: c, Err: err}
		}
		return a, f, err
	}
	a, f, err := may(r.Context())
	if err != nil {
		return err
	}
	if a.State == update.Offered && r.Method == http.MethodGet && !c.Ahead {
		if err := d.cfg.Updates.Begun(r.Context(), c.Assignment); err != nil {
			return err
		}
	}
	out, err := d.choose(r, f)
	if err != nil {
		return err
	}
	w.Header().Set("Vary", "Accept-Encoding, Available-Dictionary, Delta-Window")
	if d.cfg.CDN != "" {
		http.Redirect(w, r, d.cfg.CDN+d.cfg.Links.Edge(out.sha256, c.Filename), http.StatusFound)
		return nil
	}
	shares, err := d.cfg.Shares(r.Context(), a, address(r))
	if err != nil {
		return err
	}
	turns := d.limits.join(shares)
	defer turns.leave()
	return d.send(w, r, out, "unit", &paced{
		turns: turns, recheck: d.cfg.Recheck,
		may: func(ctx context.Context) error {
			a, _, err := may(ctx)
			if err != nil {
				return err
			}
			shares, err := d.cfg.Shares(ctx, a, address(r))
			if err == nil {
				turns.change(shares)
			}
			return err
		},
	})
}

// edge serves a cache: what it may keep until the address expires, and only
// where there is a cache.
func (d *Door) edge(w http.ResponseWriter, r *http.Request, c link.Claims) error {
	if d.cfg.CDN == "" {
		return &link.RefusedError{Code: link.Forged, Claims: c}
	}
	out := content{sha256: c.SHA256}
	f, err := d.cfg.Updates.Artifact(r.Context(), c.SHA256)
	out.at = f.At
	if fault.KindOf(err) == fault.NotFound && d.cfg.Deltas != nil {
		var dl delta.Delta
		dl, err = d.cfg.Deltas.BySHA256(r.Context(), c.SHA256)
		out.at, out.coding = dl.At, dl.Coding()
	}
	if err != nil {
		return err
	}
	left := int(c.Expires.Sub(d.cfg.Clock.Now()).Seconds())
	w.Header().Set("Cache-Control", "public, immutable, max-age="+strconv.Itoa(left))
	return d.send(w, r, out, "cache", &paced{turns: d.limits.join(nil)})
}

// content is bytes to send, by their hash.
type content struct {
	sha256 string
	coding string // "": as they are
	at     time.Time
}

// choose picks what is sent of an image: a delta from the image that the
// client says it has, the image compressed, or the image. Clients that do not
// speak of deltas get the image as it is: update clients write down what they
// get.
func (d *Door) choose(r *http.Request, f update.Artifact) (content, error) {
	whole := content{sha256: f.SHA256, at: f.At}
	takes := codings(r.Header.Get("Accept-Encoding"))
	if d.cfg.Deltas == nil || !takes["dcz"] {
		return whole, nil
	}
	window := int64(unit.MostWindow)
	if n, err := strconv.ParseInt(r.Header.Get("Delta-Window"), 10, 64); err == nil {
		window = n
	}
	tries := make([]string, 0, 2)
	// RFC 9651: a byte sequence stands between colons.
	if b, err := base64.StdEncoding.DecodeString(strings.Trim(r.Header.Get("Available-Dictionary"), ": ")); err == nil && len(b) == 32 {
		tries = append(tries, hex.EncodeToString(b))
	}
	if takes["zstd"] {
		tries = append(tries, "")
	}
	for _, from := range tries {
		dl, err := d.cfg.Deltas.Ready(r.Context(), f.SHA256, from, window)
		if fault.KindOf(err) == fault.NotFound {
			continue
		}
		return content{dl.SHA256, dl.Coding(), dl.At}, err
	}
	return whole, nil
}

// codings are those that a client accepts.
func codings(header string) map[string]bool {
	out := map[string]bool{}
	for part := range strings.SplitSeq(header, ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(part), ";")
		q, isWeight := strings.CutPrefix(strings.TrimSpace(weight), "q=")
		if v, err := strconv.ParseFloat(q, 64); !isWeight || err != nil || v > 0 {
			out[strings.ToLower(strings.TrimSpace(name))] = true
		}
	}
	return out
}

// send sends the bytes that are asked for. What ends it once it has begun ends
// the connection: a length was promised.
func (d *Door) send(w http.ResponseWriter, r *http.Request, f content, to string, p *paced) error {
	file, err := d.cfg.Blobs.Open(r.Context(), f.sha256)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return fault.Wrap(fault.Unavailable, "artifact "+f.sha256, err)
	}
	h, coding := w.Header(), "identity"
	h.Set("Content-Type", "application/octet-stream")
	h.Set("ETag", `"`+f.sha256+`"`)
	if f.coding != "" {
		h.Set("Content-Encoding", f.coding)
		coding = f.coding
	}
	if sum, err := hex.DecodeString(f.sha256); err == nil { // RFC 9530: of all that would be sent, also where a part is
		h.Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum)+":")
	}
	d.running.Inc()
	defer d.running.Dec()
	p.ResponseWriter, p.ctx, p.control, p.sent = w, r.Context(), http.NewResponseController(w), d.served.WithLabelValues(to, coding)
	p.size = size
	http.ServeContent(p, r, "", f.at, file)
	if p.err == nil {
		return nil
	}
	if _, ok := errors.AsType[*link.RefusedError](p.err); ok {
		d.note(r.Context(), address(r), p.err)
	} else if r.Context().Err() == nil && !p.gone {
		d.cfg.Log.WarnContext(r.Context(), "a download was cut", "sha256", f.sha256, "error", p.err)
	}
	panic(http.ErrAbortHandler)
}

// refuse answers, counts and writes down a refusal; what it says never holds
// the signature.
func (d *Door) refuse(w http.ResponseWriter, r *http.Request, c link.Claims, err error) {
	status, code, message := http.StatusInternalServerError, "failed", "see the server's log"
	if e, ok := errors.AsType[*link.RefusedError](err); ok {
		code, message = string(e.Code), e.Error()
		status = http.StatusForbidden
		if e.Code == link.Withdrawn {
			status = http.StatusGone
		}
		d.note(r.Context(), address(r), err)
	} else {
		switch fault.KindOf(err) {
		case fault.NotFound:
			status, code, message = http.StatusNotFound, "artifact-missing", "the file is not there any more"
		case fault.Unavailable:
			status, code, message = http.StatusServiceUnavailable, "try-later", "the file cannot be read now"
			w.Header().Set("Retry-After", "10")
		default:
		}
		if r.Context().Err() == nil {
			d.cfg.Log.ErrorContext(r.Context(), "a file could not be sent", "assignment", c.Assignment, "sha256", c.SHA256, "error", err)
		}
	}
	body, _ := json.Marshal(map[string]string{"code": code, "message": message}) // two texts always encode
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// note counts a refused address and tells an operator of it.
func (d *Door) note(ctx context.Context, from string, err error) {
	e, ok := errors.AsType[*link.RefusedError](err)
	if !ok {
		return
	}
	d.refused.WithLabelValues(string(e.Code)).Inc()
	d.told.Do(func() {
		d.cfg.Log.WarnContext(ctx, "download refused", "reason", string(e.Code), "assignment", e.Claims.Assignment,
			"sha256", e.Claims.SHA256, "from", from, "error", e.Error())
	})
}
