package peers

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzDecode(f *testing.F) {
	r := &rule{by: []string{"hardware"}}
	s := r.New().(*state)
	s.means.Add(3, 1.5)
	s.outside, s.first = 1, 7
	f.Add(s.Encode(nil))
	f.Add(r.EncodeGroup(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := r.Decode(data); err == nil {
			once := s.Encode(nil)
			again, err := r.Decode(once)
			require.NoError(t, err)
			require.Equal(t, once, again.Encode(nil))
		}
		g := &rule{}
		if g.DecodeGroup(data) == nil {
			again := &rule{}
			require.NoError(t, again.DecodeGroup(g.EncodeGroup(nil)))
			require.Equal(t, g.EncodeGroup(nil), again.EncodeGroup(nil))
		}
	})
}
