package register_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"fettle.dev/fettle/internal/audit/chain"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/update/register"
)

// memory is a chain in memory.
type memory struct {
	register.Store
	seq  int64
	hash string
	list []register.Record
}

func (m *memory) Append(_ context.Context, seal func(int64, string) (register.Entry, register.Record, error)) error {
	e, r, err := seal(m.seq, m.hash)
	m.seq, m.hash, m.list = e.Seq, r.Hash, append(m.list, r)
	return err
}

func chainOf(tb testing.TB, n int) []register.Record {
	tb.Helper()
	m := &memory{}
	for i := range n {
		require.NoError(tb, register.Append(tb.Context(), m, register.Entry{
			At: time.Unix(int64(i), 5000), Event: register.Reported, Unit: int64(i%2 + 1), Product: "p",
			Before: []register.Software{}, After: []register.Software{{Component: "software", Version: fmt.Sprint(i)}},
		}))
	}
	return m.list
}

func check(list []register.Record) error {
	var c register.Chain
	for _, r := range list {
		if _, err := c.Next(r); err != nil {
			return err
		}
	}
	return nil
}

func TestWhateverIsTamperedWithIsNamed(t *testing.T) {
	t.Parallel()
	require.NoError(t, check(chainOf(t, 5)))
	reseal := func(r *register.Record, old, now string) {
		r.Entry = json.RawMessage(strings.Replace(string(r.Entry), old, now, 1))
	}
	for name, c := range map[string]struct {
		tamper func([]register.Record) []register.Record
		want   string
	}{
		"changed": {func(l []register.Record) []register.Record { reseal(&l[2], `"version":"2"`, `"version":"9"`); return l }, "entry 3 was changed"},
		"changed and hashed anew": {func(l []register.Record) []register.Record {
			other := chainOf(t, 5)
			reseal(&other[2], `"version":"2"`, `"version":"9"`)
			l[2] = register.Record{Hash: "", Entry: other[2].Entry}
			l[2].Hash = hashOf(l[2].Entry)
			return l
		}, "entry 4 does not follow entry 3"},
		"left out":             {func(l []register.Record) []register.Record { return append(l[:1], l[2:]...) }, "entry 2 is missing: entry 3 stands in its place"},
		"twice":                {func(l []register.Record) []register.Record { return append(l[:2:2], l[1:]...) }, "entry 3 is not in its place: entry 2 stands there"},
		"places changed":       {func(l []register.Record) []register.Record { l[1], l[2] = l[2], l[1]; return l }, "entry 2 is missing"},
		"no JSON":              {func(l []register.Record) []register.Record { l[4].Entry = json.RawMessage("{"); return l }, "entry 5 cannot be read"},
		"first from elsewhere": {func(l []register.Record) []register.Record { return chainOf(t, 2)[1:] }, "entry 1 is missing"},
	} {
		require.ErrorContains(t, check(c.tamper(chainOf(t, 5))), c.want, name)
	}
}

func hashOf(entry []byte) string {
	h := sha256.Sum256(entry)
	return hex.EncodeToString(h[:])
}

func FuzzRead(f *testing.F) {
	var good strings.Builder
	for _, r := range chainOf(f, 3) {
		fmt.Fprintf(&good, "{\"hash\":%q,\"entry\":%s}\n", r.Hash, r.Entry)
	}
	f.Add(good.String())
	f.Add("{}\n\n[]")
	f.Add(`{"hash":"","entry":null}`)
	f.Fuzz(func(t *testing.T, text string) {
		var c register.Chain
		n := int64(0)
		err := chain.Read(strings.NewReader(text), func(r register.Record) error {
			e, err := c.Next(r)
			if err == nil {
				n++
				if e.Seq != n || c.Seq != n || c.Hash != r.Hash {
					t.Fatalf("entry %d taken as %d", e.Seq, n)
				}
			}
			return err
		})
		if text == good.String() && (err != nil || n != 3) {
			t.Fatalf("the whole chain: %d, %v", n, err)
		}
	})
}
