package mender

import (
	"bytes"
	"regexp"
	"testing"
	"time"
	"unicode/utf8"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/update"
)

func theirs(t *testing.T, b []byte, err error) {
	t.Helper()
	if fault.KindOf(err) != fault.Invalid && fault.KindOf(err) != fault.Denied {
		t.Fatalf("%q: %v is not the client's mistake", b, err)
	}
}

var serial = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

func FuzzAuthRequest(f *testing.F) {
	f.Add([]byte(`{"id_data":"{\"mac\":\"ff:00\"}","tenant_token":"fct_x","pubkey":"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"}`), "AAAA")
	f.Add([]byte(`{"id_data":"{\"sn\":[\"1\",2]}","pubkey":""}`), "")
	f.Fuzz(func(t *testing.T, b []byte, signature string) {
		r, err := parseAuthRequest(b)
		if err != nil {
			theirs(t, b, err)
			return
		}
		if !serial.MatchString(r.serial) {
			t.Fatalf("%q gives serial %q", b, r.serial)
		}
		if _, err := proven(r.key, b, signature); err != nil {
			theirs(t, b, err)
		} else {
			t.Fatalf("%q is not signed, and taken", b)
		}
	})
}

func FuzzToken(f *testing.F) {
	wall := clock.NewManual(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	h := New(Config{Wall: wall, Key: bytes.Repeat([]byte{1}, 32)})
	good := h.token("WC-1", "aa")
	f.Add(good)
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, token string) {
		c, err := h.read(token)
		if err == nil && (token != good || c.Unit != "WC-1" || c.Key != "aa") {
			t.Fatalf("%q is believed: %+v", token, c)
		}
	})
}

func FuzzReports(f *testing.F) {
	f.Add([]byte(`{"status":"pause_before_installing","substate":"x"}`))
	f.Add([]byte(`{"device_provides":{"artifact_name":"a","device_type":"b"},"update_control_map":true}`))
	f.Add([]byte(`{"messages":[{"timestamp":"2014-06-01T12:00:00Z","level":"error","message":"m"}]}`))
	f.Add([]byte(`[{"name":"mac","value":["a",1]},{"name":"\ud800","value":null}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := parseStatus(b); err != nil {
			theirs(t, b, err)
		} else {
			switch got := s.feedback(); got.State {
			case update.Claimed, update.Running, update.Failed:
				if got.Done > got.Of {
					t.Fatalf("%q: %+v", b, got)
				}
			default:
				t.Fatalf("%q: a client cannot say %q", b, got.State)
			}
		}
		if p, err := parseProvides(b); err != nil {
			theirs(t, b, err)
		} else if p.device == "" || len(p.artifact) > longest {
			t.Fatalf("%q: %+v", b, p)
		}
		if _, err := parseLog(b); err != nil {
			theirs(t, b, err)
		}
		data, err := parseInventory(b)
		if err != nil {
			theirs(t, b, err)
		}
		for k, v := range data {
			if !utf8.ValidString(k) || !utf8.ValidString(v) {
				t.Fatalf("%q: %q=%q cannot be kept", b, k, v)
			}
		}
	})
}
