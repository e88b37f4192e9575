// Package influx is the door for what speaks InfluxDB line protocol, as
// Telegraf does: POST /write as InfluxDB 1.x has it and POST /api/v2/write as
// 2.x has it, and the little else that their clients ask for first.
package influx

import (
	"hash/maphash"
	"net/http"
	"strings"
	"sync"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/device/door"
	"fettle.dev/fettle/internal/device/gather"
)

// Version is what clients are told; some decide by it how to write.
const Version = "1.8-fettle"

// Handler answers /write, /api/v2/write, /query, /ping and /health.
type Handler struct {
	mux  *http.ServeMux
	door *door.Door
}

// Paths are where the Handler belongs.
var Paths = []string{"/write", "/api/v2/write", "/query", "/ping", "/health"}

// New makes the handler.
func New(d *door.Door) *Handler {
	h := &Handler{mux: http.NewServeMux(), door: d}
	one, two := dialect{h.failOne, h.partialOne}, dialect{h.failTwo, h.partialTwo}
	h.mux.HandleFunc("POST /write", d.Unit(h.write(one, precisionsOne), h.failOne, credentials))
	h.mux.HandleFunc("POST /api/v2/write", d.Unit(h.write(two, precisionsTwo), h.failTwo, nil))
	h.mux.HandleFunc("GET /query", d.Unit(h.query, h.failOne, credentials))
	h.mux.HandleFunc("POST /query", d.Unit(h.query, h.failOne, credentials))
	h.mux.HandleFunc("GET /ping", h.ping)
	h.mux.HandleFunc("GET /health", h.health)
	return h
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Influxdb-Build", "OSS")
	w.Header().Set("X-Influxdb-Version", Version)
	h.mux.ServeHTTP(w, r)
}

// credentials are those of InfluxDB 1.x: u and p of the query, or Basic, or Token.
func credentials(r *http.Request) (unitID, token string, ok bool) {
	if r.Header.Get("Authorization") != "" {
		return door.Credentials(r)
	}
	q := r.URL.Query()
	return q.Get("u"), q.Get("p"), q.Get("u") != ""
}

// dialect is how a version of InfluxDB says what went wrong.
type dialect struct {
	fail    door.Fail
	partial func(w http.ResponseWriter, m mistakes)
}

// precision makes a timestamp of a request's precision a Time.
type precision func(n int64) gather.Time

// coarse is a precision of so many milliseconds.
func coarse(ms int64) precision {
	const most = 1 << 53
	return func(n int64) gather.Time {
		return gather.Time{Event: min(max(n, -most/ms), most/ms) * ms, Known: true}
	}
}

func micros(n int64) gather.Time {
	t := gather.Nanoseconds(n) // of a thousandth of its milliseconds
	return gather.Time{Event: t.Event*1000 + int64(t.Nanos)/1000, Nanos: t.Nanos % 1000 * 1000, Known: true}
}

var (
	precisionsTwo = map[string]precision{
		"": gather.Nanoseconds, "ns": gather.Nanoseconds, "us": micros, "ms": coarse(1), "s": coarse(1000),
	}
	precisionsOne = map[string]precision{
		"": gather.Nanoseconds, "n": gather.Nanoseconds, "ns": gather.Nanoseconds, "u": micros, "us": micros, "µ": micros,
		"ms": coarse(1), "s": coarse(1000), "m": coarse(60_000), "h": coarse(3_600_000),
	}
)

var parsers = sync.Pool{New: func() any { return new(parser) }}

var seed = maphash.MakeSeed()

func (h *Handler) write(say dialect, precisions map[string]precision) door.Handler {
	return func(w http.ResponseWriter, r *http.Request, id device.Identity) {
		at, ok := precisions[r.URL.Query().Get("precision")]
		if !ok {
			say.fail(w, r, door.Refuse(http.StatusBadRequest, "invalid precision "+quote([]byte(r.URL.Query().Get("precision")))))
			return
		}
		declared, err := h.door.Gateway().Declaration(r.Context(), id)
		if err != nil {
			say.fail(w, r, err)
			return
		}
		body, err := h.door.Body(w, r)
		if err != nil {
			say.fail(w, r, err)
			return
		}
		defer body.Free()
		samples := gather.New(declared)
		defer samples.Free()
		p := parsers.Get().(*parser)
		defer parsers.Put(p)
		m := read(p, body.Bytes, at, declared, samples)
		for range m.malformed {
			h.door.Gateway().Malformed("influx")
		}
		outcomes := samples.Outcomes()
		if err := h.door.Store(r.Context(), id, samples.Messages, outcomes); err != nil {
			say.fail(w, r, err)
			return
		}
		door.Results(w.Header(), outcomes)
		m.lost(samples.Losses(), declared.Product())
		if m.count > 0 {
			say.partial(w, m)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

// read parses a body into samples; what it cannot read it notes and passes over.
func read(p *parser, body []byte, at precision, declared device.Declaration, samples *gather.Samples) (m mistakes) {
	p.reset(body)
	var name []byte
	for {
		more, err := p.next()
		if !more {
			return m
		}
		if err != nil {
			m.unreadable(p.line, p.raw, err)
			continue
		}
		m.lines++
		var t gather.Time
		if p.timed {
			t = at(p.time)
		}
		series := maphash.Bytes(seed, p.series)
		for i := range p.fields {
			f := &p.fields[i]
			var signal int
			signal, name = p.signal(declared, f.key, name)
			v := f.value
			if signal < 0 {
				v.Name = []byte(string(p.measurement) + "." + string(f.key))
			}
			samples.Add(t, p.line, series, signal, v)
		}
	}
}

// signal finds what a field is declared as: by a source measurement.field, by
// its own name, by measurement_field, or for a field called value by its
// measurement.
func (p *point) signal(declared device.Declaration, key, scratch []byte) (signal int, name []byte) {
	name = append(append(append(scratch[:0], p.measurement...), '.'), key...)
	if i, ok := declared.Source(name, p.tag); ok {
		return i, name
	}
	if i, ok := declared.Named(key); ok {
		return i, name
	}
	name[len(p.measurement)] = '_'
	if i, ok := declared.Named(name); ok {
		return i, name
	}
	if string(key) == "value" {
		if i, ok := declared.Named(p.measurement); ok {
			return i, name
		}
	}
	return -1, name
}

func (h *Handler) ping(w http.ResponseWriter, r *http.Request) {
	if v := r.URL.Query().Get("verbose"); v != "" && v != "0" && v != "false" {
		door.Write(w, http.StatusOK, "application/json", map[string]string{"version": Version})
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (h *Handler) health(w http.ResponseWriter, _ *http.Request) {
	door.Write(w, http.StatusOK, "application/json", struct {
		Name    string   `json:"name"`
		Message string   `json:"message"`
		Status  string   `json:"status"`
		Checks  []string `json:"checks"`
		Version string   `json:"version"`
	}{"fettle", "ready for writes", "pass", []string{}, Version})
}

// result is the answer to one statement.
type result struct {
	Statement int      `json:"statement_id"`
	Series    []series `json:"series,omitempty"`
	Error     string   `json:"error,omitempty"`
}

type series struct {
	Name    string     `json:"name"`
	Columns []string   `json:"columns"`
	Values  [][]string `json:"values"`
}

// query answers what clients say before they write: there is one database, it
// is there, and everything about it has been done.
func (h *Handler) query(w http.ResponseWriter, r *http.Request, _ device.Identity) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	results := []result{}
	for q := range strings.SplitSeq(r.FormValue("q"), ";") {
		words := strings.Fields(strings.ToUpper(q))
		if len(words) == 0 {
			continue
		}
		out := result{Statement: len(results)}
		switch verb := strings.Join(words[:min(2, len(words))], " "); verb {
		case "CREATE DATABASE", "CREATE RETENTION", "ALTER RETENTION":
		case "SHOW DATABASES":
			out.Series = []series{{"databases", []string{"name"}, [][]string{{"fettle"}}}}
		default:
			out.Error = "this door takes writes only; history is read through Fettle's own API"
		}
		results = append(results, out)
	}
	if len(results) == 0 {
		h.failOne(w, r, door.Refuse(http.StatusBadRequest, `missing required parameter "q"`))
		return
	}
	door.Write(w, http.StatusOK, "application/json", map[string][]result{"results": results})
}
