package feed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/tip/outside"
)

// Bounds of polling.
const (
	maxBody    = 1 << 20
	atOnce     = 4 // requests of one feed
	maxBackoff = time.Hour
)

// polling is an HTTP feed.
type polling struct {
	f        *Feeds
	n        name
	declared fleet.Feed
	client   *http.Client
	room     chan struct{}

	mu     sync.Mutex
	places map[string]*asked
}

// asked is a place that is asked for.
type asked struct {
	next   time.Time
	under  bool
	failed int

	etag, modified string // of the document that values are from
	values         map[string]any
	at             time.Time
}

func newPolling(f *Feeds, n name, declared fleet.Feed) *polling {
	return &polling{
		f: f, n: n, declared: declared, room: make(chan struct{}, atOnce), places: map[string]*asked{},
		client: &http.Client{
			Timeout:       20 * time.Second,
			Transport:     &http.Transport{DialContext: f.dialer().DialContext, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: 10 * time.Second, ForceAttemptHTTP2: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

func (p *polling) same(declared *fleet.Feed) bool { return reflect.DeepEqual(p.declared, *declared) }

// due asks for places whose time has come, and forgets those without units.
func (p *polling) due(ctx context.Context, under *sync.WaitGroup, places []fleet.Place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.f.c.Wall.Now()
	wanted := make(map[string]bool, len(places))
	for _, place := range places {
		wanted[place.Key] = true
		a := p.places[place.Key]
		if a == nil {
			a = &asked{}
			p.places[place.Key] = a
		}
		if a.under || now.Before(a.next) {
			continue
		}
		select {
		case p.room <- struct{}{}:
		default:
			return // the others have their turn
		}
		a.under = true
		under.Go(func() {
			defer func() { <-p.room }()
			p.ask(ctx, place, a)
		})
	}
	for key, a := range p.places {
		if !wanted[key] && !a.under {
			delete(p.places, key)
		}
	}
}

// ask asks for one place, and says when to ask again.
func (p *polling) ask(ctx context.Context, place fleet.Place, a *asked) {
	wait, err := p.fetch(ctx, place, a)
	if err != nil && ctx.Err() == nil {
		p.f.failed(p.n, err) // not with mu held: look takes the two locks in the other order
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	a.under = false
	every := time.Duration(p.declared.HTTP.Every)
	if err != nil {
		if ctx.Err() != nil {
			return
		}
		a.failed++
		wait = max(wait, min(every, 30*time.Second<<min(a.failed-1, 7), maxBackoff))
	} else {
		a.failed = 0
		wait = max(wait, every)
	}
	a.next = p.f.c.Wall.Now().Add(min(wait, 24*time.Hour))
}

// fetch gets a document, if it has changed, and tells what it says. Wait is
// how long the source asks to be left alone.
func (p *polling) fetch(ctx context.Context, place fleet.Place, a *asked) (wait time.Duration, err error) {
	address, err := p.f.fill(p.declared.HTTP.URL, &place, escapePath)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, errors.New("the address cannot be read")
	}
	req.Header.Set("User-Agent", "fettle")
	req.Header.Set("Accept", "application/json")
	for k, v := range p.declared.HTTP.Headers {
		if v, err = p.f.fill(v, &place, func(s string) string { return s }); err != nil {
			return 0, err
		}
		req.Header.Set(k, v)
	}
	if a.values != nil {
		if a.etag != "" {
			req.Header.Set("If-None-Match", a.etag)
		}
		if a.modified != "" {
			req.Header.Set("If-Modified-Since", a.modified)
		}
	}
	res, err := p.client.Do(req)
	if err != nil {
		if whole, ok := errors.AsType[*url.Error](err); ok { // its text has the address, with what is secret in it
			err = whole.Err
		}
		return 0, fmt.Errorf("%s: %w", hostOf(p.declared.HTTP.URL), err)
	}
	defer res.Body.Close()
	now := p.f.c.Clock.Now()
	wait = p.again(res.Header)
	switch {
	case res.StatusCode == http.StatusNotModified && a.values != nil:
		if p.declared.Time == "" { // the source says that they still hold
			a.at = now
		}
		return wait, p.f.said(ctx, p.n, place.Key, a.values, a.at)
	case res.StatusCode != http.StatusOK && res.StatusCode != http.StatusNonAuthoritativeInfo: // met.no says 203 for what will be taken away
		return wait, fmt.Errorf("%s answered %s", hostOf(p.declared.HTTP.URL), res.Status)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody+1))
	if err != nil {
		return wait, fmt.Errorf("%s: %w", hostOf(p.declared.HTTP.URL), err)
	}
	if len(body) > maxBody {
		return wait, fmt.Errorf("%s sent more than %d bytes", hostOf(p.declared.HTTP.URL), maxBody)
	}
	values, at, err := outside.Read(&p.declared, body, now)
	if err != nil {
		return wait, fmt.Errorf("%s: %w", hostOf(p.declared.HTTP.URL), err)
	}
	a.values, a.at, a.etag, a.modified = values, at, res.Header.Get("ETag"), res.Header.Get("Last-Modified")
	return wait, p.f.said(ctx, p.n, place.Key, values, at)
}

// again is how long an answer is good for, or how long to stay away.
func (p *polling) again(h http.Header) time.Duration {
	now := p.f.c.Wall.Now()
	if seconds, err := strconv.Atoi(h.Get("Retry-After")); err == nil && seconds > 0 {
		return time.Duration(min(seconds, 86400)) * time.Second
	}
	for directive := range strings.SplitSeq(h.Get("Cache-Control"), ",") {
		if age, ok := strings.CutPrefix(strings.TrimSpace(directive), "max-age="); ok {
			seconds, err := strconv.Atoi(age)
			if err == nil && seconds >= 0 {
				return time.Duration(min(seconds, 86400)) * time.Second
			}
		}
	}
	if at, err := http.ParseTime(h.Get("Expires")); err == nil {
		return max(0, min(at.Sub(now), 24*time.Hour))
	}
	return 0
}
