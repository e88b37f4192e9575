package otlp

import (
	"fmt"
	"hash/maphash"
	"math"
	"strconv"
	"strings"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/device/gather"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/measure"
)

// reader makes samples of data points. Each data point is a row: what is not
// kept of it counts once.
type reader struct {
	declared device.Declaration
	samples  *gather.Samples
	points   []string // by row, what it is called
}

// point is one data point with all that says whose it is.
type point struct {
	metric     *metricspb.Metric
	attributes []*commonpb.KeyValue
	scope      *commonpb.InstrumentationScope
	resource   []*commonpb.KeyValue
	nanos      uint64
	row        int
	series     uint64
}

// attribute gives an attribute of the point, of its scope or of its resource.
func (p *point) attribute(key string) string {
	for _, list := range [][]*commonpb.KeyValue{p.attributes, p.scope.GetAttributes(), p.resource} {
		for _, kv := range list {
			if kv.GetKey() == key {
				return word(kv.GetValue())
			}
		}
	}
	return ""
}

// word is an attribute's value as a declaration writes it.
func word(v *commonpb.AnyValue) string {
	switch x := v.GetValue().(type) {
	case *commonpb.AnyValue_StringValue:
		return x.StringValue
	case *commonpb.AnyValue_BoolValue:
		return strconv.FormatBool(x.BoolValue)
	case *commonpb.AnyValue_IntValue:
		return strconv.FormatInt(x.IntValue, 10)
	case *commonpb.AnyValue_DoubleValue:
		return strconv.FormatFloat(x.DoubleValue, 'g', -1, 64)
	default:
		return ""
	}
}

// read takes all data points of a request.
func (r *reader) read(data *metricspb.MetricsData) {
	for _, rm := range data.GetResourceMetrics() {
		for _, sm := range rm.GetScopeMetrics() {
			for _, m := range sm.GetMetrics() {
				p := point{metric: m, scope: sm.GetScope(), resource: rm.GetResource().GetAttributes()}
				r.metric(p)
			}
		}
	}
}

func (r *reader) metric(p point) {
	switch d := p.metric.GetData().(type) {
	case *metricspb.Metric_Gauge:
		r.numbers(p, d.Gauge.GetDataPoints())
	case *metricspb.Metric_Sum:
		r.numbers(p, d.Sum.GetDataPoints())
	case *metricspb.Metric_Histogram:
		for _, h := range d.Histogram.GetDataPoints() {
			r.parts(p, h.GetAttributes(), h.GetTimeUnixNano(), h.GetFlags(), parts{
				count: h.GetCount(), sum: h.Sum, minimum: h.Min, maximum: h.Max, // whether they are there matters
			})
		}
	case *metricspb.Metric_ExponentialHistogram:
		for _, h := range d.ExponentialHistogram.GetDataPoints() {
			r.parts(p, h.GetAttributes(), h.GetTimeUnixNano(), h.GetFlags(), parts{
				count: h.GetCount(), sum: h.Sum, minimum: h.Min, maximum: h.Max, // whether they are there matters
			})
		}
	case *metricspb.Metric_Summary:
		for _, s := range d.Summary.GetDataPoints() {
			total := s.GetSum()
			r.parts(p, s.GetAttributes(), s.GetTimeUnixNano(), s.GetFlags(), parts{count: s.GetCount(), sum: &total})
		}
	}
}

// noValue is the flag of a data point that says there is none.
const noValue = uint32(metricspb.DataPointFlags_DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK)

// begin gives a data point its row.
func (r *reader) begin(p *point, attributes []*commonpb.KeyValue, nanos uint64) {
	p.attributes, p.nanos, p.row, p.series = attributes, nanos, len(r.points), series(p, attributes)
	r.points = append(r.points, p.metric.GetName())
}

func (r *reader) numbers(p point, points []*metricspb.NumberDataPoint) {
	for _, n := range points {
		if n.GetFlags()&noValue != 0 {
			continue
		}
		v := device.Value{Kind: device.KindOther}
		switch x := n.GetValue().(type) {
		case *metricspb.NumberDataPoint_AsDouble:
			v = device.Value{Kind: device.KindNumber, Number: x.AsDouble}
		case *metricspb.NumberDataPoint_AsInt:
			v = device.Value{Kind: device.KindNumber, Number: float64(x.AsInt)}
		}
		r.begin(&p, n.GetAttributes(), n.GetTimeUnixNano())
		signal := r.find(&p, "")
		r.add(&p, signal, "", v, p.metric.GetUnit())
	}
}

// parts are the figures of a distribution that can be signals.
type parts struct {
	count                 uint64
	sum, minimum, maximum *float64
}

// parts takes a distribution as the figures that are declared, NAME_count,
// NAME_sum, NAME_min and NAME_max. Its buckets are nothing a signal can hold:
// where none of the figures is declared the data point is refused.
func (r *reader) parts(p point, attributes []*commonpb.KeyValue, nanos uint64, flags uint32, of parts) {
	if flags&noValue != 0 {
		return
	}
	r.begin(&p, attributes, nanos)
	count := float64(of.count)
	found := false
	for _, part := range []struct {
		suffix, unit string
		value        *float64
	}{{"_count", "1", &count}, {"_sum", p.metric.GetUnit(), of.sum}, {"_min", p.metric.GetUnit(), of.minimum}, {"_max", p.metric.GetUnit(), of.maximum}} {
		if part.value == nil {
			continue
		}
		if signal := r.find(&p, part.suffix); signal >= 0 {
			found = true
			r.add(&p, signal, part.suffix, device.Value{Kind: device.KindNumber, Number: *part.value}, part.unit)
		}
	}
	if !found {
		r.add(&p, -1, "_count, _sum, _min or _max", device.Value{Kind: device.KindNumber}, "")
	}
}

// add puts one figure of a data point in.
func (r *reader) add(p *point, signal int, suffix string, v device.Value, unit string) {
	v.Name = []byte(p.metric.GetName() + suffix)
	if signal >= 0 && v.Kind == device.KindNumber {
		s := r.declared.Signal(signal)
		n, ok := measure.Convert(v.Number, unit, s.Unit)
		if s.Type == fleet.Number && !ok {
			v = device.Value{Kind: device.KindRefused, Text: []byte(fmt.Sprintf("its unit %.40s is not %s, as declared, nor one of the same kind", unit, s.Unit))}
		} else if s.Type == fleet.Number {
			v.Number = n
		}
	}
	var at gather.Time
	if p.nanos > 0 { // 0: the sender does not know
		at = gather.Nanoseconds(int64(min(p.nanos, math.MaxInt64)))
	}
	r.samples.Add(at, p.row, p.series, signal, v)
}

// find tells which signal a figure is of: one that declares the metric's name
// as a source, else one of that name, with dots and hyphens as underscores.
func (r *reader) find(p *point, suffix string) int {
	name := p.metric.GetName() + suffix
	if i, ok := r.declared.Source([]byte(name), p.attribute); ok {
		return i
	}
	if i, ok := r.declared.Named([]byte(name)); ok {
		return i
	}
	if i, ok := r.declared.Named([]byte(plain.Replace(name))); ok {
		return i
	}
	return -1
}

var plain = strings.NewReplacer(".", "_", "-", "_", "/", "_")

var seed = maphash.MakeSeed()

// series tells data points of different series apart.
func series(p *point, attributes []*commonpb.KeyValue) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	text := func(s string) {
		_, _ = h.WriteString(s)
		_ = h.WriteByte(0)
	}
	text(p.metric.GetName())
	text(p.scope.GetName())
	for _, list := range [][]*commonpb.KeyValue{p.resource, p.scope.GetAttributes(), attributes} {
		sum := uint64(0) // in any order
		for _, kv := range list {
			var one maphash.Hash
			one.SetSeed(seed)
			_, _ = one.WriteString(kv.GetKey())
			_ = one.WriteByte('=')
			if text := word(kv.GetValue()); text != "" {
				_, _ = one.WriteString(text)
			} else {
				_, _ = one.WriteString(kv.GetValue().String())
			}
			sum += one.Sum64()
		}
		text(strconv.FormatUint(sum, 36))
	}
	return h.Sum64()
}
