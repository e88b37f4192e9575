package bench

import (
	"context"
	"crypto/subtle"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"fettle.dev/fettle/internal/fault"
)

// The settings that tools read and change. Those that let a client in by
// something else than its own token hold for bench units of this product alone.
const (
	PollingTime    = "pollingTime"
	OverdueTime    = "pollingOverdueTime"
	TargetToken    = "authentication.targettoken.enabled"
	GatewayEnabled = "authentication.gatewaytoken.enabled"
	GatewayKey     = "authentication.gatewaytoken.key"
	HeaderEnabled  = "authentication.header.enabled"
	HeaderIssuer   = "authentication.header.authority"
	Anonymous      = "anonymous.download.enabled"
)

// known are the settings with their defaults.
var known = map[string]string{
	PollingTime: "00:05:00", OverdueTime: "00:15:00", TargetToken: "true",
	GatewayEnabled: "false", GatewayKey: "", HeaderEnabled: "false", HeaderIssuer: "", Anonymous: "false",
}

// settings are read at every poll of a bench unit.
type settings struct {
	mu      sync.RWMutex
	values  map[string]string
	polling time.Duration // 0: as for all others
}

func (s *Service) load(ctx context.Context) error {
	values := map[string]string{}
	err := s.cfg.Store.Each(ctx, KindSetting, func(name string, doc []byte) error {
		v, err := s.open(name, doc)
		values[name] = v
		return err
	})
	if err != nil {
		return fmt.Errorf("settings of bench units: %w", err)
	}
	s.settings.mu.Lock()
	defer s.settings.mu.Unlock()
	s.settings.values = values
	s.settings.polling, _ = clockTime(values[PollingTime])
	return nil
}

// Setting is a setting's value.
func (s *Service) Setting(key string) (string, error) {
	def, ok := known[key]
	if !ok {
		return "", fault.New(fault.NotFound, "no setting %q", key)
	}
	s.settings.mu.RLock()
	defer s.settings.mu.RUnlock()
	if v, ok := s.settings.values[key]; ok {
		return v, nil
	}
	return def, nil
}

// Settings are all of them.
func (s *Service) Settings() map[string]string {
	out := maps.Clone(known)
	s.settings.mu.RLock()
	defer s.settings.mu.RUnlock()
	maps.Copy(out, s.settings.values)
	return out
}

// SetSetting changes a setting. What would let anybody in, or nobody, is refused.
func (s *Service) SetSetting(ctx context.Context, key, value string) error {
	bad := func(expected string) error {
		return fault.Fields("setting "+key, []fault.Field{{Path: "value", Expected: expected, Got: value}})
	}
	if _, ok := known[key]; !ok {
		return fault.New(fault.NotFound, "no setting %q", key)
	}
	on, err := strconv.ParseBool(value)
	switch key {
	case PollingTime, OverdueTime:
		if d, ok := clockTime(value); !ok || d < time.Second {
			return bad("hours, minutes and seconds, as 00:00:30")
		}
	case TargetToken:
		if err != nil || !on {
			return bad("true: units are always known by their own token too")
		}
	case Anonymous:
		if err != nil || on {
			return bad("false: nothing is downloaded by who has not proved themselves or has no signed address")
		}
	case GatewayEnabled, HeaderEnabled:
		if err != nil {
			return bad("true or false")
		}
	case GatewayKey:
		if len(value) < 16 || len(value) > 200 {
			return bad("16 to 200 characters")
		}
	case HeaderIssuer:
		if value == "" || len(value) > 200 {
			return bad("1 to 200 characters")
		}
	}
	doc, err := s.seal(key, value)
	if err != nil {
		return err
	}
	err = s.cfg.Tx.InTx(ctx, func(ctx context.Context) error { return s.cfg.Store.Put(ctx, KindSetting, key, doc) })
	if err != nil {
		return err
	}
	return s.load(ctx)
}

// clockTime reads hawkBit's durations, HH:MM:SS.
func clockTime(s string) (time.Duration, bool) {
	var h, m, sec int
	if n, err := fmt.Sscanf(s, "%2d:%2d:%2d", &h, &m, &sec); n != 3 || err != nil || len(s) != 8 || h < 0 || m < 0 || m > 59 || sec < 0 || sec > 59 {
		return 0, false
	}
	return time.Duration(h)*time.Hour + time.Duration(m)*time.Minute + time.Duration(sec)*time.Second, true
}

// Polling is how long bench units are told to sleep between polls; 0: as all others.
func (s *Service) Polling(product string) time.Duration {
	if product != s.cfg.Product {
		return 0
	}
	s.settings.mu.RLock()
	defer s.settings.mu.RUnlock()
	return s.settings.polling
}

// Gateway reports whether a token lets its holder speak for bench units.
func (s *Service) Gateway(token string) bool {
	s.settings.mu.RLock()
	defer s.settings.mu.RUnlock()
	key := s.settings.values[GatewayKey]
	return s.settings.values[GatewayEnabled] == "true" && key != "" && subtle.ConstantTimeCompare([]byte(key), []byte(token)) == 1
}

// Issuer reports whether a proxy on this machine is believed that says whose
// client certificate it has seen, issued by an authority of this hash, one of
// those that are set (as in hawkBit, with "," or ";" between them).
func (s *Service) Issuer(hash string) bool {
	s.settings.mu.RLock()
	defer s.settings.mu.RUnlock()
	want := s.settings.values[HeaderIssuer]
	if s.settings.values[HeaderEnabled] != "true" || hash == "" {
		return false
	}
	return slices.ContainsFunc(strings.FieldsFunc(want, func(r rune) bool { return strings.ContainsRune(",; ", r) }), func(one string) bool {
		return subtle.ConstantTimeCompare([]byte(one), []byte(hash)) == 1
	})
}
