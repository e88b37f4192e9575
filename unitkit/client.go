package unitkit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Config is what a Client works with. Server, UnitID, both roots, Components,
// and Dir or Store are wanted.
type Config struct {
	Server  string       // scheme://host[:port] of the Fettle server
	UnitID  string       // this unit's
	Token   string       // its target token; empty: HTTP has a client certificate
	Product string       // refuses what is signed for other products; empty: not checked
	HTTP    *http.Client // nil: one with a limit for connecting and for the answer's head; redirects are unitkit's own matter

	Dir   string // the unit's state, readable to this user alone
	Store Store  // instead of Dir

	// The roots that the unit was made with, as `fettle keys roots` writes them.
	ImageRoot, DirectorRoot []byte

	Components func() map[string]Component // what the unit consists of, and runs now
	Now        func() time.Time            // nil: time.Now
	Attributes map[string]string           // what else the server is told of the unit; delta: dcz if it takes deltas

	MinRate  int           // bytes/s under which a transfer is given up (default 256; less than 0: none)
	Patience time.Duration // over how long MinRate is measured (default 30 s)
}

// Client verifies and fetches one unit's updates.
type Client struct {
	config   Config
	http     *http.Client
	store    Store
	state    state
	image    repository
	director repository
	sleep    time.Duration
}

// state is kept in the file state.json.
type state struct {
	Time     time.Time         `json:"time"`     // the newest that was signed for this unit
	Counters map[string]uint64 `json:"counters"` // confirmed release counter by component
	Sequence uint64            `json:"sequence"` // of the last version report
}

const stateFile = "state.json"

// New makes a client, with what the unit remembers.
func New(config Config) (*Client, error) {
	u, err := url.Parse(config.Server)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "":
		return nil, fmt.Errorf("server: want http:// or https:// and a host, got %q", config.Server)
	case config.UnitID == "":
		return nil, errors.New("the unit's id is missing")
	case config.Components == nil:
		return nil, errors.New("the unit's components are missing")
	case config.Dir == "" && config.Store == nil:
		return nil, errors.New("neither a directory nor a store is given for the unit's state")
	}
	c := &Client{config: config, http: config.HTTP, store: config.Store}
	c.config.Server = u.Scheme + "://" + u.Host
	if c.http == nil {
		c.http = &http.Client{Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, ResponseHeaderTimeout: 30 * time.Second, TLSHandshakeTimeout: 15 * time.Second,
			IdleConnTimeout: 90 * time.Second, ForceAttemptHTTP2: true, MaxIdleConns: 4,
		}}
	}
	following := *c.http
	following.CheckRedirect = follow
	c.http = &following
	if c.store == nil {
		if c.store, err = DirStore(config.Dir); err != nil {
			return nil, err
		}
	}
	if c.config.Now == nil {
		c.config.Now = time.Now //nolint:forbidigo // the unit's own clock
	}
	b, err := c.store.Load(stateFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("unit's state: %w", err)
	default:
		if err := json.Unmarshal(b, &c.state); err != nil {
			return nil, fmt.Errorf("unit's state: %s cannot be read: %w", stateFile, err)
		}
	}
	if c.state.Counters == nil {
		c.state.Counters = map[string]uint64{}
	}
	c.image = repository{name: "image", factory: config.ImageRoot, store: c.store, get: c.getNewer, forget: func() error { return nil }}
	c.director = repository{name: "director", factory: config.DirectorRoot, store: c.store, get: c.getNewer, forget: c.forget}
	for _, r := range []*repository{&c.image, &c.director} {
		if _, err := r.trusted(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// follow lets the server send the unit elsewhere for the bytes, a cache or a
// store: what comes from there is verified like all else. The credential goes
// to the server alone; net/http drops it on the way to another.
func follow(r *http.Request, via []*http.Request) error {
	switch {
	case len(via) > 5:
		return errors.New("redirected more than five times")
	case via[0].URL.Scheme == "https" && r.URL.Scheme != "https":
		return fmt.Errorf("redirected from https to %s", r.URL.Scheme)
	}
	return nil
}

func (c *Client) minRate() int {
	if c.config.MinRate == 0 {
		return 256
	}
	return c.config.MinRate
}

func (c *Client) patience() time.Duration {
	if c.config.Patience <= 0 {
		return 30 * time.Second
	}
	return c.config.Patience
}

// Now is the unit's time as expiry is judged by: its clock's, never below the
// newest time that was signed for it.
func (c *Client) Now() time.Time {
	now := c.config.Now()
	if now.Before(c.state.Time) {
		return c.state.Time
	}
	return now
}

// Counters are the release counters that the unit has confirmed, by component.
func (c *Client) Counters() map[string]uint64 {
	return maps.Clone(c.state.Counters)
}

// Sleep is how long to wait before the next Check, as the server said last.
func (c *Client) Sleep() time.Duration {
	if c.sleep <= 0 {
		return 5 * time.Minute
	}
	return c.sleep
}

func (c *Client) save() error {
	b, err := json.Marshal(c.state)
	if err != nil {
		return err
	}
	return c.store.Save(stateFile, b)
}

// forget drops the time that a director gave whose keys were replaced.
func (c *Client) forget() error {
	if c.state.Time.IsZero() {
		return nil
	}
	c.state.Time = time.Time{}
	return c.save()
}

// Check asks what there is to do, and believes it only when the director and
// the image repository agree. Nothing to do is nil, nil. An *AttackError says
// what was refused.
func (c *Client) Check(ctx context.Context) (*Update, error) {
	cancel, err := c.poll(ctx)
	if err != nil || cancel != nil {
		return cancel, err
	}
	return c.Ordered(ctx)
}

// Ordered is Check without the poll: what the director orders, verified, for
// whoever polls by other means.
func (c *Client) Ordered(ctx context.Context) (*Update, error) {
	director, err := c.director.refresh(ctx, c.Now())
	if err != nil {
		return nil, err
	}
	ordered := &director.Targets[metadata.TARGETS].Signed
	d, err := directed(ordered, c.config.UnitID)
	if err != nil {
		return nil, err
	}
	if d.Made.After(ordered.Expires) {
		return nil, &AttackError{ErrFastForward, "director", metadata.TARGETS, fmt.Errorf("made at %s, after it expires", d.Made.Format(time.RFC3339))}
	}
	if err := c.director.keep(); err != nil {
		return nil, err
	}
	if d.Made.After(c.state.Time) {
		c.state.Time = d.Made
		if err := c.save(); err != nil {
			return nil, err
		}
	}
	if d.Action == 0 {
		return nil, nil
	}
	image, err := c.image.refresh(ctx, c.Now())
	if err != nil {
		return nil, err
	}
	if err := c.image.keep(); err != nil {
		return nil, err
	}
	return c.agreed(d, ordered, &image.Targets[metadata.TARGETS].Signed)
}

func (c *Client) base() string { return "/DEFAULT/controller/v1/" + url.PathEscape(c.config.UnitID) }

type link struct {
	Href string `json:"href"`
}

// poll is hawkBit's DDI poll: a sign of life, how long to sleep, and whether
// an update is to be stopped.
func (c *Client) poll(ctx context.Context) (*Update, error) {
	var in struct {
		Config struct {
			Polling struct {
				Sleep string `json:"sleep"`
			} `json:"polling"`
		} `json:"config"`
		Links struct {
			Cancel     link `json:"cancelAction"`
			ConfigData link `json:"configData"`
		} `json:"_links"`
	}
	if err := c.getJSON(ctx, c.base(), &in); err != nil {
		return nil, err
	}
	if d, err := parseSleep(in.Config.Polling.Sleep); err == nil {
		c.sleep = d
	}
	if in.Links.ConfigData.Href != "" {
		data := map[string]string{"client": "unitkit"}
		for name, part := range c.config.Components() {
			data[name] = part.Version
			if part.Hardware != "" {
				data[name+".hardware"] = part.Hardware
			}
		}
		maps.Copy(data, c.config.Attributes)
		if err := c.send(ctx, http.MethodPut, in.Links.ConfigData.Href, map[string]any{"mode": "merge", "data": data}); err != nil {
			return nil, err
		}
	}
	if in.Links.Cancel.Href == "" {
		return nil, nil
	}
	var stop struct {
		Cancel struct {
			ID string `json:"stopId"`
		} `json:"cancelAction"`
	}
	if err := c.getJSON(ctx, in.Links.Cancel.Href, &stop); err != nil {
		return nil, err
	}
	id, err := strconv.ParseInt(stop.Cancel.ID, 10, 64)
	if err != nil || id < 1 {
		return nil, fmt.Errorf("a cancel of action %q", stop.Cancel.ID)
	}
	return &Update{Action: id, Cancel: true}, nil
}

// parseSleep reads hours, minutes and seconds as 00:05:00.
func parseSleep(s string) (time.Duration, error) {
	part := strings.Split(s, ":")
	if len(part) != 3 {
		return 0, fmt.Errorf("not a time of sleep: %q", s)
	}
	var total time.Duration
	for i, unit := range []time.Duration{time.Hour, time.Minute, time.Second} {
		n, err := strconv.ParseUint(part[i], 10, 16)
		if err != nil {
			return 0, err
		}
		total += time.Duration(n) * unit
	}
	return total, nil
}

const maxAnswer = 256 << 10

func (c *Client) getJSON(ctx context.Context, href string, out any) error {
	b, err := c.get(ctx, href, maxAnswer)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("answer of %s: %w", path.Base(href), err)
	}
	return nil
}

// send tells the server something; what it answers beyond success is ignored.
func (c *Client) send(ctx context.Context, method, href string, body any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*c.patience())
	defer cancel()
	res, err := c.do(ctx, method, href, bytes.NewReader(b), nil)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer))
	return res.Body.Close()
}

// Report tells the server how an update goes. Nothing is sent of what happens
// before the owner's time: the update is not the server's to see as begun, and
// the owner may still change their mind. A server that says that the action is
// over is a *StatusError with code 410, or 404 where it never was this unit's.
func (c *Client) Report(ctx context.Context, u *Update, p Progress) error {
	if c.Now().Before(u.NotBefore) {
		return nil
	}
	execution, finished := "proceeding", "none"
	switch p.State {
	case StateDownloading:
		execution = "download"
	case StateDownloaded:
		execution = "downloaded"
	case StateInstalled:
		execution, finished = "closed", "success"
	case StateFailed, StateRolledBack:
		execution, finished = "closed", "failure"
	case StateCanceled:
		execution, finished = "closed", "success" // of the cancel
	case StateRefused:
		execution = "rejected"
	case StateInstalling, StateRebooting:
	default:
		return fmt.Errorf("an update cannot be %q", p.State)
	}
	details := p.Details
	if details == nil {
		details = []string{string(p.State)}
	}
	result := map[string]any{"finished": finished}
	if p.Of > 0 {
		result["progress"] = map[string]int{"cnt": p.Done, "of": p.Of}
	}
	id := strconv.FormatInt(u.Action, 10)
	at := "/deploymentBase/"
	if p.State == StateCanceled || p.State == StateRefused {
		at = "/cancelAction/"
	}
	return c.send(ctx, http.MethodPost, c.base()+at+id+"/feedback", map[string]any{
		"id": id, "time": c.Now().UTC().Format("20060102T150405"),
		"status": map[string]any{"execution": execution, "result": result, "details": details},
	})
}
