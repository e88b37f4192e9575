package setting_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/unitkit/install/powercut"
	"fettle.dev/fettle/unitkit/setting"
)

const (
	current = setting.Parameter + "max_current"
	solar   = setting.Feature + "solar"
)

// unit is a unit whose settings are one file, and its server.
type unit struct {
	t      *testing.T
	disk   *powercut.Disk
	k      *setting.Keeper
	sets   int
	refuse map[string]string // why, by name
	busy   string            // why not now
	later  string            // what Set says of trying again
	sticks string            // a name that Set leaves as it is
	sent   []setting.Report
	down   error
}

const file = "/etc/settings"

func newUnit(t *testing.T, seed uint64) *unit {
	u := &unit{t: t, disk: powercut.New(rand.New(rand.NewPCG(seed, 1)))}
	u.put(setting.Values{current: "32", solar: "false"})
	require.NoError(t, u.disk.WriteFile("/var/README", 0o600, nil))
	u.open()
	return u
}

func (u *unit) open() {
	var err error
	u.k, err = setting.Open(setting.Config{FS: u.disk, Dir: "/var/setting", Get: u.get, Set: u.set, MayBegin: u.mayBegin, Send: u.send})
	require.NoError(u.t, err)
}

func (u *unit) put(v setting.Values) {
	raw, _ := json.Marshal(v)
	require.NoError(u.t, u.disk.WriteFile(file, 0o600, raw))
}

func (u *unit) has() (v setting.Values) {
	raw, err := u.disk.ReadFile(file)
	require.NoError(u.t, err)
	require.NoError(u.t, json.Unmarshal(raw, &v))
	return v
}

func (u *unit) get(context.Context) (setting.Values, error) { return u.has(), nil }

// set is the product's: one atomic change.
func (u *unit) set(_ context.Context, v setting.Values) error {
	u.sets++
	why := map[string]string{}
	for name := range v {
		if u.refuse[name] != "" {
			why[name] = u.refuse[name]
		}
	}
	if len(why) > 0 {
		return &setting.RefusedError{Why: why}
	}
	if u.later != "" {
		return &setting.NotNowError{Why: u.later}
	}
	all := u.has()
	for name, value := range v {
		if name != u.sticks {
			all[name] = value
		}
	}
	raw, _ := json.Marshal(all)
	f, err := u.disk.Create(file+".new", 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write(raw); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, u.disk.Rename(file+".new", file), u.disk.SyncDir("/etc"))
}

func (u *unit) mayBegin(context.Context) error {
	if u.busy != "" {
		return errors.New(u.busy)
	}
	return nil
}

func (u *unit) send(_ context.Context, r setting.Report) error {
	if u.down != nil {
		return u.down
	}
	u.sent = append(u.sent, r)
	return nil
}

// said is the server's word: values of max_current and solar, with revisions.
func said(values map[string]any, revision int64) string {
	d := map[string]any{"collect": []string{"x"}}
	p, f, r := map[string]any{}, map[string]any{}, map[string]int64{}
	for name, v := range values {
		if name == "solar" {
			f[name], r[solar] = v, revision
		} else {
			p[name], r[setting.Parameter+name] = v, revision
		}
	}
	d["parameters"], d["features"], d["revisions"] = p, f, r
	raw, _ := json.Marshal(d)
	return string(raw)
}

func (u *unit) hear(raw string) {
	_, err := u.k.Hear([]byte(raw))
	require.NoError(u.t, err)
}

// settle steps until nothing is left, or something is waited for, and delivers.
func (u *unit) settle() {
	for range 20 {
		wait, err := u.k.Step(u.t.Context())
		require.NoError(u.t, err)
		if wait > 0 {
			require.NoError(u.t, u.k.Deliver(u.t.Context()))
			return
		}
	}
	u.t.Fatal("it never settles")
}

func (u *unit) last() setting.Report {
	require.NotEmpty(u.t, u.sent)
	return u.sent[len(u.sent)-1]
}

func (u *unit) reports(want string) {
	u.t.Helper()
	raw, err := json.Marshal(u.last())
	require.NoError(u.t, err)
	require.JSONEq(u.t, want, string(raw))
}

func TestAChangeIsSetAndReported(t *testing.T) {
	t.Parallel()
	u := newUnit(t, 1)
	u.settle()
	u.reports(`{"parameters":{"max_current":32},"features":{"solar":false}}`)
	u.hear(said(map[string]any{"max_current": 16.0, "solar": true}, 7))
	u.settle()
	require.Equal(t, setting.Values{current: "16", solar: "true"}, u.has())
	require.Equal(t, 1, u.sets, "all of a change at once")
	u.reports(`{"parameters":{"max_current":16},"features":{"solar":true}}`)

	// Again, at each connection: nothing. Also after a restart.
	n := len(u.sent)
	u.hear(said(map[string]any{"max_current": 16, "solar": true}, 7))
	u.settle()
	require.Len(t, u.sent, n)
	u.open()
	u.hear(said(map[string]any{"max_current": 16, "solar": true}, 7))
	u.settle()
	require.Equal(t, 1, u.sets)
	require.Len(t, u.sent, n+1, "once after each start")

	// What is changed on the unit stays, and is told.
	u.put(setting.Values{current: "20", solar: "true"})
	u.settle()
	u.reports(`{"parameters":{"max_current":20},"features":{"solar":true}}`)
	u.hear(said(map[string]any{"max_current": 16, "solar": true}, 7))
	u.settle()
	require.Equal(t, "20", u.has()[current])
	drift := u.k.Status()[1]
	require.Equal(t, setting.Setting{Name: current, Value: "20", Desired: "16"}, drift)
	require.True(t, drift.Drifts())

	// The server asks for the same anew.
	u.hear(said(map[string]any{"max_current": 16, "solar": true}, 8))
	u.settle()
	require.Equal(t, "16", u.has()[current])

	// It takes its word back: what was before it.
	u.hear(`{"collect":[]}`)
	u.settle()
	require.Equal(t, setting.Values{current: "32", solar: "false"}, u.has())
	u.reports(`{"parameters":{"max_current":32},"features":{"solar":false}}`)
}

func TestWhatIsRefusedIsToldOnceWithItsReason(t *testing.T) {
	t.Parallel()
	u := newUnit(t, 2)
	u.refuse = map[string]string{current: "the cable carries 10 A"}
	u.down = errors.New("no network")
	u.hear(said(map[string]any{"max_current": 16, "solar": true}, 7))
	_, err := u.k.Step(t.Context())
	require.NoError(t, err)
	require.Equal(t, setting.Values{current: "32", solar: "false"}, u.has(), "all or nothing")
	require.ErrorContains(t, u.k.Deliver(t.Context()), "no network")
	u.open() // and it stands over a restart
	u.down = nil
	u.settle()
	require.Equal(t, 1, u.sets, "what was refused is not tried again")
	u.reports(`{"parameters":{"max_current":32},"features":{"solar":false},"refused":{"max_current":"the cable carries 10 A"},"revisions":{"parameter:max_current":7}}`)
	n := len(u.sent)
	u.settle()
	require.Len(t, u.sent, n)

	// The owner has set it otherwise meanwhile; the server says what it said
	// before: that is no reason to touch anything.
	u.put(setting.Values{current: "20", solar: "false"})
	u.hear(said(map[string]any{"max_current": 32}, 7))
	u.settle()
	require.Equal(t, 1, u.sets)
	require.Equal(t, "20", u.has()[current])
}

func TestARefusalOfWhatIsAskedNoMoreIsDropped(t *testing.T) {
	t.Parallel()
	u := newUnit(t, 3)
	u.refuse = map[string]string{current: "no"}
	u.down = errors.New("no network")
	u.hear(said(map[string]any{"max_current": 6}, 7))
	_, err := u.k.Step(t.Context())
	require.NoError(t, err)
	u.refuse, u.down = nil, nil
	u.hear(said(map[string]any{"max_current": 10}, 8))
	u.settle()
	u.reports(`{"parameters":{"max_current":10},"features":{"solar":false}}`)
}

func TestNothingIsChangedDuringUse(t *testing.T) {
	t.Parallel()
	u := newUnit(t, 4)
	u.busy = "the unit is in use"
	u.hear(said(map[string]any{"max_current": 16}, 7))
	u.settle()
	require.Zero(t, u.sets)
	u.reports(`{"parameters":{"max_current":32},"features":{"solar":false},"waiting":{"max_current":"the unit is in use"},"revisions":{"parameter:max_current":7}}`)
	u.busy, u.later = "", "the relay is hot"
	u.settle()
	require.Equal(t, "32", u.has()[current])
	require.Equal(t, map[string]string{"max_current": "the relay is hot"}, u.last().Waiting)
	u.put(setting.Values{current: "20", solar: "false"}) // by the owner, meanwhile
	u.later, u.sticks = "", current
	u.settle()
	require.Equal(t, map[string]string{"max_current": "it was set to 16 and is 20"}, u.last().Refused, "what the program says is looked at")
	require.Equal(t, "20", u.has()[current])
}

func TestWhatTheUnitDoesNotKnow(t *testing.T) {
	t.Parallel()
	u := newUnit(t, 5)
	u.hear(said(map[string]any{"height": 3}, 7))
	u.settle()
	require.Equal(t, map[string]string{"height": "this unit does not know it"}, u.last().Refused)
	u.hear(`{"collect":[]}`)
	u.settle()
	require.Zero(t, u.sets)
	for _, bad := range []string{`{`, `{"parameters":{"max_current":[1]}}`, `{"parameters":{"max_current":null}}`, `[]`} {
		_, err := u.k.Hear([]byte(bad))
		require.Error(t, err, bad)
	}

	// The product does not declare what the unit tells: then it tells of what it was asked for.
	u.hear(said(map[string]any{"solar": true}, 8))
	u.down = fmt.Errorf("%w: 400", setting.ErrUnsendable)
	_, err := u.k.Step(t.Context())
	require.NoError(t, err)
	require.NoError(t, u.k.Deliver(t.Context()))
	u.down = nil
	u.put(setting.Values{current: "9", solar: "false"})
	u.settle()
	u.reports(`{"features":{"solar":false}}`)
}

// TestPowerCutsAtEveryStep cuts the power at each step of the disk while a
// change is made, taken back, refused and made anew: the unit has the old
// values or the new ones, and comes to the server's word.
func TestPowerCutsAtEveryStep(t *testing.T) {
	t.Parallel()
	old, fresh := setting.Values{current: "32", solar: "false"}, setting.Values{current: "16", solar: "true"}
	change := said(map[string]any{"max_current": 16, "solar": true}, 7)
	stories := map[string]struct {
		words  []string // of the server, one after another
		refuse bool
		end    setting.Values
	}{
		"set":               {[]string{change}, false, fresh},
		"refused":           {[]string{change}, true, old},
		"taken back":        {[]string{change, `{"collect":[]}`}, false, old},
		"taken back midway": {[]string{change + "!", `{"collect":[]}`}, false, old},
	}
	cuts := 0
	for name, s := range stories {
		for at := 1; ; at++ {
			u := newUnit(t, uint64(at))
			if s.refuse {
				u.refuse = map[string]string{current: "no", solar: "no"}
			}
			if !u.cut(at, s.words) {
				break
			}
			cuts++
			u.disk.Restart()
			require.Contains(t, []setting.Values{old, fresh}, u.has(), "%s, cut %d", name, at)
			u.open()
			u.hear(trim(s.words[len(s.words)-1]))
			u.settle()
			require.Equal(t, s.end, u.has(), "%s, cut %d", name, at)
			if s.refuse && len(u.sent) > 0 {
				told := false
				for _, r := range u.sent {
					told = told || maps.Equal(r.Refused, map[string]string{"max_current": "no", "solar": "no"})
				}
				require.True(t, told, "%s, cut %d: %v", name, at, u.sent)
			}
		}
	}
	require.Greater(t, cuts, 60)
}

// trim is a word of the server without the mark that the unit is to be cut
// before it has done it.
func trim(word string) string {
	if word[len(word)-1] == '!' {
		return word[:len(word)-1]
	}
	return word
}

// cut runs a story with a power cut at a step of the disk, and says whether it
// came to that.
func (u *unit) cut(at int, words []string) (was bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(powercut.Cut); !ok {
				panic(r)
			}
			was = true
		}
	}()
	first := u.disk.Steps()
	u.disk.CutAt = first + at
	for _, word := range words {
		u.hear(trim(word))
		if word != trim(word) {
			_, err := u.k.Step(u.t.Context())
			require.NoError(u.t, err)
			continue
		}
		u.settle()
	}
	return false
}

func TestADamagedJournalIsSetAside(t *testing.T) {
	t.Parallel()
	u := newUnit(t, 6)
	u.hear(said(map[string]any{"max_current": 16}, 7))
	u.settle()
	require.NoError(t, u.disk.WriteFile("/var/setting/journal.json", 0o600, []byte("{}\nx\n")))
	u.open()
	require.True(t, u.k.Damaged())
	u.hear(said(map[string]any{"max_current": 16}, 7))
	u.settle()
	require.Equal(t, "16", u.has()[current])
}

func FuzzHear(f *testing.F) {
	f.Add(said(map[string]any{"max_current": 16, "solar": true}, 7))
	f.Add(`{"parameters":{"a":"x"},"revisions":{"parameter:a":-1}}`)
	f.Fuzz(func(t *testing.T, raw string) {
		u := newUnit(t, 7)
		changed, err := u.k.Hear([]byte(raw))
		if err != nil {
			require.False(t, changed)
			return
		}
		again, err := u.k.Hear([]byte(raw))
		require.NoError(t, err)
		require.False(t, again)
		wait, err := u.k.Step(t.Context())
		require.NoError(t, err)
		require.LessOrEqual(t, wait, time.Hour)
	})
}
