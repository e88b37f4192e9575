// Package otlp is the door for OpenTelemetry metrics over HTTP (OTLP 1.x):
// POST /v1/metrics, in protobuf or JSON. SDK exporters and the Collector send
// there without being told more than the address and the credential.
package otlp

import (
	"fmt"
	"mime"
	"net/http"
	"strings"

	collector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/device/door"
	"fettle.dev/fettle/internal/device/gather"
)

// Pattern is where the Handler belongs.
const Pattern = "POST /v1/metrics"

const (
	mediaProto = "application/x-protobuf"
	mediaJSON  = "application/json"
)

// New makes the handler.
func New(d *door.Door) http.Handler {
	h := &handler{d}
	return d.Unit(h.post, h.fail, nil)
}

type handler struct{ door *door.Door }

// media is the encoding of a request, and so of its answer.
func media(r *http.Request) string {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return kind
}

func (h *handler) post(w http.ResponseWriter, r *http.Request, id device.Identity) {
	kind := media(r)
	if kind != mediaProto && kind != mediaJSON {
		h.fail(w, r, door.Refuse(http.StatusUnsupportedMediaType, "Content-Type must be "+mediaProto+" or "+mediaJSON))
		return
	}
	declared, err := h.door.Gateway().Declaration(r.Context(), id)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	body, err := h.door.Body(w, r)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	defer body.Free()
	data, err := decode(kind, body.Bytes)
	if err != nil {
		h.door.Gateway().Malformed("otlp")
		h.fail(w, r, door.Refuse(http.StatusBadRequest, "not an OTLP export of metrics: "+err.Error()))
		return
	}
	in := reader{declared: declared, samples: gather.New(declared)}
	defer in.samples.Free()
	in.read(data)
	outcomes := in.samples.Outcomes()
	if err := h.door.Store(r.Context(), id, in.samples.Messages, outcomes); err != nil {
		h.fail(w, r, err)
		return
	}
	door.Results(w.Header(), outcomes)
	answer(w, kind, http.StatusOK, &collector.ExportMetricsServiceResponse{PartialSuccess: in.partial(in.samples.Losses())})
}

// decode reads an ExportMetricsServiceRequest, which is a MetricsData on the
// wire and in JSON.
func decode(kind string, body []byte) (*metricspb.MetricsData, error) {
	data := new(metricspb.MetricsData)
	if kind == mediaProto {
		return data, proto.UnmarshalOptions{DiscardUnknown: true, RecursionLimit: 64}.Unmarshal(body, data)
	}
	return data, protojson.UnmarshalOptions{DiscardUnknown: true, RecursionLimit: 64}.Unmarshal(body, data)
}

// maxTold is how many refused data points an answer names.
const maxTold = 10

// partial tells how many data points were refused, by name; nil if none was.
// A data point counts once, and what an owner did not consent to is none.
func (r *reader) partial(losses []gather.Loss) *collector.ExportMetricsPartialSuccess {
	rejected := map[int]struct{}{}
	told := map[string]bool{}
	var words []string
	for _, l := range losses {
		why := l.Why
		switch l.Fate {
		case device.NotConsented:
			continue
		case device.Undeclared:
			why = "not declared: give product " + r.declared.Product() + " a signal of this name, or one with this source"
		case device.Invalid:
		}
		rejected[l.Row] = struct{}{}
		text := r.points[l.Row] + ": " + why
		if l.Name != r.points[l.Row] {
			text = r.points[l.Row] + " (" + l.Name + "): " + why
		}
		if !told[text] {
			told[text] = true
			words = append(words, text)
		}
	}
	if len(rejected) == 0 {
		return nil
	}
	if len(words) > maxTold {
		words = append(words[:maxTold], fmt.Sprintf("and %d more", len(words)-maxTold))
	}
	return &collector.ExportMetricsPartialSuccess{RejectedDataPoints: int64(len(rejected)), ErrorMessage: strings.Join(words, "; ")}
}

// fail answers with a google.rpc.Status, as the protocol asks.
func (h *handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	f := h.door.Refusal(r, err)
	f.Headers(w.Header())
	kind := media(r)
	if kind != mediaProto {
		kind = mediaJSON
	}
	answer(w, kind, f.Status, &statuspb.Status{Message: f.Detail})
}

func answer(w http.ResponseWriter, kind string, status int, m proto.Message) {
	var raw []byte
	if kind == mediaProto {
		raw, _ = proto.Marshal(m) // what is written here always encodes
	} else {
		raw, _ = protojson.Marshal(m)
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_, _ = w.Write(raw) // a client that is gone needs no answer
}
