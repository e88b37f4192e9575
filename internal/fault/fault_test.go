package fault_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/fault"
)

func TestKindIsFoundThroughWrapping(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("start campaign: %w", fault.New(fault.NotFound, "no cohort %q", "hot"))
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	require.Equal(t, `start campaign: no cohort "hot"`, err.Error())
	require.Equal(t, fault.Internal, fault.KindOf(io.EOF))
}

func TestCauseIsKept(t *testing.T) {
	t.Parallel()
	require.ErrorIs(t, fault.Wrap(fault.Unavailable, "commit", io.ErrShortWrite), io.ErrShortWrite)
	require.ErrorIs(t, fault.New(fault.Invalid, "payload: %w", io.ErrUnexpectedEOF), io.ErrUnexpectedEOF)
	require.NoError(t, fault.Wrap(fault.Invalid, "nothing", nil))
}

func TestFields(t *testing.T) {
	t.Parallel()
	require.NoError(t, fault.Fields("product", nil))
	err := errors.Join(fault.Fields("product", []fault.Field{
		{Path: "spec.title", Expected: "a text"}, {Path: "spec.signals[0].unit", Expected: "a UCUM code", Got: `"C"`},
	}))
	require.Equal(t, `product: spec.title: expected a text; spec.signals[0].unit: expected a UCUM code, got "C"`, err.Error())
	require.Len(t, fault.FieldsOf(err), 2)
}
