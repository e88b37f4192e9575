package trend_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"fettle.dev/fettle/internal/detect/trend"
)

const hour = int64(time.Hour / time.Millisecond)

// feed gives a tracker a value an hour.
func feed(c trend.Config, n int, value func(i int) float64) *trend.Tracker {
	if c.Bucket == 0 {
		c.Bucket = hour
	}
	t := trend.New(c)
	for i := range n {
		t.Add(int64(i)*hour, value(i))
	}
	return t
}

func noise(seed uint64) func() float64 {
	r := rand.New(rand.NewPCG(seed, 1))
	return r.NormFloat64
}

// A filter clogs: the pressure drop rises from 50 Pa by 0.5 Pa an hour, read to
// 2 Pa. After 100 hours it is asked when 130 Pa will be reached; the answer is
// 60 hours.
func Example() {
	e := noise(7)
	t := feed(trend.Config{Bucket: hour}, 101, func(i int) float64 { return 50 + 0.5*float64(i) + 2*e() })
	f := t.Forecast(trend.Limit{Value: 130, Upper: true})
	fmt.Printf("%s: %.0f h, between %.0f h and %.0f h\n", f.Support, f.Median.Hours(), f.Low.Hours(), f.High.Hours())

	f = t.Forecast(trend.Limit{Value: 20})
	fmt.Println("down to 20 Pa:", f.Support)

	flat := feed(trend.Config{Bucket: hour}, 101, func(int) float64 { return 50 + 2*e() })
	fmt.Println("without a trend:", flat.Forecast(trend.Limit{Value: 130, Upper: true}).Support)
	// Output:
	// supported: 56 h, between 42 h and 66 h
	// down to 20 Pa: it does not surely move towards the limit
	// without a trend: it does not surely move towards the limit
}

func TestNoSupport(t *testing.T) {
	t.Parallel()
	e := noise(1)
	for name, tt := range map[string]struct {
		config trend.Config
		n      int
		value  func(i int) float64
		want   trend.Support
	}{
		"nothing":            {trend.Config{}, 0, nil, trend.TooShort},
		"ten hours":          {trend.Config{}, 10, func(i int) float64 { return float64(i) }, trend.TooShort},
		"always the same":    {trend.Config{}, 100, func(int) float64 { return 5 }, trend.Constant},
		"noise":              {trend.Config{}, 100, func(int) float64 { return e() }, trend.NoTrend},
		"away from it":       {trend.Config{}, 100, func(i int) float64 { return -float64(i) + e() }, trend.NoTrend},
		"too slowly":         {trend.Config{}, 100, func(i int) float64 { return float64(i) + e() }, trend.TooFar},
		"beyond":             {trend.Config{}, 100, func(i int) float64 { return 1000 + float64(i) + e() }, trend.Beyond},
		"a morning":          {trend.Config{Season: trend.Daily}, 40, func(i int) float64 { return 10 * float64(i) }, trend.Learning},
		"one step":           {trend.Config{}, 100, func(i int) float64 { return 400*math.Floor(float64(i)/60) + e() }, trend.NoTrend},
		"one outlier":        {trend.Config{}, 100, func(i int) float64 { return e() + map[bool]float64{true: 450}[i == 97] }, trend.NoTrend},
		"a turn of the day":  {trend.Config{Season: trend.Daily}, 10*24 + 8, func(i int) float64 { return 450*math.Sin(float64(i)/12*math.Pi) + e() }, trend.NoTrend},
		"not a number, ever": {trend.Config{}, 100, func(int) float64 { return math.NaN() }, trend.TooShort},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := feed(tt.config, tt.n, tt.value).Forecast(trend.Limit{Value: 500, Upper: true})
			require.Equal(t, tt.want.String(), f.Support.String())
			require.Zero(t, f.Median)
		})
	}
}

// A curve is not taken for a line: what a straight line says of it lies far off,
// and the interval holds the truth.
func TestCurvature(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		level func(i float64) float64
		limit float64
		from  int
		truth float64
	}{
		"accelerating": {func(i float64) float64 { return math.Exp(i / 60) }, math.Exp(4), 200, 40},
		"decelerating": {func(i float64) float64 { return 100 * math.Sqrt(i/400) }, 100 * math.Sqrt(0.75), 260, 40},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := noise(3)
			tr := feed(trend.Config{}, tt.from+1, func(i int) float64 { return tt.level(float64(i)) + 0.01*tt.limit*e() })
			f := tr.Forecast(trend.Limit{Value: tt.limit, Upper: true})
			require.Equal(t, trend.Supported, f.Support, f.Support.String())
			require.LessOrEqual(t, f.Low.Hours(), tt.truth)
			require.GreaterOrEqual(t, f.High.Hours(), tt.truth)
			line := (tt.limit - tt.level(float64(tt.from))) / (tt.level(float64(tt.from)) / float64(tt.from))
			require.Greater(t, math.Abs(line-tt.truth), 0.1*tt.truth, "the curve should matter")
		})
	}
}

// Scale, shift and sign of a signal do not matter.
func TestInvariance(t *testing.T) {
	t.Parallel()
	value := func() func(i int) float64 {
		e := noise(5)
		return func(i int) float64 { return float64(i) + 5*e() }
	}
	want := feed(trend.Config{}, 150, value()).Forecast(trend.Limit{Value: 200, Upper: true})
	require.Equal(t, trend.Supported, want.Support)
	for _, tt := range []struct{ scale, shift float64 }{{1000, 0}, {1e-6, 0}, {1, 273.15}, {-1, 0}, {-0.3, 40}, {1e150, 0}} {
		v := value()
		got := feed(trend.Config{}, 150, func(i int) float64 { return tt.shift + tt.scale*v(i) }).Forecast(
			trend.Limit{Value: tt.shift + tt.scale*200, Upper: tt.scale > 0})
		require.Equal(t, want.Support, got.Support)
		require.InEpsilon(t, want.Median.Hours(), got.Median.Hours(), 0.03, "%v", tt)
		require.InEpsilon(t, want.High.Hours(), got.High.Hours(), 0.03, "%v", tt)
	}
}

// Memory is bounded whatever comes, and old samples are skipped.
func TestBounded(t *testing.T) {
	t.Parallel()
	tr := trend.New(trend.Config{Bucket: 1000, Season: trend.Weekly})
	e := noise(2)
	for i := range int64(300_000) {
		tr.Add(i*1000, e())
	}
	require.Less(t, tr.Len(), 300)
	require.False(t, tr.Add(0, 1e9))
	raw, err := tr.MarshalBinary()
	require.NoError(t, err)
	require.Less(t, len(raw), 8<<10)
}

// A tracker that was written and read goes on as if nothing had been.
func TestEncoding(t *testing.T) {
	t.Parallel()
	e := noise(9)
	whole := trend.New(trend.Config{Bucket: hour / 2, Season: trend.Weekly})
	parts := trend.New(trend.Config{Bucket: hour / 2, Season: trend.Weekly})
	for i := range int64(24 * 40) {
		v := float64(i) + 20*math.Sin(float64(i)/12*math.Pi) + e()
		whole.Add(i*hour, v)
		parts.Add(i*hour, v)
		if i%97 == 0 {
			raw, err := parts.MarshalBinary()
			require.NoError(t, err)
			parts = &trend.Tracker{}
			require.NoError(t, parts.UnmarshalBinary(raw))
			again, err := parts.MarshalBinary()
			require.NoError(t, err)
			require.Equal(t, raw, again)
		}
	}
	limit := trend.Limit{Value: 1200, Upper: true}
	require.Equal(t, whole.Forecast(limit), parts.Forecast(limit))
	require.Equal(t, trend.Supported, whole.Forecast(limit).Support)
}

func FuzzUnmarshal(f *testing.F) {
	e := noise(4)
	raw, _ := feed(trend.Config{Season: trend.Daily}, 200, func(int) float64 { return e() }).MarshalBinary()
	f.Add(raw)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var tr trend.Tracker
		if tr.UnmarshalBinary(raw) != nil {
			return
		}
		again, err := tr.MarshalBinary()
		require.NoError(t, err)
		var other trend.Tracker
		require.NoError(t, other.UnmarshalBinary(again))
		tr.Add(math.MaxInt64/4, 1)
		tr.Forecast(trend.Limit{Value: 1, Upper: true})
	})
}

// Whatever is fed, a forecast's times are in order and ahead.
func FuzzForecast(f *testing.F) {
	f.Add(uint64(1), 1.0, 0.1, 5.0)
	f.Fuzz(func(t *testing.T, seed uint64, slope, sd, limit float64) {
		e := noise(seed)
		for _, upper := range []bool{true, false} {
			got := feed(trend.Config{}, 60, func(i int) float64 { return slope*float64(i) + sd*e() }).Forecast(trend.Limit{Value: limit, Upper: upper})
			require.GreaterOrEqual(t, got.Low, time.Duration(0))
			require.LessOrEqual(t, got.Low, got.Median)
			require.LessOrEqual(t, got.Median, got.High)
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	e := noise(1)
	tr := trend.New(trend.Config{Bucket: hour, Season: trend.Daily})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		tr.Add(int64(i)*10_000, e())
	}
}

func BenchmarkForecast(b *testing.B) {
	for _, n := range []int{64, 1000, 10_000} {
		e := noise(1)
		trending := feed(trend.Config{}, n, func(i int) float64 { return float64(i) + float64(n)/20*e() })
		flat := feed(trend.Config{}, n, func(int) float64 { return e() })
		limit := trend.Limit{Value: 1.3 * float64(n), Upper: true}
		b.Run(fmt.Sprintf("trend/%d", n), func(b *testing.B) {
			for b.Loop() {
				trending.Forecast(limit)
			}
		})
		b.Run(fmt.Sprintf("flat/%d", n), func(b *testing.B) {
			for b.Loop() {
				flat.Forecast(limit)
			}
		})
	}
}

// What tells two trackers alike is whether they saw the same buckets, however
// short these are: their forecasts are the same to the last bit.
func TestSame(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(4, 4))
	const hour = 3_600_000
	short, shorter, long := trend.New(trend.Config{Bucket: hour / 3}), trend.New(trend.Config{Bucket: hour / 7}), trend.New(trend.Config{Bucket: 5 * hour})
	daily := trend.New(trend.Config{Bucket: hour / 3, Season: trend.Daily})
	for i := range int64(300) {
		v := 20 + 0.1*float64(i) + rng.NormFloat64()
		for _, tr := range []*trend.Tracker{short, shorter, long, daily} {
			tr.Add(i*hour, v)
		}
	}
	limit := trend.Limit{Value: 60, Upper: true}
	require.True(t, short.Same(shorter))
	require.Equal(t, trend.Supported, short.Forecast(limit).Support)
	require.Equal(t, short.Forecast(limit), shorter.Forecast(limit))
	require.False(t, short.Same(long))
	require.False(t, short.Same(daily))
	shorter.Add(301*hour, 51)
	require.False(t, short.Same(shorter))
}
