package trust

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"time"

	"fettle.dev/fettle/internal/fault"
)

// SignedReport is a version report on the wire: exactly the bytes that were
// signed, the key, and the signature over reportContext and the bytes. unitkit
// makes the same.
type SignedReport struct {
	Signed    []byte `json:"signed"`
	Key       []byte `json:"key"`
	Signature []byte `json:"signature"`
}

// VersionReport is what a unit says of the software it runs (Uptane Standard,
// 5.4.2.1: the vehicle version manifest).
type VersionReport struct {
	Unit     string            `json:"unit"`
	Sequence uint64            `json:"sequence"`
	Time     time.Time         `json:"time"`
	Versions map[string]string `json:"versions"`
	Hardware map[string]string `json:"hardware,omitempty"`
	Counters map[string]uint64 `json:"counters,omitempty"`
	Action   int64             `json:"action,omitempty"`
}

const reportContext = "fettle version report 1\n"

// ReportCode names why a version report is refused.
type ReportCode string

// The reasons.
const (
	ReportForged   ReportCode = "report-forged"   // not signed by the key it names, or unreadable
	ReportKey      ReportCode = "report-key"      // signed by another key than the unit's first report
	ReportUnit     ReportCode = "report-unit"     // of another unit
	ReportReplayed ReportCode = "report-replayed" // its number is not above that of the last
)

// ReportError refuses a version report by name.
type ReportError struct {
	Code ReportCode
	Err  error
}

func (e *ReportError) Error() string { return "refused as " + string(e.Code) + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *ReportError) Unwrap() error { return e.Err }

// ReadReport verifies a report's signature by the key it names.
func ReadReport(body []byte) (SignedReport, VersionReport, error) {
	var s SignedReport
	var r VersionReport
	refuse := func(format string, args ...any) (SignedReport, VersionReport, error) {
		return SignedReport{}, VersionReport{}, &ReportError{ReportForged, fault.New(fault.Invalid, format, args...)}
	}
	if err := json.Unmarshal(body, &s); err != nil {
		return refuse("the version report cannot be read: %w", err)
	}
	if len(s.Key) != ed25519.PublicKeySize || !ed25519.Verify(s.Key, append([]byte(reportContext), s.Signed...), s.Signature) {
		return refuse("the version report's signature is wrong")
	}
	if err := json.Unmarshal(s.Signed, &r); err != nil {
		return refuse("the version report cannot be read: %w", err)
	}
	return s, r, nil
}

// Report takes a version report of a unit that has proven who it is by its
// credential. The key of its first report is the unit's from then on: whoever
// copies reports, or steals the credential alone, can report nothing.
func (s *Service) Report(ctx context.Context, unitID string, body []byte) error {
	err := s.report(ctx, unitID, body)
	if r, ok := errors.AsType[*ReportError](err); ok {
		s.cfg.Refused(string(r.Code))
		s.cfg.Log.WarnContext(ctx, "a version report was refused", "unit", unitID, "as", string(r.Code), "error", r.Err)
	}
	return err
}

func (s *Service) report(ctx context.Context, unitID string, body []byte) error {
	signed, r, err := ReadReport(body)
	if err != nil {
		return err
	}
	if r.Unit != unitID {
		return &ReportError{ReportUnit, fault.New(fault.Denied, "the version report is of another unit")}
	}
	err = s.cfg.Tx.InTx(ctx, func(ctx context.Context) error {
		known, err := s.cfg.Store.Reporter(ctx, unitID)
		switch {
		case fault.KindOf(err) == fault.NotFound:
		case err != nil:
			return err
		case !bytes.Equal(known.Key, signed.Key):
			return &ReportError{ReportKey, fault.New(fault.Denied, "the unit has reported with another key before: if it was set up anew, an operator must say so (fettle keys forget-unit %s)", unitID)}
		case r.Sequence <= known.Sequence:
			return &ReportError{ReportReplayed, fault.New(fault.Conflict, "version report %d came after %d", r.Sequence, known.Sequence)}
		}
		return s.cfg.Store.PutReporter(ctx, Reporter{Unit: unitID, Key: signed.Key, Sequence: r.Sequence, At: s.cfg.Clock.Now(), Report: body})
	})
	if err != nil {
		return err
	}
	// Not in that transaction: it waits for the stream. Should it fail, the
	// unit reports again, with the next number.
	return s.cfg.Versions(ctx, unitID, r.Versions)
}

// ForgetUnit lets a unit that was set up anew report with a new key.
func (s *Service) ForgetUnit(ctx context.Context, unitID string) error {
	return s.cfg.Store.ForgetReporter(ctx, unitID)
}
