// Package export serves history as Parquet, as far as owners permit.
package export

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"fettle.dev/fettle/internal/fleet/access"

	"github.com/danielgtaylor/huma/v2"

	"fettle.dev/fettle/internal/api/frame"
	"fettle.dev/fettle/internal/audit"
	"fettle.dev/fettle/internal/consent"
	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/telemetry"
)

type exportIn struct {
	Name    string    `path:"name" doc:"The product."`
	Units   []string  `query:"unit,explode" doc:"Ids of units; absent: all of the product."`
	Signals []string  `query:"signal,explode" doc:"Names of signals; absent: all that the product declares."`
	From    time.Time `query:"from" doc:"Event time, included; absent: from the first."`
	To      time.Time `query:"to" doc:"Event time, not included; absent: to the last."`
}

// Headers of an answer.
const (
	headerRows     = "Fettle-Rows"
	headerWithheld = "Fettle-Units-Withheld"
	mediaType      = "application/vnd.apache.parquet"
)

// Register adds the operation to a server.
func Register(s *frame.Server, choices consent.Store, history telemetry.Exporter) {
	r := frame.Route{
		Method: http.MethodGet, Path: "/v1/products/{name}/export", ID: "exportHistory", Personal: audit.DataExport, Summary: "Download history as Parquet",
		Doc: "One file: a row for each message with unit_id, event_time, receive_time (UTC), sequence, and a column for each signal. " +
			"Values that an owner does not permit to be kept now are left out, and units of which nothing is permitted. " +
			"The file is made before the first byte is sent, in the service's temporary directory.",
		Tag: "products", Access: access.Export, Sight: frame.ByProduct,
	}
	op := r.Operation()
	text := func(doc string) *huma.Header {
		return &huma.Header{Description: doc, Schema: &huma.Schema{Type: "integer"}}
	}
	op.Responses = map[string]*huma.Response{"200": {
		Description: "The file.",
		Content:     map[string]*huma.MediaType{mediaType: {Schema: &huma.Schema{Type: "string", Format: "binary"}}},
		Headers:     map[string]*huma.Header{headerRows: text("Rows in the file."), headerWithheld: text("Units asked for of which nothing may be given.")},
	}}
	huma.Register(s.API, op, func(ctx context.Context, in *exportIn) (*huma.StreamResponse, error) {
		f, rows, withheld, err := file(ctx, s, choices, history, in)
		if err != nil {
			return nil, s.Problem(ctx, err)
		}
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			defer func() { _ = f.Close() }()
			ctx.SetHeader("Content-Type", mediaType)
			ctx.SetHeader("Content-Disposition", fmt.Sprintf(`attachment; filename="%s.parquet"`, in.Name))
			ctx.SetHeader(headerRows, strconv.FormatInt(rows, 10))
			ctx.SetHeader(headerWithheld, strconv.Itoa(withheld))
			ctx.SetStatus(http.StatusOK)
			if _, err := io.Copy(ctx.BodyWriter(), f); err != nil {
				panic(http.ErrAbortHandler) // so that the client sees a broken transfer, not a whole one
			}
		}}, nil
	})
}

// file makes the export; the file is gone from its directory already.
func file(ctx context.Context, s *frame.Server, choices consent.Store, history telemetry.Exporter, in *exportIn) (f *os.File, rows int64, withheld int, err error) {
	q, withheld, err := query(ctx, s, choices, in)
	if err != nil {
		return nil, 0, 0, err
	}
	if err := looked(ctx, s, in, q); err != nil {
		return nil, 0, 0, err
	}
	dir, err := os.MkdirTemp("", "fettle-export-")
	if err != nil {
		return nil, 0, 0, fault.Wrap(fault.Unavailable, "export", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "history.parquet")
	if rows, err = history.Export(consent.ForShown(ctx), *q, path); err != nil {
		return nil, 0, 0, err
	}
	f, err = os.Open(path)
	return f, rows, withheld, err
}

// query is what may be given of what is asked for.
func query(ctx context.Context, s *frame.Server, choices consent.Store, in *exportIn) (q *telemetry.ExportQuery, withheld int, err error) {
	p, err := s.Fleet.Product(ctx, in.Name)
	if err != nil {
		return nil, 0, err
	}
	var fields []fault.Field
	if !in.From.IsZero() && !in.To.IsZero() && !in.From.Before(in.To) {
		fields = append(fields, fault.Field{Path: "query.to", Expected: "a time after from, " + in.From.Format(time.RFC3339), Got: in.To.Format(time.RFC3339)})
	}
	q = &telemetry.ExportQuery{Product: p.Name, From: in.From, To: in.To}
	var signals []fleet.Signal
	for _, sig := range p.Signals {
		if len(in.Signals) == 0 || slices.Contains(in.Signals, sig.Name) {
			signals = append(signals, sig)
			q.Signals = append(q.Signals, telemetry.ExportSignal{Name: sig.Name, Type: string(sig.Type)})
		}
	}
	for _, name := range in.Signals {
		if _, ok := p.Signal(name); !ok {
			fields = append(fields, fault.Field{Path: "query.signal", Expected: "a signal of product " + p.Name, Got: name})
		}
	}
	units, err := s.Fleet.Units(ctx, fleet.Filter{Product: p.Name})
	if err != nil {
		return nil, 0, err
	}
	for _, id := range in.Units {
		if !slices.ContainsFunc(units, func(u fleet.Unit) bool { return u.ID == id }) {
			fields = append(fields, fault.Field{Path: "query.unit", Expected: "a unit of product " + p.Name, Got: id})
		}
	}
	if err := fault.Fields("export", fields); err != nil {
		return nil, 0, err
	}
	masks, err := choices.Masks(ctx, p.Name)
	if err != nil {
		return nil, 0, err
	}
	for _, u := range units {
		if len(in.Units) > 0 && !slices.Contains(in.Units, u.ID) {
			continue
		}
		unit := telemetry.ExportUnit{Key: u.Key, ID: u.ID}
		mask := masks[u.ID]
		for _, sig := range signals {
			if mask.Permits(&p, sig) {
				unit.Signals = append(unit.Signals, sig.Name)
			}
		}
		if len(unit.Signals) == 0 {
			withheld++
			continue
		}
		q.Units = append(q.Units, unit)
	}
	return q, withheld, nil
}

// looked enters whose data is given: of a whole product, that of everyone with
// a unit of it.
func looked(ctx context.Context, s *frame.Server, in *exportIn, q *telemetry.ExportQuery) error {
	if len(in.Units) == 0 {
		return audit.Looked(ctx, audit.EveryoneWith(in.Name))
	}
	var owners []string
	for _, u := range q.Units {
		one, err := s.Fleet.Unit(ctx, u.ID)
		if err != nil {
			return err
		}
		owners = append(owners, one.OwnerID)
	}
	return audit.Looked(ctx, owners...)
}
