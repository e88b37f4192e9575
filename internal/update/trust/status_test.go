package trust

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatSignaturesAreAwaited(t *testing.T) {
	t.Parallel()
	add, change, remove := Change{What: "add"}, Change{What: "change"}, Change{What: "remove"}
	for want, pending := range map[string][]Change{
		"1 target waits for signatures":                                                 {add},
		"2 targets wait for signatures":                                                 {add, change},
		"1 target is to be taken out of the signed list":                                {remove},
		"2 targets are to be taken out of the signed list":                              {remove, remove},
		"1 target waits for signatures, 1 target is to be taken out of the signed list": {change, remove},
	} {
		require.Equal(t, want, awaited(pending))
	}
}
