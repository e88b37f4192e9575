package ddi

import (
	"testing"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/update"
)

func FuzzFeedback(f *testing.F) {
	f.Add([]byte(`{"id":"1","time":"20140303T120000","status":{"execution":"closed","result":{"finished":"success","progress":{"cnt":1,"of":2}},"details":["a"]}}`))
	f.Add([]byte(`{"id":1,"status":{"execution":"proceeding","result":{"finished":"none","progress":{"cnt":"3","of":"2"}},"details":"one"}}`))
	f.Add([]byte(`{"status":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseFeedback(b)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatalf("%q: %v is not the client's mistake", b, err)
			}
			return
		}
		if s.id < 0 || s.done < 0 || s.done > s.of {
			t.Fatalf("%q: %+v", b, s)
		}
		switch got := s.update(); got.State {
		case update.Claimed:
			if s.execution != "closed" || s.finished == "failure" {
				t.Fatalf("%q claims success", b)
			}
		case update.Running, update.Failed, update.Canceled, "":
		default:
			t.Fatalf("%q: a client cannot say %q", b, got.State)
		}
		if c := s.cancel(); c.Refused && c.State == update.Canceled {
			t.Fatalf("%q both refuses and agrees", b)
		}
	})
}

func FuzzConfigData(f *testing.F) {
	f.Add([]byte(`{"data":{"a":"b","n":1,"t":true},"mode":"merge"}`))
	f.Add([]byte(`{"data":{"a":{}}}`))
	f.Add([]byte(`{"mode":"x"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		mode, _, err := parseConfigData(b)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatalf("%q: %v is not the client's mistake", b, err)
			}
			return
		}
		switch mode {
		case "", update.AttributesMerge, update.AttributesReplace, update.AttributesRemove:
		default:
			t.Fatalf("%q: mode %q", b, mode)
		}
	})
}
