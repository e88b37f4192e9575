// Package spool keeps messages on a unit's disk until the server has them. It
// takes no more room than it may: the oldest are dropped, and counted.
//
// Messages stand in files of a bounded size, one a line, in the order in which
// they came. A file goes when all of it has been sent, so that after a restart
// some are sent again; the server recognises them by their time and number.
package spool

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Message is one thing to be sent.
type Message struct {
	Seq  uint64          `json:"seq"`
	Kind string          `json:"kind"` // telemetry or events
	Body json.RawMessage `json:"body"`
}

// The kinds.
const (
	Telemetry = "telemetry"
	Events    = "events"
)

const (
	suffix   = ".jsonl"
	maxLine  = 256 << 10
	maxSeq   = 1 << 53 // the most that the server takes
	syncEach = 10 * time.Second
)

// Spool is a directory of messages. Its methods may be called at the same time.
type Spool struct {
	dir     string
	max     int64 // bytes of all files
	segment int64 // bytes of one
	now     func() time.Time

	mu      sync.Mutex
	files   []segment // oldest first; the last may be open
	w       *os.File
	synced  time.Time
	seq     uint64 // of the next message
	dropped uint64
	sent    uint64 // every message below this one is sent
	more    chan struct{}
}

type segment struct {
	first, end uint64 // numbers of its first message, and past its last
	size       int64
}

// unsent is how many of its messages are not sent, when all below sent are.
func (g segment) unsent(sent uint64) uint64 { return g.end - min(max(g.first, sent), g.end) }

// Open takes up the spool in a directory. It uses at most so many bytes there.
func Open(dir string, most int64, now func() time.Time) (*Spool, error) {
	s := &Spool{dir: dir, max: most, segment: min(most/8, 256<<10), now: now, seq: 1, more: make(chan struct{}, 1)}
	if s.segment < 1024 {
		return nil, fmt.Errorf("a spool of %d bytes is too small: give it 8 KiB at least", most)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		name, ok := strings.CutSuffix(e.Name(), suffix)
		first, err := strconv.ParseUint(name, 10, 64)
		if !ok || err != nil || first > maxSeq {
			continue
		}
		messages, size, err := read(s.path(first), first)
		if err != nil {
			return nil, err
		}
		if len(messages) == 0 {
			if err := os.Remove(s.path(first)); err != nil {
				return nil, err
			}
			continue
		}
		end := messages[len(messages)-1].Seq + 1
		s.files = append(s.files, segment{first, end, size})
		s.seq = max(s.seq, end)
	}
	slices.SortFunc(s.files, func(a, b segment) int { return cmp.Compare(a.first, b.first) })
	raw, err := os.ReadFile(s.counter())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	s.dropped, _ = strconv.ParseUint(strings.TrimSpace(string(raw)), 10, 64) // a torn count is none
	return s, nil
}

func (s *Spool) path(first uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%020d", first)+suffix)
}

func (s *Spool) counter() string { return filepath.Join(s.dir, "dropped") }

// read gives the messages of a file that are whole and in their order; a power
// cut may have torn some.
func read(name string, first uint64) ([]Message, int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	var out []Message
	r := bufio.NewReaderSize(f, 64<<10)
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return out, info.Size(), nil // what has no end is torn
		}
		if err != nil {
			return nil, 0, err
		}
		var m Message
		if json.Unmarshal(line, &m) == nil && m.Seq >= first && m.Seq <= maxSeq && len(m.Body) > 0 && (m.Kind == Telemetry || m.Kind == Events) {
			out, first = append(out, m), m.Seq+1
		}
	}
}

// Put appends a message, and drops the oldest ones where there is no room. Its
// number is fill's argument.
func (s *Spool) Put(kind string, fill func(seq uint64) (json.RawMessage, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, err := fill(s.seq)
	if err != nil {
		return err
	}
	line, err := json.Marshal(Message{s.seq, kind, body})
	if err != nil {
		return err
	}
	if len(line) > maxLine || int64(len(line)) > s.segment {
		return fmt.Errorf("a message of %d bytes is too long: %d are the most", len(line), min(maxLine, s.segment))
	}
	line = append(line, '\n')
	if err := s.room(int64(len(line))); err != nil {
		return err
	}
	if err := s.open(int64(len(line))); err != nil {
		return err
	}
	n, err := s.w.Write(line)
	last := &s.files[len(s.files)-1]
	last.size += int64(n)
	s.seq++
	last.end = s.seq
	if err != nil { // the line is torn: the next begins a new file
		return errors.Join(err, s.close())
	}
	if now := s.now(); now.Sub(s.synced) >= syncEach || now.Before(s.synced) {
		s.synced = now
		if err := s.w.Sync(); err != nil {
			return err
		}
	}
	select {
	case s.more <- struct{}{}:
	default:
	}
	return nil
}

// More is sent to when there may be something to send.
func (s *Spool) More() <-chan struct{} { return s.more }

// room drops the oldest files until size bytes fit.
func (s *Spool) room(size int64) error {
	for s.bytes()+size > s.max && len(s.files) > 0 {
		old := s.files[0]
		if len(s.files) == 1 {
			if err := s.close(); err != nil {
				return err
			}
		}
		if err := s.drop(old.unsent(s.sent)); err != nil {
			return err
		}
		if err := s.remove(); err != nil {
			return err
		}
	}
	return nil
}

// drop counts what is lost before it is.
func (s *Spool) drop(n uint64) error {
	if n == 0 {
		return nil
	}
	s.dropped += n
	return os.WriteFile(s.counter(), []byte(strconv.FormatUint(s.dropped, 10)+"\n"), 0o600)
}

func (s *Spool) remove() error {
	err := os.Remove(s.path(s.files[0].first))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.files = slices.Delete(s.files, 0, 1)
	return nil
}

func (s *Spool) bytes() (n int64) {
	for _, f := range s.files {
		n += f.size
	}
	return n
}

// open sees that there is a file with room to write to.
func (s *Spool) open(size int64) error {
	if s.w != nil && s.files[len(s.files)-1].size+size > s.segment {
		if err := s.close(); err != nil {
			return err
		}
	}
	if s.w != nil {
		return nil
	}
	f, err := os.OpenFile(s.path(s.seq), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	s.w = f
	s.files = append(s.files, segment{first: s.seq, end: s.seq})
	return nil
}

func (s *Spool) close() error {
	if s.w == nil {
		return nil
	}
	w := s.w
	s.w = nil
	return errors.Join(w.Sync(), w.Close())
}

// Close brings everything to the disk.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.close()
}

// Next gives the oldest messages that are not sent, all of one kind: at most n
// of them, and about size bytes. None is nil.
func (s *Spool) Next(n int, size int) ([]Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.files {
		if f.unsent(s.sent) == 0 {
			continue
		}
		list, _, err := read(s.path(f.first), f.first)
		if err != nil {
			return nil, err
		}
		var out []Message
		for _, m := range list {
			if m.Seq < s.sent {
				continue
			}
			if len(out) == n || len(out) > 0 && (m.Kind != out[0].Kind || size < len(m.Body)) {
				return out, nil
			}
			size -= len(m.Body)
			out = append(out, m)
		}
		if len(out) > 0 {
			return out, nil
		}
	}
	return nil, nil
}

// Sent forgets what was sent, up to and with a message's number.
func (s *Spool) Sent(seq uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = max(s.sent, seq+1)
	for len(s.files) > 0 && s.files[0].unsent(s.sent) == 0 {
		if len(s.files) == 1 {
			if s.w != nil && s.files[0].size < s.segment/2 {
				return nil // it goes on being written
			}
			if err := s.close(); err != nil {
				return err
			}
		}
		if err := s.remove(); err != nil {
			return err
		}
	}
	return nil
}

// Dropped is how many messages were lost for want of room since it was last
// forgotten.
func (s *Spool) Dropped() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped
}

// Told forgets n dropped messages: the server knows.
func (s *Spool) Told(n uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropped -= min(n, s.dropped)
	if s.dropped == 0 {
		err := os.Remove(s.counter())
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return err
	}
	return os.WriteFile(s.counter(), []byte(strconv.FormatUint(s.dropped, 10)+"\n"), 0o600)
}

// Waiting is how many messages and bytes wait on the disk, those counted that
// a restart would send again.
func (s *Spool) Waiting() (messages uint64, size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.files {
		messages += f.unsent(s.sent)
		size += f.size
	}
	return messages, size
}

// Lines splits what a collector printed into its JSON objects; what is none is
// named.
func Lines(out []byte) (list []json.RawMessage, bad error) {
	for i, line := range bytes.Split(out, []byte("\n")) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if line[0] != '{' || !json.Valid(line) {
			bad = fmt.Errorf("line %d is no JSON object: %.60q", i+1, line)
			continue
		}
		list = append(list, bytes.Clone(line))
	}
	return list, bad
}
