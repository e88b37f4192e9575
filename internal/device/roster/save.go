package roster

import (
	"encoding/binary"
	"sync/atomic"

	"fettle.dev/fettle/internal/fault"
)

// What is saved of a part is one version byte, then for each unit that was
// heard of its key (8 bytes) and the Unix second (4 bytes), little-endian.
const (
	saveVersion = 1
	saveSize    = 12
)

// Save gives each part that has changed since it was saved to put, and goes on
// after one that could not be put.
func (r *Roster) Save(put func(part int, body []byte) error) (err error) {
	for i := range r.parts {
		p := &r.parts[i]
		if !p.changed.Swap(false) {
			continue
		}
		if failed := put(i, p.body()); failed != nil {
			p.changed.Store(true)
			err = failed
		}
	}
	return err
}

func (p *part) body() []byte {
	p.mu.RLock()
	defer p.mu.RUnlock()
	body := make([]byte, 1, 1+saveSize*len(p.units))
	body[0] = saveVersion
	for i := range p.units {
		u := &p.units[i]
		if seen := atomic.LoadUint32(&u.seen); seen > 0 {
			body = binary.LittleEndian.AppendUint64(body, uint64(u.key))
			body = binary.LittleEndian.AppendUint32(body, seen)
		}
	}
	return body
}

// Restore takes in what was saved of a part. Units that are not in the roster
// are left out; a time that is known already stays when it is newer.
func (r *Roster) Restore(part int, body []byte) error {
	if part < 0 || part >= Parts || len(body) == 0 || body[0] != saveVersion || (len(body)-1)%saveSize != 0 {
		return fault.New(fault.Invalid, "when units were last heard of: part %d of %d bytes is not as it was saved", part, len(body))
	}
	seen := make(map[int64]uint32, len(body)/saveSize)
	for b := body[1:]; len(b) > 0; b = b[saveSize:] {
		seen[int64(binary.LittleEndian.Uint64(b))] = binary.LittleEndian.Uint32(b[8:])
	}
	p := &r.parts[part]
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.units {
		u := &p.units[i]
		u.seen = max(u.seen, seen[u.key])
	}
	return nil
}
