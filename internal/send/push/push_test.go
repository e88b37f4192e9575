package push_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/clock"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify"
	store "fettle.dev/fettle/internal/notify/push"
	"fettle.dev/fettle/internal/notify/ticket"
	"fettle.dev/fettle/internal/peer/node"
	"fettle.dev/fettle/internal/reach"
	"fettle.dev/fettle/internal/send/push"
	"fettle.dev/fettle/internal/sqldb"
	"fettle.dev/fettle/internal/sqldb/message"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
)

// A browser's keys, and what a browser does with what it gets: another
// implementation of RFC 8188 and 8291, and Node's own check of the VAPID token.
const (
	makeKeys = `
const e = require('crypto').createECDH('prime256v1'); e.generateKeys();
console.log(JSON.stringify({ private: e.getPrivateKey('base64url'), public: e.getPublicKey('base64url'), auth: require('crypto').randomBytes(16).toString('base64url') }));
`
	decrypt = `
const crypto = require('crypto'), ece = require('http_ece');
const i = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const key = crypto.createECDH('prime256v1'); key.setPrivateKey(i.private, 'base64url');
const text = ece.decrypt(Buffer.from(i.body, 'base64'), { version: 'aes128gcm', privateKey: key, authSecret: i.auth }).toString();
const [, t, k] = i.authorization.match(/^vapid t=([^,]+), ?k=(.+)$/);
const [h, p, s] = t.split('.');
const raw = Buffer.from(k, 'base64url');
const jwk = { kty: 'EC', crv: 'P-256', x: raw.subarray(1, 33).toString('base64url'), y: raw.subarray(33).toString('base64url') };
const good = crypto.verify('sha256', Buffer.from(h + '.' + p), { key: crypto.createPublicKey({ key: jwk, format: 'jwk' }), dsaEncoding: 'ieee-p1363' }, Buffer.from(s, 'base64url'));
console.log(JSON.stringify({ text, good, k, claims: JSON.parse(Buffer.from(p, 'base64url')) }));
`
)

func TestPush(t *testing.T) {
	t.Parallel()
	sqldbtest.Each(t, func(t *testing.T, db *sqldb.DB) {
		ctx, subscriptions := t.Context(), message.Pushes(db)
		key := []byte("0123456789abcdef0123456789abcdef")
		keys, err := push.LoadKeys(ctx, subscriptions, key)
		require.NoError(t, err)
		again, err := push.LoadKeys(ctx, subscriptions, key)
		require.NoError(t, err)
		require.Equal(t, keys, again, "made at the first start, and kept")

		var browser struct{ Private, Public, Auth string }
		require.NoError(t, json.Unmarshal([]byte(node.Run(t, "http_ece", makeKeys, "")), &browser))
		status := http.StatusCreated
		var got *http.Request
		var body []byte
		service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got = r
			body, _ = io.ReadAll(r.Body)
			w.Header().Set("Location", "https://push.example/m/1")
			w.WriteHeader(status)
		}))
		defer service.Close()
		sub, err := subscriptions.AddSubscription(ctx, store.Subscription{ID: "s1", OwnerID: "o1", Endpoint: service.URL + "/p/1", P256DH: browser.Public, Auth: browser.Auth, CreatedAt: time.Now()})
		require.NoError(t, err)
		links := ticket.Links{Signer: ticket.New(key), URL: "https://fettle.example"}
		s := push.New(subscriptions, keys, "ops@fettle.example", links, clock.Real{}, reach.Networks{netip.MustParsePrefix("127.0.0.0/8")})
		m := notify.Message{ID: "m1", Channel: notify.Push, To: sub.ID, Kind: notify.Safety, Subject: "Säkerhet", Body: strings.Repeat("å", 5000), Link: "https://fettle.example/my/", Acknowledge: true}
		id, err := s.Send(ctx, m)
		require.NoError(t, err)
		require.Equal(t, "https://push.example/m/1", id)
		require.Equal(t, "high", got.Header.Get("Urgency"))
		require.Equal(t, "aes128gcm", got.Header.Get("Content-Encoding"))
		require.Equal(t, "604800", got.Header.Get("TTL"))
		require.LessOrEqual(t, len(body), 4096)
		input, err := json.Marshal(map[string]string{"private": browser.Private, "auth": browser.Auth, "body": base64.StdEncoding.EncodeToString(body), "authorization": got.Header.Get("Authorization")})
		require.NoError(t, err)
		var read struct {
			Text, K string
			Good    bool
			Claims  struct{ Aud, Sub string }
		}
		require.NoError(t, json.Unmarshal([]byte(node.Run(t, "http_ece", decrypt, string(input))), &read))
		require.True(t, read.Good)
		require.Equal(t, keys.Public, strings.TrimRight(read.K, "="))
		require.Equal(t, service.URL, read.Claims.Aud)
		require.Equal(t, "mailto:ops@fettle.example", read.Claims.Sub)
		var shown struct{ Title, Body, Read string }
		require.NoError(t, json.Unmarshal([]byte(read.Text), &shown))
		require.Equal(t, "Säkerhet", shown.Title)
		require.Regexp(t, `^å+…$`, shown.Body, "cut to what push services take, at a letter")
		require.Equal(t, links.Read("m1"), shown.Read)

		status = http.StatusServiceUnavailable
		_, err = s.Send(ctx, m)
		require.Equal(t, fault.Internal, fault.KindOf(err), "to be tried again")
		status = http.StatusGone
		_, err = s.Send(ctx, m)
		require.Equal(t, fault.Invalid, fault.KindOf(err))
		all, err := subscriptions.Subscriptions(ctx, "o1")
		require.NoError(t, err)
		require.Empty(t, all, "the browser ended it")
		_, err = s.Send(ctx, m)
		require.Equal(t, fault.Invalid, fault.KindOf(err))

		// A browser is its last owner's; not more of them than a person has.
		for i := range store.MaxPerOwner {
			_, err := subscriptions.AddSubscription(ctx, store.Subscription{ID: string(rune('a' + i)), OwnerID: "o1", Endpoint: "https://p.example/" + string(rune('a'+i))})
			require.NoError(t, err)
		}
		_, err = subscriptions.AddSubscription(ctx, store.Subscription{ID: "z", OwnerID: "o1", Endpoint: "https://p.example/z"})
		require.Equal(t, fault.Conflict, fault.KindOf(err))
		_, err = subscriptions.AddSubscription(ctx, store.Subscription{ID: "y", OwnerID: "o2", Endpoint: "https://p.example/a"})
		require.NoError(t, err)
		require.Equal(t, fault.NotFound, fault.KindOf(subscriptions.RemoveSubscription(ctx, "o1", "y")))
		require.NoError(t, subscriptions.RemoveSubscription(ctx, "o2", "y"))

		other, err := push.LoadKeys(ctx, subscriptions, []byte("another key, as after a restore"))
		require.NoError(t, err)
		require.NotEqual(t, keys.Public, other.Public)
	})
}

func TestCheck(t *testing.T) {
	t.Parallel()
	good := store.Subscription{
		Endpoint: "https://updates.push.services.mozilla.com/wpush/v2/x",
		P256DH:   "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4", Auth: "BTBZMqHH6r4Tts7J_aSIgg", // RFC 8291 appendix A
	}
	require.Empty(t, good.Check())
	for want, change := range map[string]func(*store.Subscription){
		"endpoint":    func(s *store.Subscription) { s.Endpoint = "http://x.example" },
		"keys.p256dh": func(s *store.Subscription) { s.P256DH = "AAAA" },
		"keys.auth":   func(s *store.Subscription) { s.Auth = "AAAA" },
		"device":      func(s *store.Subscription) { s.Device = strings.Repeat("x", 101) },
	} {
		bad := good
		change(&bad)
		got := bad.Check()
		require.Len(t, got, 1)
		require.Equal(t, want, got[0].Path)
	}
}
