package send

import (
	"context"
	"fmt"
	"io"
	"sync"

	"fettle.dev/fettle/internal/notify"
)

// Console prints messages instead of sending them. It shows sign-in links, so
// it is for development alone.
type Console struct {
	mu sync.Mutex
	w  io.Writer
}

// NewConsole makes a sender that prints to w.
func NewConsole(w io.Writer) *Console { return &Console{w: w} }

// Send prints one message.
func (c *Console) Send(_ context.Context, m notify.Message) (remoteID string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err = fmt.Fprintf(c.w, "---- %s to %s ----\n%s\n\n%s\n", m.Channel, m.To, m.Subject, m.Body)
	return "", err
}
