package trend

import (
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/detect/trend"
)

func FuzzDecode(f *testing.F) {
	r := &Rule{config: trend.Config{Bucket: 1000, Season: trend.Daily}}
	s := r.New().(*state)
	for i := range int64(40) {
		s.tracker.Add(i*1000, float64(i*i%7))
	}
	s.within, s.newest = 1, 39_000
	f.Add(s.Encode(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := r.Decode(data)
		if err != nil {
			return
		}
		once := s.Encode(nil)
		again, err := r.Decode(once)
		require.NoError(t, err)
		require.Equal(t, once, again.Encode(nil))
	})
}
