package telemetry

import (
	"context"
	"time"
)

// Exporter writes history to a file that other programs read.
type Exporter interface {
	// Export writes rows to a Parquet file, which must not be there, and says
	// how many. Columns: unit_id (text), event_time and receive_time
	// (timestamps, UTC), sequence (0: the unit sends none), then one for each of
	// q.Signals. A row is one message of a unit; rows that may be given nothing
	// of are left out. Their order is that of history: not by time alone.
	Export(ctx context.Context, q ExportQuery, file string) (rows int64, err error)
}

// ExportQuery picks what is exported of a product.
type ExportQuery struct {
	Product  string
	Units    []ExportUnit
	Signals  []ExportSignal
	From, To time.Time // event time, [From, To); zero: open
}

// ExportUnit is a unit as whoever reads the file knows it, and the signals that
// may be given of it.
type ExportUnit struct {
	Key     int64
	ID      string
	Signals []string
}

// ExportSignal is a signal with the type of its column: "number" (double),
// "boolean" or "text".
type ExportSignal struct {
	Name, Type string
}
