package ddi

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"fettle.dev/fettle/internal/device"
	"fettle.dev/fettle/internal/update"
)

// sleep is after how long a client is told to poll again, with the answer to
// one that there is nothing for, made once.
type sleep struct {
	time.Duration
	of     time.Duration // what it was made of
	text   string        // as hawkBit has it, 00:05:00
	idle   []byte
	length []string
}

func newSleep(d time.Duration) sleep {
	s := int(max(d, time.Second) / time.Second)
	s = min(s, 23*3600+59*60+59) // hawkBit's format ends there
	out := sleep{of: d, Duration: time.Duration(s) * time.Second, text: fmt.Sprintf("%02d:%02d:%02d", s/3600, s/60%60, s%60)}
	out.idle = []byte(`{"config":{"polling":{"sleep":"` + out.text + `"}}}`)
	out.length = []string{strconv.Itoa(len(out.idle))}
	return out
}

// Values of headers, shared by all answers: nobody may change them.
var (
	isJSON  = []string{"application/json"}
	notKept = []string{"no-store"}
)

// poll answers what there is for a unit to do. Idle ones cost neither a read of
// the records nor an allocation here.
func (h *Handler) poll(w http.ResponseWriter, r *http.Request, unit string) error {
	id, err := h.identify(r, unit, nil)
	if err != nil {
		return err
	}
	work, err := h.cfg.Updates.Work(r.Context(), id.UnitID)
	if err != nil {
		return err
	}
	sleep := &h.usual
	if h.cfg.Bench != nil {
		if d := h.cfg.Bench.Polling(id.Product); d > 0 {
			asked := newSleep(d)
			sleep = &asked
			h.cfg.Units.Told(id.UnitID, d)
		}
	}
	open, units := h.cfg.Offers.Open(id.UnitID)
	if (open || work.Open) && sleep == &h.usual && !h.cfg.Units.Listening(id.UnitID) {
		if sleep = h.whileOffered(units); sleep != &h.usual {
			h.cfg.Units.Told(id.UnitID, sleep.Duration)
		}
	}
	if work.Action == nil && work.Installed == 0 && !work.Attributes {
		h.metrics.idle.Inc()
		header := w.Header()
		header["Content-Type"], header["Cache-Control"], header["Content-Length"] = isJSON, notKept, sleep.length
		_, _ = w.Write(sleep.idle) // a client that is gone needs no answer
		return nil
	}
	links := map[string]ref{}
	if work.Attributes {
		links["configData"] = h.href(r, id.UnitID, "/configData")
	}
	if a := work.Action; a != nil {
		n := strconv.FormatInt(a.ID, 10)
		if a.State == update.Canceling {
			links["cancelAction"] = h.href(r, id.UnitID, "/cancelAction/"+n)
		} else {
			links["deploymentBase"] = h.href(r, id.UnitID, "/deploymentBase/"+n+"?c="+version(a))
		}
		h.metrics.work.Inc()
	} else {
		h.metrics.idle.Inc()
	}
	if n := work.Installed; n != 0 {
		links["installedBase"] = h.href(r, id.UnitID, "/installedBase/"+strconv.FormatInt(n, 10))
	}
	reply(w, http.StatusOK, base{Config: config{polling{sleep.text}}, Links: links})
	return nil
}

// openRate is how many polls a second there may be of units whose owners have
// an offer open: it is there for a start to come soon, not to add load.
const openRate = 1000

// whileOffered is the sleep of units whose owners have an offer open, of which
// there are so many. It is made once for each number of seconds.
func (h *Handler) whileOffered(units int) *sleep {
	want := max(h.cfg.Offered, time.Duration(units/openRate)*time.Second)
	if want >= h.usual.Duration {
		return &h.usual
	}
	if s := h.offered.Load(); s != nil && s.of == want {
		return s
	}
	s := newSleep(want)
	h.offered.Store(&s)
	return &s
}

type polling struct {
	Sleep string `json:"sleep"`
}

type config struct {
	Polling polling `json:"polling"`
}

type base struct {
	Config config         `json:"config"`
	Links  map[string]ref `json:"_links,omitempty"`
}

// from is the address that a request came from.
func from(r *http.Request) netip.Addr {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap()
}

var _ Units = (*device.Gateway)(nil)
