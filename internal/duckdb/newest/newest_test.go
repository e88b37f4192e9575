package newest_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/duckdb/newest"
)

func TestValues(t *testing.T) {
	t.Parallel()
	v := newest.New(newest.NewBudget(100))
	two, one := v.Unit(2), v.Unit(1)
	require.Same(t, two, v.Unit(2))
	v.Stage(two, 3, 10, 1)
	keys, _, ok := v.All(nil, []int{3})
	require.True(t, ok)
	require.Empty(t, keys, "nobody sees what is not stored yet")
	require.True(t, v.Publish())
	v.Stage(one, 0, 5, 7)
	v.Stage(two, 3, 9, 2)  // late
	v.Stage(two, 3, 10, 3) // the later of one time
	v.Stage(two, 0, -1, 4)
	require.True(t, v.Publish())

	keys, values, ok := v.All(nil, []int{3, 0})
	require.True(t, ok)
	require.Equal(t, []int64{1, 2}, keys)
	require.Equal(t, []newest.Value{{Event: newest.None}, {Event: 5, Number: 7}, {Event: 10, Number: 3}, {Event: -1, Number: 4}}, values)
	keys, _, _ = v.All([]int64{2, 1, 9}, []int{3})
	require.Equal(t, []int64{2}, keys)

	v.Expire([]int64{0, 0, 0, 11})
	values, _ = v.Of(2)
	for _, one := range values {
		require.False(t, one.Known())
	}
	v.Erase([]int64{1}, []int{0})
	keys, _, _ = v.All(nil, []int{0, 3})
	require.Empty(t, keys)
	v.Erase([]int64{1, 2}, nil)
	require.NotSame(t, two, v.Unit(2))
}

// Who needs more than the budget has none, and gives back what it held.
func TestBudget(t *testing.T) {
	t.Parallel()
	b := newest.NewBudget(4)
	v, w := newest.New(b), newest.New(b)
	v.Stage(v.Unit(1), 2, 1, 1)
	require.True(t, v.Publish())
	w.Stage(w.Unit(1), 0, 1, 1)
	require.True(t, w.Publish())
	v.Stage(v.Unit(2), 0, 1, 1)
	require.False(t, v.Publish())
	_, _, ok := v.All(nil, []int{0})
	require.False(t, ok)
	_, ok = v.Of(1)
	require.False(t, ok)
	w.Stage(w.Unit(1), 2, 1, 1)
	w.Stage(w.Unit(2), 0, 1, 1)
	require.True(t, w.Publish())
	w.Erase([]int64{1}, nil)
	w.Stage(w.Unit(2), 3, 1, 1)
	require.True(t, w.Publish())
}

// Readers see a row whole or not at all.
func TestReadersBeside(t *testing.T) {
	t.Parallel()
	v := newest.New(newest.NewBudget(1000))
	const units, rounds = 20, 500
	var group sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		group.Go(func() {
			for {
				_, values, ok := v.All(nil, []int{0, 1})
				if !ok {
					t.Error("they were given up")
					return
				}
				for i := 0; i < len(values); i += 2 {
					if values[i] != values[i+1] {
						t.Errorf("%v, %v", values[i], values[i+1])
						return
					}
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for round := range rounds {
		for key := range int64(units) {
			u := v.Unit(key)
			v.Stage(u, 0, int64(round), float64(round))
			v.Stage(u, 1, int64(round), float64(round))
		}
		if !v.Publish() {
			t.Error("not published")
		}
	}
	close(done)
	group.Wait()
}
