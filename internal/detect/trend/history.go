package trend

// bucket is a mean over the samples of a time.
type bucket struct {
	from, to int64   // event times of its first and last sample
	mean     float64 // of its samples
	count    float64 // finest buckets merged into it
	level    uint8   // times that it has been merged
}

// history is the past in buckets, the oldest and longest first.
type history struct {
	closed []bucket
	open   bucket
	n      int64 // samples in open
}

// abreast is how many buckets of one length are kept: a bucket is then at most
// about a sixteenth as long as it is old.
const (
	abreast   = 16
	mostLevel = 24 // buckets beyond it are forgotten: 2^24 of the finest ones
)

func (h *history) newest() int64 {
	if h.n > 0 {
		return h.open.to
	}
	if len(h.closed) > 0 {
		return h.closed[len(h.closed)-1].to
	}
	return -1 << 63
}

// add takes a sample not older than the newest and reports whether it closed a bucket.
func (h *history) add(at int64, v float64, length int64) bool {
	closed := false
	if h.n > 0 && floorDiv(at, length) != floorDiv(h.open.from, length) {
		h.push(h.open)
		h.n, closed = 0, true
	}
	if h.n == 0 {
		h.open = bucket{from: at, count: 1}
	}
	h.n++
	h.open.to = at
	h.open.mean += (v - h.open.mean) / float64(h.n)
	return closed
}

func (h *history) push(b bucket) {
	h.closed = append(h.closed, b)
	end := len(h.closed) // one past the run of buckets of this level
	for level := uint8(0); ; level++ {
		begin := end
		for begin > 0 && h.closed[begin-1].level == level {
			begin--
		}
		if end-begin <= abreast+1 {
			return
		}
		if level == mostLevel {
			h.closed = append(h.closed[:begin], h.closed[begin+1:]...)
			return
		}
		h.closed[begin] = merged(h.closed[begin], h.closed[begin+1])
		h.closed = append(h.closed[:begin+1], h.closed[begin+2:]...)
		end = begin + 1
	}
}

func merged(a, b bucket) bucket {
	n := a.count + b.count
	return bucket{from: a.from, to: b.to, mean: a.mean + (b.mean-a.mean)*(b.count/n), count: n, level: a.level + 1}
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}
