package otlp

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/metric"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	collector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/device/devicetest"
	"fettle.dev/fettle/internal/device/door"
	"fettle.dev/fettle/internal/device/gather"
	"fettle.dev/fettle/internal/fleet"
)

type rig struct {
	*devicetest.House
	host string
	unit string
}

// newRig is a house whose product has what the tests' instruments send.
func newRig(tb testing.TB, cfg door.Config, change func(*device.Config)) *rig {
	tb.Helper()
	h := devicetest.New(tb, change)
	p := devicetest.Charger()
	p.Signals[0].Unit, p.Signals[1].Unit = "A", "Cel"
	p.Signals[0].Sources = []fleet.Source{{Name: "charger.current", Where: map[string]string{"phase": "1"}}}
	for _, name := range []string{"charge_seconds_count", "charge_seconds_sum", "sessions"} {
		s := p.Signals[4]
		s.Name = name
		p.Signals = append(p.Signals, s)
	}
	require.NoError(tb, h.DB.Fleet().PutProduct(tb.Context(), p))
	mux := http.NewServeMux()
	mux.Handle(Pattern, New(door.New(h.Gateway, h.Gateway, cfg, nil)))
	srv := httptest.NewServer(mux)
	tb.Cleanup(srv.Close)
	return &rig{h, strings.TrimPrefix(srv.URL, "http://"), h.Units(1)[0]}
}

func (r *rig) exporter(tb testing.TB, options ...otlpmetrichttp.Option) sdk.Exporter {
	tb.Helper()
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(r.unit+":"+r.Token(r.unit)))
	e, err := otlpmetrichttp.New(tb.Context(), append([]otlpmetrichttp.Option{
		otlpmetrichttp.WithEndpoint(r.host), otlpmetrichttp.WithInsecure(),
		otlpmetrichttp.WithHeaders(map[string]string{"Authorization": basic}),
	}, options...)...)
	require.NoError(tb, err)
	return e
}

// The unmodified SDK of OpenTelemetry delivers, plain and with gzip.
func TestSDK(t *testing.T) {
	t.Parallel()
	for name, compression := range map[string]otlpmetrichttp.Compression{"plain": otlpmetrichttp.NoCompression, "gzip": otlpmetrichttp.GzipCompression} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, door.Config{}, func(c *device.Config) { c.MaxAhead = 100 * 365 * 24 * time.Hour }) // the SDK has the machine's time
			e := r.exporter(t, otlpmetrichttp.WithCompression(compression))
			provider := sdk.NewMeterProvider(sdk.WithReader(sdk.NewPeriodicReader(e, sdk.WithInterval(time.Hour))))
			meter := provider.Meter("charger")
			current, err := meter.Float64Gauge("charger.current", metric.WithUnit("mA"))
			require.NoError(t, err)
			current.Record(t.Context(), 15500, metric.WithAttributes(attribute.Int("phase", 1)))
			temperature, err := meter.Float64Gauge("plug.temperature", metric.WithUnit("Cel"))
			require.NoError(t, err)
			temperature.Record(t.Context(), 41.5)
			sessions, err := meter.Int64Counter("sessions", metric.WithUnit("{session}"))
			require.NoError(t, err)
			sessions.Add(t.Context(), 3)
			sessions.Add(t.Context(), 4)
			charge, err := meter.Float64Histogram("charge.seconds", metric.WithUnit("s"))
			require.NoError(t, err)
			charge.Record(t.Context(), 60)
			charge.Record(t.Context(), 120)
			require.NoError(t, provider.ForceFlush(t.Context()))
			got := map[string]float64{}
			for _, row := range r.Stream.Rows() {
				require.Zero(t, row.Undeclared+row.Invalid+row.NotConsented)
				for _, v := range row.Values {
					got[v.Signal] = v.Number
				}
			}
			require.Equal(t, map[string]float64{
				"current": 15.5, "plug_temperature": 41.5, "sessions": 7, "charge_seconds_count": 2, "charge_seconds_sum": 180,
			}, got)

			// What is not kept is told by name, and what is kept is kept.
			other, err := meter.Float64Histogram("boot.seconds")
			require.NoError(t, err)
			other.Record(t.Context(), 1)
			current.Record(t.Context(), 1, metric.WithAttributes(attribute.Int("phase", 2)))
			volts, err := meter.Float64Gauge("error", metric.WithUnit("V"))
			require.NoError(t, err)
			volts.Record(t.Context(), 1)
			before := len(r.Stream.Rows())
			err = provider.ForceFlush(t.Context())
			require.ErrorContains(t, err, "2 metric data points rejected")
			require.ErrorContains(t, err, "boot.seconds (boot.seconds_count, _sum, _min or _max): not declared")
			require.ErrorContains(t, err, "charger.current: not declared: give product wall-charger a signal of this name, or one with this source")
			require.Greater(t, len(r.Stream.Rows()), before)
		})
	}
}

func TestSDKComesAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, door.Config{Room: 50 * time.Millisecond, Wait: 200 * time.Millisecond}, func(c *device.Config) { c.InFlight = 60 })
	e := r.exporter(t, otlpmetrichttp.WithRetry(otlpmetrichttp.RetryConfig{Enabled: true, InitialInterval: 10 * time.Millisecond, MaxInterval: 50 * time.Millisecond, MaxElapsedTime: 2 * time.Minute}))
	at := r.Clock.Now()
	data := &metricdata.ResourceMetrics{ScopeMetrics: []metricdata.ScopeMetrics{{Metrics: []metricdata.Metrics{{
		Name: "error", Data: metricdata.Gauge[int64]{DataPoints: []metricdata.DataPoint[int64]{{Time: at, Value: 1}}},
	}}}}}
	r.Stream.Hold()
	first := make(chan error, 1)
	go func() { first <- e.Export(context.Background(), data) }()
	require.Eventually(t, func() bool { // whoever comes first fills what may be in flight
		code, _ := r.post(t, mediaJSON, `{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"error","gauge":{"dataPoints":[{"asInt":"1"}]}}]}]}]}`)
		return code == 429
	}, time.Minute, 10*time.Millisecond)
	second := make(chan error, 1)
	go func() { second <- e.Export(context.Background(), data) }()
	time.Sleep(200 * time.Millisecond)
	r.Stream.Release()
	require.NoError(t, <-first)
	require.NoError(t, <-second, "it was told to come again, and did")
}

func (r *rig) post(tb testing.TB, kind, body string) (int, string) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, "http://"+r.host+"/v1/metrics", bytes.NewReader([]byte(body)))
	require.NoError(tb, err)
	req.Header.Set("Authorization", "Bearer "+r.unit+":"+r.Token(r.unit))
	req.Header.Set("Content-Type", kind)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(tb, err)
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	require.NoError(tb, err)
	return resp.StatusCode, string(b)
}

func TestJSON(t *testing.T) {
	t.Parallel()
	r := newRig(t, door.Config{}, nil)
	at := devicetest.Start.UnixNano()
	code, got := r.post(t, mediaJSON, fmt.Sprintf(`{"resourceMetrics":[{"resource":{"attributes":[{"key":"phase","value":{"stringValue":"1"}}]},"scopeMetrics":[{"metrics":[
		{"name":"charger.current","unit":"A","gauge":{"dataPoints":[{"timeUnixNano":"%d","asDouble":1.5},{"timeUnixNano":"%d","asDouble":2.5},{"timeUnixNano":"%d","flags":1}]}},
		{"name":"sessions","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{"timeUnixNano":"%d","asInt":"7","exemplars":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","asInt":"1"}]}]}},
		{"name":"label","gauge":{"dataPoints":[{"asInt":1}]}},
		{"name":"error","unit":"s","gauge":{"dataPoints":[{"attributes":[{"key":"a","value":{"intValue":"1"}}],"asInt":1},{"attributes":[{"key":"a","value":{"intValue":"2"}}],"asInt":2}]}},
		{"name":"charge.seconds","summary":{"dataPoints":[{"count":"3","sum":9,"quantileValues":[{"quantile":0.5,"value":3}]}]}},
		{"name":"plug_temperature","unit":"V","gauge":{"dataPoints":[{"asDouble":1}]}}
	],"unknownField":1}]}]}`, at, at+100, at, at))
	require.Equal(t, 200, code, got)
	require.JSONEq(t, `{"partialSuccess":{"rejectedDataPoints":"3","errorMessage":"label: expected a string; error: another series of this request has a value for it at the same time; tell them apart by where, in the signal's sources; plug_temperature: its unit V is not Cel, as declared, nor one of the same kind"}}`, got)
	rows := r.Stream.Rows()
	require.Equal(t, "current", rows[0].Values[0].Signal, "an attribute of the resource is enough")
	require.Equal(t, "sessions", rows[0].Values[1].Signal)
	require.EqualValues(t, 100, rows[1].Sequence)
	r.Consent(r.unit, false)
	code, got = r.post(t, mediaJSON, `{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"plug.temperature","gauge":{"dataPoints":[{"asDouble":1}]}}]}]}]}`)
	require.Equal(t, 200, code)
	require.JSONEq(t, `{}`, got, "what its owner did not permit is no mistake of the sender's")
	code, got = r.post(t, mediaJSON, `{}`)
	require.Equal(t, 200, code)
	require.JSONEq(t, `{}`, got)
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	r := newRig(t, door.Config{MaxBody: 4096}, nil)
	code, got := r.post(t, mediaJSON, `{`)
	require.Equal(t, 400, code)
	require.Contains(t, got, `"message":"not an OTLP export of metrics`)
	code, got = r.post(t, mediaProto, "\x01")
	require.Equal(t, 400, code)
	var status statuspb.Status
	require.NoError(t, proto.Unmarshal([]byte(got), &status))
	require.Contains(t, status.GetMessage(), "not an OTLP export")
	code, _ = r.post(t, "text/plain", "x")
	require.Equal(t, 415, code)
	code, _ = r.post(t, mediaProto, strings.Repeat("x", 5000))
	require.Equal(t, 413, code)
	r.Stream.Fail(errors.New("no space left on device"))
	code, _ = r.post(t, mediaJSON, `{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"error","gauge":{"dataPoints":[{"asInt":1}]}}]}]}]}`)
	require.Equal(t, 503, code)
	resp, err := http.Post("http://"+r.host+"/v1/metrics", mediaProto, strings.NewReader(""))
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, 401, resp.StatusCode)
}

func FuzzExport(f *testing.F) {
	good, err := proto.Marshal(&collector.ExportMetricsServiceRequest{ResourceMetrics: []*metricspb.ResourceMetrics{{ScopeMetrics: []*metricspb.ScopeMetrics{{Metrics: []*metricspb.Metric{
		{Name: "error", Unit: "1", Data: &metricspb.Metric_Gauge{Gauge: &metricspb.Gauge{DataPoints: []*metricspb.NumberDataPoint{{TimeUnixNano: 1, Value: &metricspb.NumberDataPoint_AsInt{AsInt: 1}}}}}},
		{Name: "h", Data: &metricspb.Metric_Histogram{Histogram: &metricspb.Histogram{DataPoints: []*metricspb.HistogramDataPoint{{Count: 1}}}}},
	}}}}}})
	require.NoError(f, err)
	f.Add(good, true)
	f.Add([]byte(`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"error","sum":{"dataPoints":[{"asDouble":"NaN"}]}}]}]}]}`), false)
	h := devicetest.New(f, nil)
	declared, err := h.Gateway.Declaration(f.Context(), h.Identity(h.Units(1)[0]))
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, body []byte, binary bool) {
		kind := mediaJSON
		if binary {
			kind = mediaProto
		}
		data, err := decode(kind, body)
		if err != nil {
			return
		}
		in := reader{declared: declared, samples: gather.New(declared)}
		defer in.samples.Free()
		in.read(data)
		rows := 0
		for _, m := range in.samples.Messages {
			rows += len(m.Values)
		}
		require.GreaterOrEqual(t, rows, len(in.points), "each data point is accounted for")
	})
}

// As docs/doors.md tells it: the address and the credential, and nothing else.
func TestSDKByEnvironment(t *testing.T) {
	r := newRig(t, door.Config{}, func(c *device.Config) { c.MaxAhead = 100 * 365 * 24 * time.Hour })
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+r.host)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20"+r.unit+":"+r.Token(r.unit))
	e, err := otlpmetrichttp.New(t.Context())
	require.NoError(t, err)
	provider := sdk.NewMeterProvider(sdk.WithReader(sdk.NewPeriodicReader(e, sdk.WithInterval(time.Hour))))
	gauge, err := provider.Meter("charger").Int64Gauge("error")
	require.NoError(t, err)
	gauge.Record(t.Context(), 3)
	require.NoError(t, provider.Shutdown(t.Context()))
	require.Len(t, r.Stream.Rows(), 1)
}
