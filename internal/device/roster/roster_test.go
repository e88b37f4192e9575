package roster

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fault"
)

var noon = time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC)

func member(i int, token string) Member {
	sum := sha256.Sum256([]byte(token))
	return Member{UnitID: fmt.Sprintf("U-%06d", i), Key: int64(i), Product: fmt.Sprintf("p%d", i%3), TokenHash: sum[:]}
}

func seen(r *Roster, i int) time.Time {
	at, _ := r.Seen(fmt.Sprintf("U-%06d", i))
	return at
}

func TestToldUntilTheNextPoll(t *testing.T) {
	t.Parallel()
	r := New(Config{})
	r.Put(member(1, "t"))
	again := func() time.Duration {
		_, d := r.Seen("U-000001")
		return d
	}
	require.Zero(t, again())
	r.Tell("U-000001", 20*time.Second)
	r.Tell("U-000002", 20*time.Second)
	require.Equal(t, 20*time.Second, again())
	r.Poll("U-000001", "t", noon, 0)
	require.Zero(t, again())
}

func TestPollKnowsWhoseATokenIs(t *testing.T) {
	t.Parallel()
	r := New(Config{})
	for i := range 1000 {
		r.Put(member(i, fmt.Sprint("t", i)))
	}
	require.Equal(t, 1000, r.Len())
	for i := range 1000 {
		id := fmt.Sprintf("U-%06d", i)
		m, v, _ := r.Poll(id, fmt.Sprint("t", i), noon, 0)
		require.Equal(t, Welcome, v)
		require.Equal(t, Member{UnitID: id, Key: int64(i), Product: fmt.Sprintf("p%d", i%3)}, m)
		for _, token := range []string{"", "t", fmt.Sprint("t", i+1), string(make([]byte, 32)), string(make([]byte, 4000))} {
			_, v, _ = r.Poll(id, token, noon, 0)
			require.Equal(t, Unknown, v)
		}
	}
	_, v, _ := r.Poll("U-1", "t1", noon, 0)
	require.Equal(t, Unknown, v)

	r.Put(member(7, "another"))
	_, v, _ = r.Poll("U-000007", "t7", noon, 0)
	require.Equal(t, Unknown, v, "a token that was replaced")
	_, v, _ = r.Poll("U-000007", "another", noon, 0)
	require.Equal(t, Welcome, v)
	r.Remove("U-000007")
	_, v, _ = r.Poll("U-000007", "another", noon, 0)
	require.Equal(t, Unknown, v)
	require.Equal(t, noon, seen(r, 7), "when it was seen outlives its removal")
	r.Clear()
	_, v, _ = r.Poll("U-000008", "t8", noon, 0)
	require.Equal(t, Unknown, v)
}

func TestAUnitThatPollsTooOftenWaits(t *testing.T) {
	t.Parallel()
	r := New(Config{Rate: 0.5, Burst: 3})
	r.Put(member(1, "t"))
	poll := func(now time.Duration) (Verdict, time.Duration) {
		_, v, wait := r.Poll("U-000001", "t", noon, now)
		return v, wait
	}
	for range 3 {
		v, _ := poll(0)
		require.Equal(t, Welcome, v)
	}
	v, wait := poll(0)
	require.Equal(t, Early, v)
	require.Equal(t, 2*time.Second, wait)
	v, wait = poll(time.Second)
	require.Equal(t, Early, v, "a refused poll costs nothing")
	require.Equal(t, time.Second, wait)
	v, _ = poll(2 * time.Second)
	require.Equal(t, Welcome, v)
	v, _ = poll(2 * time.Second)
	require.Equal(t, Early, v)
}

func TestHeardOnceAMinute(t *testing.T) {
	t.Parallel()
	r := New(Config{})
	r.Put(member(1, "t"))
	at := func(d time.Duration) { r.Poll("U-000001", "t", noon.Add(d), 0) }
	at(0)
	at(59 * time.Second)
	require.Equal(t, []int64{1}, r.Heard(nil))
	require.Empty(t, r.Heard(nil))
	at(60 * time.Second)
	require.Equal(t, []int64{5, 1}, r.Heard([]int64{5}), "what waits already stays")
	at(-time.Hour) // the clock was set back
	require.Equal(t, []int64{1}, r.Heard(nil))
}

func TestWhatIsSavedIsRestored(t *testing.T) {
	t.Parallel()
	r := New(Config{})
	for i := range 500 {
		r.Put(member(i, "t"))
		if i%2 == 0 {
			r.Poll(fmt.Sprintf("U-%06d", i), "t", noon.Add(time.Duration(i)*time.Second), 0)
		}
	}
	kept := map[int][]byte{}
	keep := func(part int, body []byte) error {
		kept[part] = body
		return nil
	}
	require.Error(t, r.Save(func(int, []byte) error { return fault.New(fault.Unavailable, "no") }))
	require.NoError(t, r.Save(keep), "what could not be kept is kept next time")
	n := len(kept)
	require.NotZero(t, n)
	clear(kept)
	require.NoError(t, r.Save(keep))
	require.Empty(t, kept, "nothing changed")
	r.Poll("U-000002", "t", noon.Add(time.Hour), 0)
	require.NoError(t, r.Save(keep))
	require.Len(t, kept, 1)
	for i := range 500 {
		if i%2 == 0 {
			r.Poll(fmt.Sprintf("U-%06d", i), "t", noon.Add(time.Hour+time.Duration(i)*time.Second), 0)
		}
	}
	require.NoError(t, r.Save(keep))

	other := New(Config{})
	for i := range 400 {
		other.Put(member(i, "t"))
	}
	for part, body := range kept {
		require.NoError(t, other.Restore(part, body))
	}
	for i := range 400 {
		want := time.Time{}
		if i%2 == 0 {
			want = noon.Add(time.Hour + time.Duration(i)*time.Second)
		}
		require.Equal(t, want, seen(other, i))
	}
}

func FuzzRestore(f *testing.F) {
	f.Add(0, []byte{1})
	f.Add(3, append([]byte{1}, make([]byte, 24)...))
	f.Add(-1, []byte{2, 3})
	f.Fuzz(func(t *testing.T, part int, body []byte) {
		r := New(Config{})
		r.Put(member(1, "t"))
		if err := r.Restore(part, body); err != nil && fault.KindOf(err) != fault.Invalid {
			t.Fatal(err)
		}
	})
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	a := NewAddresses(2, 0.5)
	one, two := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for range 4 {
		require.Zero(t, a.Poll(one, 0))
	}
	require.Equal(t, 500*time.Millisecond, a.Poll(one, 0))
	require.NotZero(t, a.Poll(netip.MustParseAddr("::ffff:192.0.2.1"), 0), "the same address")
	require.Zero(t, a.Poll(two, 0))
	require.Zero(t, a.Poll(netip.Addr{}, 0))
	for range 4 {
		require.Zero(t, a.Poll(netip.MustParseAddr("2001:db8::1"), 0))
	}
	require.NotZero(t, a.Poll(netip.MustParseAddr("2001:db8::2"), 0), "one subscriber's network")
	require.Zero(t, a.Poll(netip.MustParseAddr("2001:db8:0:1::2"), 0))

	require.Zero(t, a.Barred(two, 0))
	for range 5 {
		require.Zero(t, a.Barred(two, 0))
		a.Failed(two, 0)
	}
	require.Equal(t, 2*time.Second, a.Barred(two, 0))
	require.Zero(t, a.Barred(two, 2*time.Second))
	require.Zero(t, a.Barred(one, 0))

	many := NewAddresses(1, 1)
	for i := range 500_000 {
		many.Poll(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 0)
	}
	n := 0
	for i := range many.parts {
		n += len(many.parts[i].known)
	}
	require.LessOrEqual(t, n, len(many.parts)*maxAddresses)
}

// Units come, change, poll and are saved at once.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	r := New(Config{Rate: 1e9})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 2000 {
				r.Put(member(i, "t"))
				r.Poll(fmt.Sprintf("U-%06d", (i*7+g)%2000), "t", noon, time.Duration(i))
				if i%100 == g {
					r.Heard(nil)
					_ = r.Save(func(int, []byte) error { return nil })
					r.Remove(fmt.Sprintf("U-%06d", i))
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, 2000, r.Len())
}

// The heap that a unit takes; the issue asks for at most 600 bytes resident of
// all that the service keeps.
func TestMemory(t *testing.T) {
	const units = 200_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	r := New(Config{})
	for i := range units {
		r.Put(member(i, "t"))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := float64(after.HeapAlloc-before.HeapAlloc) / units
	t.Logf("%.0f bytes a unit", each)
	require.Less(t, each, 200.0)
	runtime.KeepAlive(r)
}

func BenchmarkPoll(b *testing.B) {
	for _, units := range []int{1000, 1_000_000} {
		b.Run(fmt.Sprint(units), func(b *testing.B) {
			r := New(Config{Rate: 1e9})
			ids, tokens := make([]string, units), make([]string, units)
			for i := range units {
				tokens[i] = fmt.Sprintf("fut_%043d", i)
				m := member(i, tokens[i])
				ids[i] = m.UnitID
				r.Put(m)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				k := i * 7919 % units
				if _, v, _ := r.Poll(ids[k], tokens[k], noon, time.Duration(i)); v != Welcome {
					b.Fatal(v)
				}
			}
		})
	}
}
