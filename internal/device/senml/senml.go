// Package senml is the door for Sensor Measurement Lists (RFC 8428), in JSON
// and CBOR: POST /fettle/v1/senml. The RFC defines media types and no path;
// this one stands beside the other doors of a unit's own.
package senml

import (
	"hash/maphash"
	"mime"
	"net/http"
	"slices"
	"strings"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/device/door"
	"fettle.dev/fettle/internal/device/gather"
	"fettle.dev/fettle/internal/fleet"
	"fettle.dev/fettle/internal/fleet/measure"
)

// Pattern is where the Handler belongs.
const Pattern = "POST /fettle/v1/senml"

// media are the types taken.
var media = map[string]func(body []byte) ([]record, error){
	"application/senml+json":  func(b []byte) ([]record, error) { return parseJSON(b, false) },
	"application/sensml+json": func(b []byte) ([]record, error) { return parseJSON(b, true) },
	"application/senml+cbor":  func(b []byte) ([]record, error) { return parseCBOR(b, false) },
	"application/sensml+cbor": func(b []byte) ([]record, error) { return parseCBOR(b, true) },
}

const accepted = "application/senml+json, application/senml+cbor, application/sensml+json, application/sensml+cbor"

var seed = maphash.MakeSeed()

// New makes the handler.
func New(d *door.Door) http.Handler {
	return d.Unit(func(w http.ResponseWriter, r *http.Request, id device.Identity) { post(d, w, r, id) }, d.Fail, nil)
}

// answer says what became of a pack: the sum over its records, and each record
// of which something was not kept, for a reason the sender can mend.
type answer struct {
	Kept         int       `json:"kept"`
	NotConsented int       `json:"notConsented"`
	Undeclared   int       `json:"undeclared"`
	Invalid      int       `json:"invalid"`
	Refused      []refused `json:"refused,omitempty"`
}

type refused struct {
	Record int    `json:"record"` // index in the pack
	Name   string `json:"name"`
	Why    string `json:"why"`
}

// maxTold is how many records of an answer are named.
const maxTold = 1000

func post(d *door.Door, w http.ResponseWriter, r *http.Request, id device.Identity) {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	parse := media[kind]
	if parse == nil {
		w.Header().Set("Accept-Post", accepted)
		d.Fail(w, r, door.Refuse(http.StatusUnsupportedMediaType, "Content-Type must be one of "+accepted))
		return
	}
	declared, err := d.Gateway().Declaration(r.Context(), id)
	if err != nil {
		d.Fail(w, r, err)
		return
	}
	body, err := d.Body(w, r)
	if err != nil {
		d.Fail(w, r, err)
		return
	}
	defer body.Free()
	pack, err := parse(body.Bytes)
	var records []resolved
	if err == nil {
		records, err = resolve(pack, d.Gateway().Now())
	}
	if err != nil {
		d.Gateway().Malformed("senml")
		d.Fail(w, r, err)
		return
	}
	samples := gather.New(declared)
	defer samples.Free()
	var a answer
	for i := range records {
		if r := &records[i]; r.wrong != nil {
			d.Gateway().Malformed("senml")
			a.Invalid++
			a.Refused = append(a.Refused, refused{r.index, r.full, r.wrong.String()})
			continue
		}
		add(samples, declared, &records[i])
	}
	outcomes := samples.Outcomes()
	if err := d.Store(r.Context(), id, samples.Messages, outcomes); err != nil {
		d.Fail(w, r, err)
		return
	}
	for i := range outcomes {
		o := &outcomes[i]
		a.Kept += o.Kept
		a.NotConsented += o.NotConsented
		a.Undeclared += o.Undeclared
		a.Invalid += o.Invalid
	}
	for _, l := range samples.Losses() {
		if l.Fate == device.NotConsented {
			continue
		}
		if l.Fate == device.Undeclared {
			l.Why = "not declared: give product " + declared.Product() + " a signal of this name, or one with this source"
		}
		a.Refused = append(a.Refused, refused{l.Row, l.Name, l.Why})
	}
	slices.SortStableFunc(a.Refused, func(x, y refused) int { return x.Record - y.Record })
	a.Refused = a.Refused[:min(len(a.Refused), maxTold)]
	door.Write(w, http.StatusOK, "application/json", a)
}

// add puts a record's value and sum in.
func add(samples *gather.Samples, declared device.Declaration, r *resolved) {
	series := maphash.String(seed, r.full)
	put := func(signal int, v device.Value, name, code string) {
		v.Name = []byte(name)
		if signal >= 0 {
			convert(&v, declared.Signal(signal), code)
		}
		samples.Add(r.at, r.index, series, signal, v)
	}
	code := measure.SenML(r.unit)
	if r.value.Kind != 0 {
		put(find(declared, r, ""), r.value, r.full, code)
	}
	if r.sum.is {
		put(find(declared, r, "_sum"), device.Value{Kind: device.KindNumber, Number: r.sum.value}, r.full+"_sum", measure.Summed(code))
	}
}

// convert makes a number one in the signal's unit, or refuses it.
func convert(v *device.Value, s *fleet.Signal, code string) {
	if v.Kind != device.KindNumber || s.Type != fleet.Number {
		return
	}
	n, ok := measure.Convert(v.Number, code, s.Unit)
	if !ok {
		v.Kind, v.Text = device.KindRefused, []byte("its unit "+shorten(code)+" is not "+s.Unit+", as declared, nor one of the same kind")
		return
	}
	v.Number = n
}

// find tells which signal a record is of: one that declares the whole name as
// a source, else one named as the whole, as n alone, or as what follows the
// last : or / of the whole.
func find(declared device.Declaration, r *resolved, suffix string) int {
	if i, ok := declared.Source([]byte(r.full+suffix), nil); ok {
		return i
	}
	last := r.full[strings.LastIndexAny(r.full, ":/")+1:]
	for _, name := range []string{r.full, r.name, last, strings.NewReplacer("-", "_", ".", "_").Replace(last)} {
		if i, ok := declared.Named([]byte(name + suffix)); ok {
			return i
		}
	}
	return -1
}
