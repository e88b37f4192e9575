package bus_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"fettle.dev/fettle/internal/peer/disk"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/bus"
	"fettle.dev/fettle/internal/telemetry"
)

// image is a stream's directory as a killed process leaves it.
type image struct {
	dir  string
	n    int // entries acknowledged
	cfg  bus.Config
	stop func() // the process that still runs
}

func (i *image) blocks() string { return filepath.Join("jetstream", "$G", "streams", "fettle", "msgs") }

// copied is a directory of its own, as after kill -9.
func (i *image) copied(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "stream")
	require.NoError(t, os.CopyFS(dir, os.DirFS(i.dir)))
	return dir
}

// prepared fills three files; trimmed, the first begins in its middle.
func prepared(t *testing.T, trimmed bool) *image {
	t.Helper()
	i := &image{dir: t.TempDir()}
	i.cfg = bus.Config{MaxBytes: 120 << 10, MaxAge: 1}
	i.cfg.Acknowledged = func(seq uint64) { i.n = max(i.n, int(seq)) }
	cfg := i.cfg
	cfg.Dir = i.dir
	b := open(t, cfg)
	for n := range 60 {
		require.NoError(t, b.Publish(t.Context(), filled(n)))
	}
	if trimmed {
		_, err := b.Trim(t.Context(), 40)
		require.NoError(t, err)
	}
	require.Equal(t, 60, i.n)
	i.cfg.Acknowledged = nil
	i.stop = func() { require.NoError(t, b.Close()) }
	return i
}

func filled(n int) *telemetry.Batch {
	b := one(n)
	text := make([]byte, 1300)
	for i := range text {
		text[i] = byte('a' + (n+i)%26)
	}
	b.Rows[0].Values = append(b.Rows[0].Values, telemetry.Value{Signal: "log", Text: string(text), IsText: true})
	return b
}

// held opens a directory and gives the entries it holds, or the refusal.
func held(t *testing.T, cfg bus.Config, from uint64) (map[uint64]int64, error) {
	t.Helper()
	b, err := bus.Open(t.Context(), cfg, quiet)
	if err != nil {
		return nil, err
	}
	defer func() { require.NoError(t, b.Close()) }()
	if err := b.Holds(t.Context(), from); err != nil {
		return nil, err
	}
	last, err := b.Last(t.Context())
	require.NoError(t, err)
	got := map[uint64]int64{}
	enough := errors.New("enough")
	if last > from {
		err = b.Consume(t.Context(), from, 100, func(_ context.Context, batches []telemetry.Sequenced) error {
			for _, e := range batches {
				got[e.Seq] = e.Batch.Rows[0].Unit
				if e.Seq == last {
					return enough
				}
			}
			return nil
		})
		require.ErrorIs(t, err, enough)
	}
	// What is written now has a sequence that nobody had.
	require.NoError(t, b.Publish(t.Context(), one(1)))
	now, err := b.Last(t.Context())
	require.NoError(t, err)
	require.Equal(t, last+1, now)
	return got, nil
}

// Whatever a disk does to what was synced is found, and nothing is touched.
func TestDamageIsNamed(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"killed", "stopped", "killed after a trim"} {
		image := prepared(t, state == "killed after a trim")
		if state == "stopped" {
			image.stop()
		}
		for _, file := range []string{"1.blk", "2.blk", "3.blk"} {
			whole, err := os.ReadFile(filepath.Join(image.dir, image.blocks(), file))
			if errors.Is(err, os.ErrNotExist) {
				require.Equal(t, "killed after a trim", state)
				continue
			}
			require.NoError(t, err)
			for _, at := range []int{0, 3, 30, len(whole) / 3, len(whole) - 1400, len(whole) - 9, len(whole) - 1} {
				for name, damage := range disk.Damages {
					t.Run(fmt.Sprintf("%s/%s/%s at %d", state, file, name, at), func(t *testing.T) {
						t.Parallel()
						dir := image.copied(t)
						path := filepath.Join(dir, image.blocks(), file)
						damaged := damage(append([]byte{}, whole...), at)
						if bytes.Equal(damaged, whole) { // a checksum that ends in zero, zeroed
							return
						}
						require.NoError(t, os.WriteFile(path, damaged, 0o600))
						cfg := image.cfg
						cfg.Dir, cfg.Reached = dir, 60
						got, err := held(t, cfg, 40)
						if err == nil && state == "killed after a trim" { // what tells that entries were trimmed may go
							require.Len(t, got, 20)
							return
						}
						require.ErrorIs(t, err, bus.ErrDamaged)
						require.ErrorContains(t, err, image.blocks())
						after, err := os.ReadFile(path)
						require.NoError(t, err)
						require.Equal(t, damaged, after, "what is there is left as evidence")
					})
				}
			}
		}
		t.Run(state+"/files gone", func(t *testing.T) {
			t.Parallel()
			for _, file := range []string{"2.blk", "3.blk"} {
				dir := image.copied(t)
				require.NoError(t, os.Remove(filepath.Join(dir, image.blocks(), file)))
				cfg := image.cfg
				cfg.Dir, cfg.Reached = dir, 60
				_, err := held(t, cfg, 30)
				require.ErrorIs(t, err, bus.ErrDamaged, file)
			}
		})
		t.Run(state+"/whole", func(t *testing.T) {
			t.Parallel()
			for _, gone := range []string{"", "index.db", "../meta.inf", "../meta.sum"} {
				dir := image.copied(t)
				if gone != "" {
					path := filepath.Join(dir, image.blocks(), gone)
					_ = os.Remove(path)
					require.NoError(t, os.WriteFile(path, []byte("garbage"), 0o600))
				}
				cfg := image.cfg
				cfg.Dir, cfg.Reached = dir, 60
				got, err := held(t, cfg, 40)
				require.NoError(t, err, gone)
				require.Len(t, got, 20, gone)
			}
		})
	}
}

// JetStream's checksum leaves out how long an entry's headers are: wherever a bit
// flips before them, in the middle of what was synced, it is found.
func TestNoBitOfAnEntrysHeadFlipsUnseen(t *testing.T) {
	t.Parallel()
	const head, subject = 22, len("fettle.telemetry")
	image := prepared(t, false)
	path := filepath.Join(image.dir, image.blocks(), "2.blk")
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, bus.CheckFiles(image.dir, "fettle", 60))
	second := int(binary.LittleEndian.Uint32(whole) &^ (1 << 31))
	require.Less(t, second, len(whole)/2, "entries follow it")
	for bit := range 8 * (head + subject + 4) {
		damaged := bytes.Clone(whole)
		damaged[second+bit/8] ^= 1 << (bit % 8)
		require.NoError(t, os.WriteFile(path, damaged, 0o600))
		require.ErrorIs(t, bus.CheckFiles(image.dir, "fettle", 60), bus.ErrDamaged, "bit %d of byte %d", bit%8, bit/8)
	}
	require.NoError(t, os.WriteFile(path, whole, 0o600))
}

// What was written and never synced was never acknowledged: it may go.
func TestTornTailIsCutOff(t *testing.T) {
	t.Parallel()
	image := prepared(t, false)
	file := filepath.Join(image.blocks(), "3.blk")
	synced, err := os.ReadFile(filepath.Join(image.dir, file))
	require.NoError(t, err)
	cfg := image.cfg
	cfg.Dir = image.copied(t)
	b := open(t, cfg)
	require.NoError(t, b.Publish(t.Context(), filled(60)))
	more, err := os.ReadFile(filepath.Join(cfg.Dir, file))
	require.NoError(t, err)
	require.Greater(t, len(more), len(synced))
	for _, at := range []int{len(synced), len(synced) + 1, len(synced) + 4, len(synced) + 22, len(synced) + 700, len(more) - 8, len(more) - 1} {
		for name, damage := range disk.Damages {
			t.Run(fmt.Sprintf("%s at %d", name, at-len(synced)), func(t *testing.T) {
				t.Parallel()
				cfg := image.cfg
				cfg.Dir, cfg.Reached = image.copied(t), 60
				damaged := damage(append([]byte{}, more...), at)
				if bytes.Equal(damaged, more) { // as above
					return
				}
				require.NoError(t, os.WriteFile(filepath.Join(cfg.Dir, file), damaged, 0o600))
				got, err := held(t, cfg, 0)
				require.NoError(t, err)
				require.Len(t, got, 60)
				for seq, unit := range got {
					require.EqualValues(t, seq-1, unit)
				}
			})
		}
	}
}

// What reading every entry costs a start.
func BenchmarkCheckFiles(b *testing.B) {
	dir := b.TempDir()
	s, err := bus.Open(b.Context(), bus.Config{Dir: dir}, quiet)
	require.NoError(b, err)
	batch := filled(1)
	for i := range 200 {
		batch.Rows = append(batch.Rows, filled(i).Rows...)
	}
	for range 400 {
		require.NoError(b, s.Publish(b.Context(), batch))
	}
	state, err := s.Stats(b.Context())
	require.NoError(b, err)
	require.NoError(b, s.Close())
	b.SetBytes(int64(state.Bytes))
	for b.Loop() {
		require.NoError(b, bus.CheckFiles(dir, "fettle", state.Last))
	}
}
