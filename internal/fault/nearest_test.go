package fault_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fault"
)

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"unit", "purposes", "retention"}
	for got, want := range map[string]string{
		"unti": "unit", "Purpose": "purposes", "retnetion": "retention", "colour": "", "": "", strings.Repeat("u", 70): "",
	} {
		require.Equal(t, want, fault.Nearest(got, known), got)
	}
}
