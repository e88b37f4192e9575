package anomaly

import (
	"bytes"
	"encoding/gob"
	"fmt"
)

// version of the encoding.
const version = 1

// MarshalBinary encodes the whole state; equal detectors give equal bytes.
func (d *Detector) MarshalBinary() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte(version)
	return b.Bytes(), gob.NewEncoder(&b).Encode(d.cfg) // to come: the state itself
}

// UnmarshalBinary restores what MarshalBinary wrote.
func (d *Detector) UnmarshalBinary(raw []byte) error {
	if len(raw) < 1 || raw[0] != version {
		return fmt.Errorf("anomaly: not a state of version %d", version)
	}
	return gob.NewDecoder(bytes.NewReader(raw[1:])).Decode(&d.cfg)
}
