package ddi_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/campaign/campaigntest"
	"fettle.dev/fettle/internal/device/ddi"
	"fettle.dev/fettle/internal/peer/swupdate"
	"fettle.dev/fettle/internal/sqldb/sqldbtest"
	"fettle.dev/fettle/internal/update"
)

// line is the way between a unit and the server: as slow as it is told to be,
// and cut once when so many bytes have come down a connection.
type line struct {
	net.Listener
	server string
	cut    atomic.Int64 // bytes; 0: not
	cuts   atomic.Int64
	pace   atomic.Int64 // bytes a second; 0: any
	mu     sync.Mutex
	asked  []string // first line and Range of each request
}

func newLine(t *testing.T, server string) *line {
	t.Helper()
	l := &line{server: strings.TrimPrefix(server, "http://")}
	var err error
	l.Listener, err = new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			unit, err := l.Accept()
			if err != nil {
				return
			}
			go l.carry(unit)
		}
	}()
	return l
}

func (l *line) url() string { return "http://" + l.Addr().String() }

func (l *line) carry(unit net.Conn) {
	server, err := net.Dial("tcp", l.server)
	if err != nil {
		_ = unit.Close()
		return
	}
	defer func() { _, _ = unit.Close(), server.Close() }()
	go func() {
		_, _ = io.Copy(io.MultiWriter(server, (*asking)(l)), unit)
		_, _ = unit.Close(), server.Close()
	}()
	var down int64
	buf := make([]byte, 16<<10)
	for {
		n, err := server.Read(buf)
		if n > 0 {
			if _, err := unit.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
		down += int64(n)
		if cut := l.cut.Load(); cut > 0 && down > cut && l.cut.CompareAndSwap(cut, 0) {
			l.cuts.Add(1)
			return
		}
		if pace := l.pace.Load(); pace > 0 {
			time.Sleep(time.Duration(n) * time.Second / time.Duration(pace))
		}
	}
}

// asking notes what goes up.
type asking line

func (a *asking) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for text := range strings.Lines(string(p)) {
		if strings.HasPrefix(text, "GET /") || strings.HasPrefix(text, "HEAD /") || strings.HasPrefix(text, "Range:") {
			a.asked = append(a.asked, strings.TrimSpace(text))
		}
	}
	return len(p), nil
}

func (l *line) said() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.asked, "\n")
}

// unit is a real SWUpdate with an update for it.
type unit struct {
	*world
	id        string
	line      *line
	client    *swupdate.Client
	key       swupdate.Key
	dest      string // where images write to
	installed string
	a         update.Assignment
}

// newUnit has a client that the server tells to poll every second, and an image that is offered to it.
func newUnit(t *testing.T, image func(u *unit) []byte) *unit {
	t.Helper()
	swupdate.Require(t)
	u := &unit{world: newOffering(t, sqldbtest.SQLite(t), ddi.Trust{}, nil, time.Second), id: campaigntest.UnitID(1), key: swupdate.NewKey(t), dest: swupdate.Dir(t)}
	u.installed = filepath.Join(u.dest, "payload.bin")
	artifact, err := u.Updates.PutArtifact(t.Context(), bytes.NewReader(image(u)), "real.swu")
	require.NoError(t, err)
	release, err := u.Updates.Release(t.Context(), campaigntest.Release)
	require.NoError(t, err)
	release.Artifact = "sha256:" + artifact.SHA256
	require.NoError(t, u.Updates.Put(t.Context(), release))
	require.NoError(t, u.Updates.SetAttributes(t.Context(), u.id, update.AttributesMerge, map[string]string{"serial": u.id})) // it is not asked for them
	u.a = u.assign(1)
	u.offer(u.a, u.Clock.Now())
	u.line = newLine(t, u.server.URL)
	return u
}

func (u *unit) start() {
	u.t.Helper()
	u.client = swupdate.Start(u.t, swupdate.Options{URL: u.line.url(), UnitID: u.id, Token: "token of " + u.id, Key: u.key})
}

func (u *unit) eventually(what string, ok func() bool) {
	u.t.Helper()
	require.Eventually(u.t, ok, 3*time.Minute, 20*time.Millisecond, "%s", what)
}

func (u *unit) words() string { return strings.Join(u.state(u.a.ID).Details, "\n") }

// noise is bytes that no compression makes fewer.
func noise(n int) []byte {
	out := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(out) // never fails
	return out
}

// SWUpdate 2022.12 hangs now and then in the pause before it resumes, in its
// own threads, without having asked again: then another one tries.
func TestARealSWUpdateResumesAfterACut(t *testing.T) {
	t.Parallel()
	payload := noise(2 << 20)
	for range 4 {
		if resumed(t, payload) {
			return
		}
	}
	t.Fatal("none resumed")
}

func resumed(t *testing.T, payload []byte) bool {
	t.Helper()
	u := newUnit(t, func(u *unit) []byte { return swupdate.Build(t, u.key, "2.0.0", u.installed, payload) })
	u.line.cut.Store(1 << 20)
	u.start()
	u.eventually("the line is cut", func() bool { return u.line.cuts.Load() == 1 })
	since := time.Now()
	for {
		if got, err := os.ReadFile(u.installed); err == nil && bytes.Equal(got, payload) {
			break
		}
		if asked := strings.Count(u.line.said(), "GET /artifacts/") > 1; !asked && time.Since(since) > 15*time.Second {
			u.client.Stop()
			return false
		}
		require.Less(t, time.Since(since), 3*time.Minute, "it asked, and was not answered:\n%s", u.line.said())
		time.Sleep(20 * time.Millisecond)
	}
	require.Regexp(t, `(?s)HEAD /artifacts/.*GET /artifacts/.*GET /artifacts/\S+ HTTP/1\.1\nRange: bytes=[1-9]\d{5,}-`, u.line.said(), "it goes on where it was")
	u.eventually("it says so", func() bool { return strings.Contains(u.words(), "All Chunks Installed") })
	require.NotRegexp(t, `[?&]s=\w`, u.words(), "its address is a credential")
	u.client.Confirm(t, u.a.ID)
	u.eventually("it claims success", func() bool { return u.state(u.a.ID).State == update.Claimed })
	return true
}

// What the unit is sent, or what it is, is wrong: nothing is installed, and its
// own words, which come before the closing ones, say why.
func TestARealSWUpdateSaysWhyItRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		image func(u *unit) []byte
		why   string
	}{
		{"corrupt", func(u *unit) []byte {
			image := swupdate.Build(u.t, u.key, "2.0.0", u.installed, noise(300_000))
			image[200_000] ^= 1 // after it was signed
			return image
		}, "ERROR : HASH mismatch"},
		{"unsigned", func(u *unit) []byte {
			return swupdate.Image{Key: u.key, Version: "2.0.0", Unsigned: true, Files: []swupdate.File{{Path: u.installed, Data: []byte("x")}}}.Build(u.t)
		}, "payload0 instead of sw-description.sig"},
		{"signed by another", func(u *unit) []byte {
			return swupdate.Build(u.t, swupdate.NewKey(u.t), "2.0.0", u.installed, []byte("x"))
		}, "ERROR : Authentication of all signatures failed"},
		{"for other hardware", func(u *unit) []byte {
			return swupdate.Image{Key: u.key, Version: "2.0.0", Hardware: "7.1", Files: []swupdate.File{{Path: u.installed, Data: []byte("x")}}}.Build(u.t)
		}, "ERROR : SW not compatible with hardware"},
		{"no image at all", func(*unit) []byte { return noise(5000) }, "ERROR : CPIO Format not recognized: magic not found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			u := newUnit(t, c.image)
			u.start()
			u.eventually("it fails", func() bool { return u.state(u.a.ID).State == update.Failed })
			require.NoFileExists(t, u.installed)
			if c.name == "unsigned" && !strings.Contains(update.Reason(u.state(u.a.ID).Details), c.why) {
				return // it sends some of its words or none, and that it is unsigned is no error but a trace: another may be one
			}
			u.eventually("it says why: "+c.why, func() bool { return strings.Contains(update.Reason(u.state(u.a.ID).Details), c.why) })
		})
	}
}

// A release of two components is two chunks, which SWUpdate takes one after the
// other, in the order of installation whatever the order of declaration. It is
// reported all or nothing: one success after the last, one failure where either
// fails, and installed is it when the unit reports both versions. What SWUpdate
// cannot do is take back the first when the second fails: docs/updates.md says so.
func TestARealSWUpdateTakesTwoComponentsInOrder(t *testing.T) {
	t.Parallel()
	for _, good := range []bool{true, false} {
		t.Run(fmt.Sprintf("second good: %v", good), func(t *testing.T) {
			t.Parallel()
			u := newUnit(t, func(u *unit) []byte { return swupdate.Build(t, u.key, "0", u.installed, []byte("not asked for")) })
			ctx := t.Context()
			_, err := u.Updates.Cancel(ctx, u.a.ID)
			require.NoError(t, err)
			if a := u.state(u.a.ID); a.State == update.Canceling {
				_, err = u.Updates.CancelFeedback(ctx, u.id, a.ID, update.Feedback{State: update.Canceled})
				require.NoError(t, err)
			}
			meter, software := filepath.Join(u.dest, "meter.bin"), filepath.Join(u.dest, "software.bin")
			put := func(name string, key swupdate.Key, path string) string {
				a, err := u.Updates.PutArtifact(ctx, bytes.NewReader(swupdate.Build(t, key, "2.0.0", path, []byte(name))), name+".swu")
				require.NoError(t, err)
				return "sha256:" + a.SHA256
			}
			key := u.key
			if !good {
				key = swupdate.NewKey(t) // nobody's whom the unit knows
			}
			require.NoError(t, u.Updates.Put(ctx, update.Release{
				Name: "both", Product: campaigntest.Product, Version: "both", Kind: update.Fix, Minutes: 5, Notes: map[string]string{"en": "Better."},
				Parts: []update.ReleasePart{
					{Component: "software", Version: "2.0.0", Artifact: put("software", key, software), After: []string{"meter"}},
					{Component: "meter", Version: "3.2", Artifact: put("meter", u.key, meter)},
				},
			}))
			u.a, err = u.Updates.Assign(ctx, u.id, "both", "task both")
			require.NoError(t, err)
			u.offer(u.a, u.Clock.Now())
			u.start()
			if !good {
				u.eventually("it fails", func() bool { return u.state(u.a.ID).State == update.Failed })
				require.NoFileExists(t, software)
				require.FileExists(t, meter, "SWUpdate does not take back what it has put in place")
				return
			}
			u.eventually("it says so, once, after the last", func() bool { return strings.Contains(u.words(), "All Chunks Installed") })
			require.Regexp(t, `(?s)GET /artifacts/\S+meter\.swu.*GET /artifacts/\S+software\.swu`, u.line.said(), "in order")
			for path, want := range map[string]string{meter: "meter", software: "software"} {
				got, err := os.ReadFile(path)
				require.NoError(t, err)
				require.Equal(t, want, string(got))
			}
			u.client.Confirm(t, u.a.ID)
			u.eventually("it claims success", func() bool { return u.state(u.a.ID).State == update.Claimed })
			says := func(versions map[string]string) {
				require.NoError(t, u.DB.Fleet().SetVersions(ctx, u.id, versions, u.Clock.Now()))
				require.NoError(t, u.Updates.Reported(ctx, u.id, versions, u.Clock.Now()))
			}
			says(map[string]string{"software": "1.0.0", "meter": "3.2"})
			require.Equal(t, update.Claimed, u.state(u.a.ID).State, "the half is not installed")
			says(map[string]string{"software": "2.0.0", "meter": "3.2"})
			require.Equal(t, update.Installed, u.state(u.a.ID).State)
		})
	}
}

// An operator cancels while the bytes are on their way: they stop, the same
// address is dead, and the client agrees at its next poll.
func TestARealSWUpdateIsStoppedWhileItDownloads(t *testing.T) {
	t.Parallel()
	payload := noise(12 << 20) // more than sockets hold
	u := newUnit(t, func(u *unit) []byte { return swupdate.Build(t, u.key, "2.0.0", u.installed, payload) })
	u.line.pace.Store(300_000)
	links := u.links(u.id)
	href := u.download(u.id, links["deploymentBase"])
	u.start()
	u.eventually("the download has begun", func() bool { return u.state(u.a.ID).State == update.Running })
	got, err := u.Updates.Cancel(t.Context(), u.a.ID)
	require.NoError(t, err)
	require.Equal(t, update.Canceling, got.State)
	now := u.links(u.id)
	require.Contains(t, now, "cancelAction")
	require.NotContains(t, now, "deploymentBase")
	require.Equal(t, 410, u.do(http.MethodGet, href, u.id, "").status)
	require.Equal(t, 410, u.do(http.MethodGet, links["deploymentBase"], u.id, "").status)
	u.eventually("it is canceled", func() bool {
		a := u.state(u.a.ID)
		return a.Over()
	})
	require.Equal(t, update.Canceled, u.state(u.a.ID).State)
	got2, _ := os.ReadFile(u.installed) // SWUpdate writes plain files while they come
	require.Less(t, len(got2), len(payload), "the rest never came")
	require.NotContains(t, u.links(u.id), "cancelAction")
}
