package load

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// patience is how long a worker waits for an acknowledgement.
const patience = 10 * time.Second

// burst keeps every connection's window full until each has sent its messages.
func (w *worker) burst(each, window uint32) error {
	goal := len(w.conns) * int(each)
	for _, c := range w.conns {
		c.acked, c.sent = 0, 0
		if err := w.fill(c, each, window); err != nil {
			return err
		}
	}
	return w.until(goal, func(c *conn) error {
		if c.sent-c.acked <= window/2 {
			return w.fill(c, each, window)
		}
		return nil
	})
}

// fill sends as much as the window allows, in one write.
func (w *worker) fill(c *conn, each, window uint32) error {
	for c.sent < each && c.sent-c.acked < window {
		w.add(c)
	}
	return w.flush(c)
}

func (w *worker) add(c *conn) {
	c.out = c.unit.append(c.out, c.total, w.fleet.begin+int64(c.total)*Step, &c.random)
	c.total++
	c.sent++
}

// pace sends n messages at a rate, each on the next connection.
func (w *worker) pace(n int, rate float64) error {
	for _, c := range w.conns {
		c.acked, c.sent = 0, 0
	}
	begin := time.Now()
	sent := 0
	for sent < n {
		due := min(n, int(time.Since(begin).Seconds()*rate)+1)
		for ; sent < due; sent++ {
			c := w.conns[w.next%len(w.conns)]
			w.next++
			w.add(c)
			if err := w.flush(c); err != nil {
				return err
			}
		}
		if err := w.poll(1, nil); err != nil {
			return err
		}
	}
	return w.until(n, nil)
}

// until polls until goal messages are acknowledged, or none has been for a while.
func (w *worker) until(goal int, acked func(*conn) error) error {
	last, at := w.total, time.Now()
	for w.total < goal {
		if err := w.poll(100, acked); err != nil {
			return err
		}
		if w.total > last {
			last, at = w.total, time.Now()
		} else if time.Since(at) > patience {
			return nil // the result tells how many are missing
		}
	}
	return nil
}

// poll waits for what the kernel has to say, at most some milliseconds, and
// takes it in.
func (w *worker) poll(milliseconds int, acked func(*conn) error) error {
	var events [256]syscall.EpollEvent
	n, err := syscall.EpollWait(w.epoll, events[:], milliseconds)
	if errors.Is(err, syscall.EINTR) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	for i := range events[:n] {
		c := w.byFD[int(events[i].Fd)]
		if events[i].Events&syscall.EPOLLOUT != 0 {
			if err := w.flush(c); err != nil {
				return err
			}
		}
		if events[i].Events&(syscall.EPOLLIN|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
			if err := w.read(c); err != nil {
				return err
			}
			if acked != nil {
				if err := acked(c); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// read counts the PUBACKs that have come: packets of four bytes, the only ones
// that a server sends here.
func (w *worker) read(c *conn) error {
	n, err := syscall.Read(c.fd, w.buf)
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR) {
		return nil
	}
	if err != nil || n == 0 {
		return fmt.Errorf("the server ended a connection after %d of %d messages: %w", c.acked, c.sent, errors.Join(err))
	}
	if first := w.buf[0]; c.rest == 0 && first != 4<<4 {
		return fmt.Errorf("the server sent a packet of type %d", first>>4)
	}
	all := c.rest + n
	c.rest = all % 4
	c.acked += uint32(all / 4)
	w.total += all / 4
	return nil
}

// flush gives the kernel what it takes; the rest when it asks for it.
func (w *worker) flush(c *conn) error {
	waited := c.waits
	for len(c.out) > 0 {
		n, err := syscall.Write(c.fd, c.out)
		if errors.Is(err, syscall.EAGAIN) {
			break
		}
		if err != nil {
			return fmt.Errorf("the server ended a connection after %d of %d messages: %w", c.acked, c.sent, err)
		}
		c.out = c.out[:copy(c.out, c.out[n:])]
	}
	c.waits = len(c.out) > 0
	if c.waits == waited {
		return nil
	}
	e := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(c.fd)}
	if c.waits {
		e.Events |= syscall.EPOLLOUT
	}
	return syscall.EpollCtl(w.epoll, syscall.EPOLL_CTL_MOD, c.fd, &e)
}
