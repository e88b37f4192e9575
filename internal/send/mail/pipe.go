package mail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/textproto"

	"fettle.dev/fettle/internal/fault"
	"fettle.dev/fettle/internal/notify"
)

var _ notify.Pipeliner = (*Sender)(nil)

// outgoing is a mail that is written and waits for its connection.
type outgoing struct {
	notify.Message
	from, to string // of the envelope
	content  []byte
	again    bool // a connection that the server had closed took nothing of it
}

// pipe is one connection's turn.
type pipe struct {
	*Sender
	next func() (notify.Message, bool)
	sent func(notify.Message, string, error)
}

// Pipe sends mails over one connection. Where the server has PIPELINING (RFC
// 2920), the end of a mail and the envelope of the next one are one packet, and
// each mail costs one round trip. The content of a mail goes out when the one
// before it is settled, so that a death leaves one mail of a connection in doubt.
func (s *Sender) Pipe(ctx context.Context, next func() (notify.Message, bool), sent func(notify.Message, string, error)) {
	var c *conn
	select {
	case c = <-s.conns:
	case <-ctx.Done():
		return
	}
	p := &pipe{s, next, sent}
	for o := p.take(); o != nil; {
		if c == nil {
			var err error
			if c, err = s.dial(ctx); err != nil {
				p.settle(o, err)
				o = p.take()
				continue
			}
		}
		ok := false
		if o, ok = p.carry(c, o); !ok {
			_ = c.Text.Close() // broken anyhow
			c = nil
		}
	}
	s.conns <- c
}

// take writes the next mail; nil: there is none.
func (p *pipe) take() *outgoing {
	for {
		m, ok := p.next()
		if !ok {
			return nil
		}
		o := &outgoing{Message: m, from: p.envelopeFrom(m.ID)}
		var err error
		if o.to, err = recipient(m.To); err == nil {
			o.content, err = p.compose(m, o.to)
		}
		if err == nil {
			return o
		}
		p.settle(o, err)
	}
}

func (p *pipe) settle(o *outgoing, err error) {
	if err != nil {
		p.sent(o.Message, "", fmt.Errorf("send mail: %w", err))
		return
	}
	p.sent(o.Message, p.MessageID(o.ID), nil)
}

// carry sends a mail, and those behind it, until there is no more or the
// connection breaks: then it gives the mail that another one is to carry, if any.
func (p *pipe) carry(c *conn, o *outgoing) (left *outgoing, ok bool) {
	refused, err := c.ask(o)
	for {
		switch {
		case err != nil:
			// A server closes idle connections, and after a number of mails: then
			// nothing was taken.
			if c.used && !o.again {
				o.again = true
				return o, false
			}
			p.settle(o, err)
			return p.take(), false
		case refused != nil:
			p.settle(o, refused)
			c.used = true
			if o = p.take(); o == nil {
				return nil, true
			}
			refused, err = c.ask(o)
			continue
		}
		var next *outgoing
		if c.pipelining {
			next = p.take()
		}
		refused, err = c.content(o, next)
		c.used = true
		if refused == nil && err != nil { // it may have been taken: left to its next attempt
			p.settle(o, err)
			return next, false
		}
		p.settle(o, refused)
		if next == nil && !c.pipelining {
			if next = p.take(); next != nil {
				o = next
				refused, err = c.ask(o)
				continue
			}
		}
		if o = next; o == nil {
			return nil, true
		}
		refused, err = c.answers(o)
	}
}

// ask sends a mail's envelope and reads what the server says of it: refused for
// this mail alone, or err of a connection that is of no more use.
func (c *conn) ask(o *outgoing) (refused, err error) {
	if err := c.UpdateDeadline(timeout); err != nil {
		return nil, err
	}
	if c.pipelining {
		c.out = c.envelope(c.out[:0], o)
		if err := c.write(); err != nil {
			return nil, err
		}
	}
	return c.answers(o)
}

func (c *conn) write() error {
	if _, err := c.Text.W.Write(c.out); err != nil {
		return err
	}
	return c.Text.W.Flush()
}

// steps are what an envelope says, with the answers that are hoped for.
var steps = []struct {
	name string
	code int
}{{"MAIL", 250}, {"RCPT", 25}, {"DATA", 354}}

// command appends a step of an envelope.
func (c *conn) command(b []byte, step int, o *outgoing) []byte {
	switch step {
	case 0:
		b = append(append(append(b, "MAIL FROM:<"...), o.from...), '>')
		if c.eightBit {
			b = append(b, " BODY=8BITMIME"...)
		}
		if !ascii(o.to) {
			b = append(b, " SMTPUTF8"...)
		}
	case 1:
		b = append(append(append(b, "RCPT TO:<"...), o.to...), '>')
	default:
		b = append(b, "DATA"...)
	}
	return append(b, "\r\n"...)
}

// envelope appends a whole one. DATA ends a group of commands (RFC 2920 3.1).
func (c *conn) envelope(b []byte, o *outgoing) []byte {
	if c.cannot(o) != nil {
		return b
	}
	for i := range steps {
		b = c.command(b, i, o)
	}
	return b
}

// cannot says why a mail cannot be given to this server at all.
func (c *conn) cannot(o *outgoing) error {
	if !c.utf8 && !ascii(o.to) {
		return fault.New(fault.Invalid, "the mail server does not take addresses with letters outside ASCII (SMTPUTF8)")
	}
	return nil
}

// answers reads what the server says of an envelope; without pipelining it
// sends it first, step by step.
func (c *conn) answers(o *outgoing) (refused, err error) {
	if refused = c.cannot(o); refused != nil {
		return refused, nil
	}
	open := false // the server waits for the content
	for i, step := range steps {
		if !c.pipelining {
			if refused != nil {
				break
			}
			c.out = c.command(c.out[:0], i, o)
			if err := c.write(); err != nil {
				return nil, err
			}
		}
		_, _, err := c.Text.ReadResponse(step.code)
		reply, said := errors.AsType[*textproto.Error](err)
		switch {
		case err == nil:
			open = step.name == "DATA"
		case !said:
			return nil, err
		case reply.Code == 421: // it closes the connection
			return nil, refusal(step.name, reply)
		case refused == nil:
			refused = refusal(step.name, reply)
		}
	}
	if refused == nil {
		return nil, nil
	}
	if open { // it took DATA although nobody is to get it: nothing, then
		if err := c.Text.PrintfLine("."); err != nil {
			return nil, errors.Join(refused, err)
		}
		if _, _, err := c.Text.ReadResponse(0); err != nil {
			return nil, errors.Join(refused, err)
		}
	}
	if err := c.Text.PrintfLine("RSET"); err != nil {
		return refused, nil // of this mail all is known; the next one finds that the connection is gone
	}
	_, _, _ = c.Text.ReadResponse(250) // the same
	return refused, nil
}

// content sends a mail's content with the next one's envelope behind it, and
// reads what the server says of the mail.
func (c *conn) content(o, next *outgoing) (refused, err error) {
	if err := c.UpdateDeadline(timeout); err != nil {
		return nil, err
	}
	c.out = appendContent(c.out[:0], o.content)
	if next != nil {
		c.out = c.envelope(c.out, next)
	}
	if err := c.write(); err != nil {
		return nil, err
	}
	_, _, err = c.Text.ReadResponse(250)
	if reply, said := errors.AsType[*textproto.Error](err); said {
		return refusal("the mail", reply), nil
	}
	return nil, err
}

var newline, point = []byte("\r\n"), []byte("\r\n.")

// appendContent writes a mail as it is carried: lines end with CRLF, a point at
// the beginning of one is doubled, and a line of one point ends it (RFC 5321
// 4.5.2). A lone LF or CR would be a line's end to some servers and none to others.
func appendContent(b, mail []byte) []byte {
	if n := bytes.Count(mail, newline); bytes.Count(mail, newline[1:]) != n || bytes.Count(mail, newline[:1]) != n {
		mail = bytes.ReplaceAll(bytes.ReplaceAll(bytes.ReplaceAll(mail, newline, newline[1:]), newline[:1], newline[1:]), newline[1:], newline)
	}
	if bytes.HasPrefix(mail, point[2:]) {
		b = append(b, '.')
	}
	for {
		i := bytes.Index(mail, point)
		if i < 0 {
			break
		}
		b = append(append(b, mail[:i+len(point)]...), '.')
		mail = mail[i+len(point):]
	}
	b = append(b, mail...)
	if !bytes.HasSuffix(b, newline) {
		b = append(b, newline...)
	}
	return append(b, ".\r\n"...)
}
