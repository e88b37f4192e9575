// Package feed asks for outside context: documents that products declare as
// feeds, polled over HTTP or heard over MQTT. It tells what they said; that one
// is down it does not tell, since what is not heard of is not known.
package feed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/reach"
	"fettle.dev/fettle/internal/tip"
	"fettle.dev/fettle/internal/tip/outside"
)

// Config is what the Feeds are made of.
type Config struct {
	Products func(ctx context.Context) ([]fleet.Product, error)
	Places   func(product, feed string) []fleet.Place // where there are units whose owners permit it
	Observed func(ctx context.Context, o tip.Observation) error
	Clock    clock.Clock // of the service
	Wall     clock.Clock // the machine's
	Log      *slog.Logger

	Secrets string         // directory of files, one a secret; "": there are none
	Private reach.Networks // networks that feeds may be in beside public ones
	Look    time.Duration  // real time between two looks at what is due: 1 s
}

type name struct{ product, feed string }

// Feeds runs all feeds.
type Feeds struct {
	c Config

	mu     sync.Mutex
	status map[name]*outside.Status
	polled map[name]*polling
	heard  map[name]*hearing
}

// New makes Feeds.
func New(c Config) *Feeds {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Look <= 0 {
		c.Look = time.Second
	}
	return &Feeds{c: c, status: map[name]*outside.Status{}, polled: map[name]*polling{}, heard: map[name]*hearing{}}
}

// Status is how all feeds are doing, by product and name.
func (f *Feeds) Status() []outside.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := []outside.Status{}
	for _, s := range f.status {
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b outside.Status) int { return strings.Compare(a.Product+"/"+a.Feed, b.Product+"/"+b.Feed) })
	return out
}

// Run asks and listens until ctx ends.
func (f *Feeds) Run(ctx context.Context) error {
	var under sync.WaitGroup
	defer under.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	beat := time.NewTicker(f.c.Look)
	defer beat.Stop()
	var looked time.Time
	var products []fleet.Product
	for {
		if now := f.c.Wall.Now(); now.Sub(looked) >= min(10*f.c.Look, 10*time.Second) {
			all, err := f.c.Products(ctx)
			if err != nil {
				if ctx.Err() == nil {
					f.c.Log.Warn("feeds wait for the records", "error", err)
				}
			} else {
				products, looked = all, now
				f.forget(products)
			}
		}
		for i := range products {
			for j := range products[i].Feeds {
				f.look(ctx, &under, products[i].Name, products[i].Feeds[j])
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-beat.C:
		}
	}
}

// forget ends feeds that are declared no more.
func (f *Feeds) forget(products []fleet.Product) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n := range f.status {
		i := slices.IndexFunc(products, func(p fleet.Product) bool { return p.Name == n.product })
		if i >= 0 && slices.ContainsFunc(products[i].Feeds, func(x fleet.Feed) bool { return x.Name == n.feed }) {
			continue
		}
		delete(f.status, n)
		delete(f.polled, n)
		if h := f.heard[n]; h != nil {
			h.cancel()
			delete(f.heard, n)
		}
	}
}

// look does what is due of one feed.
func (f *Feeds) look(ctx context.Context, under *sync.WaitGroup, product string, declared fleet.Feed) {
	n := name{product, declared.Name}
	places := f.c.Places(product, declared.Name)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.status[n] == nil {
		f.status[n] = &outside.Status{Product: product, Feed: declared.Name}
	}
	s := f.status[n]
	s.Title, s.Places = declared.Title, len(places)
	switch {
	case declared.HTTP != nil:
		s.Source = hostOf(declared.HTTP.URL)
		p := f.polled[n]
		if p == nil || !p.same(&declared) {
			p = newPolling(f, n, declared)
			f.polled[n] = p
		}
		p.due(ctx, under, places)
	case declared.MQTT != nil:
		s.Source = hostOf(declared.MQTT.Address)
		h := f.heard[n]
		if h == nil || !h.same(&declared) {
			if h != nil {
				h.cancel()
			}
			h = newHearing(ctx, under, f, n, declared)
			f.heard[n] = h
		}
		h.want(places)
	}
}

// hostOf is the host of an address: the rest may hold secrets.
func hostOf(address string) string {
	_, rest, _ := strings.Cut(address, "://")
	host, _, _ := strings.Cut(rest, "/")
	return host
}

// said tells what a feed said of a place, and notes that it did.
func (f *Feeds) said(ctx context.Context, n name, place string, values map[string]any, at time.Time) error {
	err := f.c.Observed(ctx, tip.Observation{Product: n.product, Feed: n.feed, Place: place, At: at.UnixMilli(), Values: values})
	if err != nil {
		return fmt.Errorf("keep what it said: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.status[n]; s != nil {
		if s.Failing != "" {
			f.c.Log.Info("a feed is heard again", "product", n.product, "feed", n.feed)
		}
		s.HeardAt, s.Failing = f.c.Clock.Now(), ""
	}
	return nil
}

// failed notes why a feed says nothing. Nothing secret is in it.
func (f *Feeds) failed(n name, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.status[n]
	if s == nil {
		return
	}
	if s.Failing == "" {
		f.c.Log.Warn("a feed is down: tips that need it are given to nobody", "product", n.product, "feed", n.feed, "from", s.Source, "error", err)
	}
	s.Failing = err.Error()
}

// fill writes a template's values; secrets come from files.
func (f *Feeds) fill(template string, place *fleet.Place, escape func(string) string) (string, error) {
	for _, hole := range outside.Names(template) {
		value := ""
		secret, isSecret := strings.CutPrefix(hole, "secret:")
		switch {
		case isSecret:
			s, err := f.secret(secret)
			if err != nil {
				return "", err
			}
			value = s
		case hole == "region":
			value = place.Region
		case place.Point == nil:
			return "", fmt.Errorf("where %s is, is not known", place.Key)
		case hole == "latitude":
			value = strconv.FormatFloat(place.Point.Latitude, 'f', -1, 64)
		case hole == "longitude":
			value = strconv.FormatFloat(place.Point.Longitude, 'f', -1, 64)
		}
		template = strings.ReplaceAll(template, "{"+hole+"}", escape(value))
	}
	return template, nil
}

func (f *Feeds) secret(file string) (string, error) {
	if f.c.Secrets == "" || strings.ContainsAny(file, `/\`) || strings.HasPrefix(file, ".") {
		return "", fmt.Errorf("secret %s: the setting feed-secrets names no directory that has it", file)
	}
	raw, err := os.ReadFile(filepath.Join(f.c.Secrets, file))
	if err != nil {
		return "", fmt.Errorf("secret %s cannot be read: %w", file, errors.Unwrap(err))
	}
	return strings.TrimSpace(string(raw)), nil
}

func escapePath(s string) string { return url.QueryEscape(s) }

// dialer reaches public addresses and the networks that are named: whoever
// declares a feed must not reach what only this machine can.
func (f *Feeds) dialer() *net.Dialer { return f.c.Private.Dialer("feed-networks") }
