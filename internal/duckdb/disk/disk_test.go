package disk

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// What reading every block costs a start.
func BenchmarkCheckBlocks(b *testing.B) {
	const size, n = 256 << 10, 1000
	data := make([]byte, blocksBegin+n*size)
	var blocks []int64
	for i := range n {
		block := data[blocksBegin+i*size:][:size]
		binary.LittleEndian.PutUint64(block, checksum(block[8:]))
		blocks = append(blocks, int64(i))
	}
	file := filepath.Join(b.TempDir(), "history")
	require.NoError(b, os.WriteFile(file, data, 0o600))
	b.SetBytes(n * size)
	for b.Loop() {
		require.NoError(b, CheckBlocks(file, size, blocks))
	}
}
