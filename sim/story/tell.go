package story

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// teller writes the story: lines, and bars on a terminal.
type teller struct {
	out   io.Writer
	bars  *mpb.Progress // nil without a terminal
	began time.Time

	lagTold time.Time

	mu sync.Mutex
}

func newTeller(out io.Writer, terminal bool) *teller {
	t := &teller{out: out, began: time.Now()}
	if terminal {
		t.bars = mpb.New(mpb.WithOutput(out), mpb.WithWidth(36), mpb.WithRefreshRate(200*time.Millisecond))
	}
	return t
}

// say writes a line.
func (t *teller) say(format string, args ...any) {
	line := fmt.Sprintf(format, args...) + "\n"
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.bars != nil {
		_, _ = t.bars.Write([]byte(line))
		return
	}
	_, _ = io.WriteString(t.out, line)
}

// at says a line with the simulated time before it.
func (t *teller) at(now time.Time, format string, args ...any) {
	t.say("%s  %s", now.Format("Mon 2 Jan 15:04"), fmt.Sprintf(format, args...))
}

// behind says now and then that the fleet is late.
func (t *teller) behind(lag time.Duration) {
	if lag < time.Hour || time.Since(t.lagTold) < 10*time.Second {
		return
	}
	t.lagTold = time.Now()
	t.say("    the fleet is %.0f h behind its clock: it sends later, and leaves nothing out", lag.Hours())
}

// progress is one thing that goes on.
type progress struct {
	teller *teller
	name   string
	total  int64
	bar    *mpb.Bar
	told   int64 // eighths said, without a terminal
}

func (t *teller) progress(name string, total int64) *progress {
	p := &progress{teller: t, name: name, total: max(total, 1)}
	if t.bars != nil {
		p.bar = t.bars.AddBar(p.total, mpb.BarRemoveOnComplete(),
			mpb.PrependDecorators(decor.Name(name, decor.WC{W: 22, C: decor.DindentRight})),
			mpb.AppendDecorators(decor.CountersNoUnit("%d of %d")))
	}
	return p
}

// set moves it to n.
func (p *progress) set(n int64) {
	n = min(n, p.total)
	if p.bar != nil {
		p.bar.SetCurrent(n)
		return
	}
	if eighth := n * 8 / p.total; eighth > p.told && n < p.total && time.Since(p.teller.began) > 5*time.Second {
		p.told = eighth
		p.teller.say("    %s: %d of %d", p.name, n, p.total)
	}
}

// done ends it, full or not.
func (p *progress) done() {
	if p.bar != nil {
		p.bar.Abort(true)
	}
}

// close ends all bars.
func (t *teller) close() {
	if t.bars != nil {
		t.bars.Wait()
		t.bars = nil
	}
}
