// Package door is what every HTTP door of units does alike: it tells who a
// request is from, bounds what one unit and all of them together may have
// open, reads and decompresses bodies, waits until samples are durable, and
// says how a refusal is answered.
package door

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/semaphore"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/fault"
)

// Config limits the doors; zero values stand for the defaults named. Doors
// that are given the same Door share its limits.
type Config struct {
	MaxBody    int64         // bytes of a request, as sent and decompressed: 4 MiB
	Memory     int64         // bytes of bodies held for all requests together, before 429: 64 MiB
	Room       time.Duration // wait for room, in memory and in the store, before 429: 3 s
	Wait       time.Duration // wait for durability, before 503: 10 s
	ReadBody   time.Duration // for a body to arrive, before 408: 30 s
	Concurrent int           // requests of one unit at once, before 429: 8
}

// Door is shared by the handlers of all protocols over HTTP.
type Door struct {
	gateway *device.Gateway
	auth    device.Authenticator
	cfg     Config
	log     *slog.Logger
	memory  *semaphore.Weighted
	zstd    *zstd.Decoder

	mu      sync.Mutex
	running map[string]int // requests by unit
}

// New makes a Door.
func New(gateway *device.Gateway, auth device.Authenticator, cfg Config, log *slog.Logger) *Door {
	setDefault(&cfg.MaxBody, 4<<20)
	setDefault(&cfg.Memory, max(64<<20, 2*cfg.MaxBody))
	setDefault(&cfg.Room, 3*time.Second)
	setDefault(&cfg.Wait, 10*time.Second)
	setDefault(&cfg.ReadBody, 30*time.Second)
	setDefault(&cfg.Concurrent, 8)
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Door{
		gateway: gateway, auth: auth, cfg: cfg, log: log,
		memory: semaphore.NewWeighted(cfg.Memory), zstd: newZstd(cfg.MaxBody), running: map[string]int{},
	}
}

func setDefault[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// Gateway is behind the door.
func (d *Door) Gateway() *device.Gateway { return d.gateway }

// Handler answers a request of an authenticated unit.
type Handler func(w http.ResponseWriter, r *http.Request, id device.Identity)

// Fail answers an error in a protocol's own words.
type Fail func(w http.ResponseWriter, r *http.Request, err error)

// Unit authenticates and bounds what one unit may have open. Credentials reads
// a unit id and a token, where there is no client certificate; nil stands for
// the function Credentials.
func (d *Door) Unit(next Handler, fail Fail, credentials func(r *http.Request) (unitID, token string, ok bool)) http.HandlerFunc {
	if credentials == nil {
		credentials = Credentials
	}
	return func(w http.ResponseWriter, r *http.Request) {
		id, err := d.authenticate(r, credentials)
		if err == nil {
			err = d.enter(id.UnitID)
		}
		if err != nil {
			fail(w, r, err)
			return
		}
		defer d.leave(id.UnitID)
		next(w, r, id)
	}
}

// authenticate tells the unit from its client certificate, else from its
// token. A unit that is named beside a certificate must be the certificate's.
func (d *Door) authenticate(r *http.Request, credentials func(r *http.Request) (string, string, bool)) (device.Identity, error) {
	user, token, given := credentials(r)
	if leaf := certificate(r); leaf != nil {
		id, err := d.auth.Certificate(r.Context(), leaf)
		switch {
		case err == nil && (!given || user == id.UnitID):
			return id, nil
		case err == nil:
			return device.Identity{}, device.ErrCredential
		case !given:
			return device.Identity{}, err
		}
	}
	switch {
	case !given:
		return device.Identity{}, device.ErrCredential
	case user == "":
		return d.auth.TokenAlone(r.Context(), token)
	default:
		return d.auth.Token(r.Context(), user, token)
	}
}

// Credentials reads the Authorization header: Basic with unit id and token, or
// Token or Bearer with UNIT:TOKEN or the token alone.
func Credentials(r *http.Request) (unitID, token string, ok bool) {
	if unitID, token, ok = r.BasicAuth(); ok {
		return unitID, token, unitID != "" // an empty user name is a mistake, not a token alone
	}
	scheme, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Token") && !strings.EqualFold(scheme, "Bearer") {
		return "", "", false
	}
	value = strings.TrimSpace(value)
	if i := strings.LastIndexByte(value, ':'); i >= 0 {
		return value[:i], value[i+1:], i > 0
	}
	return "", value, value != ""
}

func certificate(r *http.Request) *x509.Certificate {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil
	}
	return r.TLS.PeerCertificates[0]
}

func (d *Door) enter(unitID string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.running[unitID] >= d.cfg.Concurrent {
		return &refused{status: http.StatusTooManyRequests, detail: "the unit has " + strconv.Itoa(d.cfg.Concurrent) + " requests open"}
	}
	d.running[unitID]++
	return nil
}

func (d *Door) leave(unitID string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.running[unitID]--; d.running[unitID] == 0 {
		delete(d.running, unitID)
	}
}

// Store submits messages and returns when they are durable. When there was no
// room for them as long as Config.Room, nothing was taken: device.ErrBusy. So it
// is when the stream became full behind them, but then they may be stored later.
func (d *Door) Store(ctx context.Context, id device.Identity, messages []device.Message, outcomes []device.Outcome) error {
	if len(messages) == 0 {
		return nil
	}
	return d.durable(ctx, func(room context.Context, r device.Receipt) error {
		return d.gateway.Submit(room, id, messages, outcomes, r, 0)
	})
}

// StoreEvents is Store for events.
func (d *Door) StoreEvents(ctx context.Context, id device.Identity, events []device.Event, outcomes []device.Outcome) error {
	if len(events) == 0 {
		return nil
	}
	return d.durable(ctx, func(room context.Context, r device.Receipt) error {
		return d.gateway.SubmitEvents(room, id, events, outcomes, r, 0)
	})
}

func (d *Door) durable(ctx context.Context, submit func(room context.Context, r device.Receipt) error) error {
	done := make(receipt, 1)
	room, cancel := context.WithTimeout(ctx, d.cfg.Room)
	err := submit(room, done)
	cancel()
	if err != nil {
		return err
	}
	wait, cancel := d.Waiting(ctx)
	defer cancel()
	select {
	case err := <-done:
		return err
	case <-wait.Done():
		if err := d.gateway.Ready(ctx); err != nil {
			return err // taken just before the stream was full: it is stored when there is room, and once, however often it comes
		}
		return fault.Wrap(fault.Unavailable, "store", wait.Err())
	}
}

// Waiting ends when the wait for durability does.
func (d *Door) Waiting(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d.cfg.Wait)
}

// receipt hands over what became of a submission.
type receipt chan error

// Committed implements device.Receipt.
func (c receipt) Committed(_ uint64, err error) bool {
	c <- err
	return false
}

// Flush implements device.Receipt.
func (c receipt) Flush() {}

// refused is an error that HTTP has a status for.
type refused struct {
	status int
	detail string
	accept bool // say which encodings are taken
}

func (e *refused) Error() string { return e.detail }

// isBusy reports whether coming again soon may help.
func isBusy(err error) bool { return errors.Is(err, device.ErrBusy) }
