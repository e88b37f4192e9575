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
	"fmt"
	"maps"
	"os"
	"strings"
	"sync"

	"fettle.dev/fettle/internal/notify"
)

// Journal is a file of what was sent.
type Journal struct {
	mu   sync.Mutex
	file *os.File
	open map[string]struct{} // in the file, not known to the records
	left map[string]string
}

var _ notify.Journal = (*Journal)(nil)

// Open reads what the last process left. A line that was cut off by its death
// is no line: its message counts as not sent.
func Open(path string) (*Journal, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("journal of sent messages: %w", err)
	}
	j := &Journal{file: f, open: map[string]struct{}{}, left: map[string]string{}}
	end := int64(0)
	for r := bufio.NewReader(f); ; {
		line, err := r.ReadBytes('\n')
		if err != nil {
			break
		}
		end += int64(len(line))
		id, remote, _ := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte("\t"))
		if len(id) > 0 {
			j.left[string(id)] = string(remote)
			j.open[string(id)] = struct{}{}
		}
	}
	if err := f.Truncate(end); err != nil {
		return nil, fmt.Errorf("journal of sent messages: %w", err)
	}
	return j, nil
}

// Sent notes a message and what the next hop calls it.
func (j *Journal) Sent(id, remoteID string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.file.WriteString(id + "\t" + strings.Map(oneLine, remoteID) + "\n"); err != nil {
		return fmt.Errorf("journal of sent messages: %w", err)
	}
	j.open[id] = struct{}{}
	return nil
}

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
	if len(j.open) > 0 {
		return nil
	}
	if err := j.file.Truncate(0); err != nil {
		return fmt.Errorf("journal of sent messages: %w", err)
	}
	return nil
}

// Left is what the last process left.
func (j *Journal) Left() map[string]string { return maps.Clone(j.left) }

// Close closes the file.
func (j *Journal) Close() error { return j.file.Close() }
