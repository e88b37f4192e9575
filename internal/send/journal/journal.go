// Package journal remembers in a file which messages were sent, from the moment
// that the next hop took them until the records know it. A line is written
// before its connection is given another message, so that the death of the
// process repeats at most one message for each connection. The file is not
// synced: what was written outlives the process, which is what is promised; the
// loss of power repeats what the records had not noted yet, a twentieth of a
// second's messages.
package journal

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"sync"

	"fettle.dev/fettle/internal/notify"
)

// Journal is a file of what was sent.
type Journal struct {
	mu   sync.Mutex
	path string
	file *os.File
	size int64             // bytes written
	open map[string]string // in the file, not known to the records: ids with what the next hop calls them
	left map[string]string
}

// longest is how long the file may become before what is known is left out of
// it, bytes: while messages are sent without a pause some are always open.
const longest = 1 << 20

var _ notify.Journal = (*Journal)(nil)

// Open reads what the last process left. A line that was cut off by its death
// is no line: its message counts as not sent.
func Open(path string) (*Journal, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("journal of sent messages: %w", err)
	}
	j := &Journal{path: path, file: f, open: map[string]string{}, left: map[string]string{}}
	end := int64(0)
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil { // not cut off: what cannot be read was sent
			return nil, fmt.Errorf("journal of sent messages: %w", errors.Join(err, f.Close()))
		}
		end += int64(len(line))
		id, remote, _ := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte("\t"))
		if len(id) > 0 {
			j.left[string(id)] = string(remote)
			j.open[string(id)] = string(remote)
		}
	}
	if err := f.Truncate(end); err != nil {
		return nil, fmt.Errorf("journal of sent messages: %w", errors.Join(err, f.Close()))
	}
	j.size = end
	return j, nil
}

// Sent notes a message and what the next hop calls it.
func (j *Journal) Sent(id, remoteID string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	remoteID = strings.Map(oneLine, remoteID)
	n, err := j.file.WriteString(entry(id, remoteID))
	if err != nil { // half a line would swallow the next one
		return fmt.Errorf("journal of sent messages: %w", errors.Join(err, j.file.Truncate(j.size)))
	}
	j.size += int64(n)
	j.open[id] = remoteID
	return nil
}

func entry(id, remoteID string) string { return id + "\t" + remoteID + "\n" }

func oneLine(r rune) rune {
	if r < ' ' {
		return ' '
	}
	return r
}

// Known forgets messages that the records have noted.
func (j *Journal) Known(ids []string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, id := range ids {
		delete(j.open, id)
	}
	var err error
	switch {
	case len(j.open) == 0:
		if err = j.file.Truncate(0); err == nil {
			j.size = 0
		}
	case j.size > longest:
		err = j.shorten()
	}
	if err != nil {
		return fmt.Errorf("journal of sent messages: %w", err)
	}
	return nil
}

// shorten puts a file of what is open in the place of the one that has grown.
func (j *Journal) shorten() error {
	var b strings.Builder
	for id, remote := range j.open {
		b.WriteString(entry(id, remote))
	}
	next := j.path + ".next"
	if err := os.WriteFile(next, []byte(b.String()), 0o600); err != nil {
		return err
	}
	f, err := os.OpenFile(next, os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if err := os.Rename(next, j.path); err != nil {
		return errors.Join(err, f.Close())
	}
	old := j.file
	j.file, j.size = f, int64(b.Len())
	return old.Close()
}

// Left is what the last process left.
func (j *Journal) Left() map[string]string { return maps.Clone(j.left) }

// Close closes the file.
func (j *Journal) Close() error { return j.file.Close() }
