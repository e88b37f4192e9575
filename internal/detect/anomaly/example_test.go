package anomaly_test

import (
	"fmt"
	"math"

	"fettle.dev/fettle/internal/detect/anomaly"
)

// A pump's temperature follows the day. One night it stays as warm as at noon:
// no limit is crossed, and yet it is not usual.
func Example() {
	d := anomaly.New(1, anomaly.Config{})
	for i := range 15 * 24 * 12 { // fifteen days, a row each five minutes
		at := int64(i) * 5 * 60_000
		day, hour := i/(24*12), float64(i%(24*12))/12
		noise := float64(i*7919%13)/13 - 0.5
		v := 40 - 15*math.Cos(hour*2*math.Pi/24) + noise
		if day == 14 && hour >= 1 && hour < 4 {
			v = 55 + noise
		}
		if r := d.Step(at, []float64{v}); r.Onset {
			fmt.Printf("day %d, %.0f h: %.0f degrees, outside the budget: %v\n", day, hour, v, r.Score > 1)
		}
	}
	// Output: day 14, 1 h: 55 degrees, outside the budget: true
}

// One of two signals that go together stays behind.
func Example_several() {
	d := anomaly.New(2, anomaly.Config{Warmup: 400})
	for i := range 600 {
		noise := float64(i*7919%13)/13 - 0.5
		more := float64(i*6007%17)/17 - 0.5
		current, flow := 10+noise, 30+more
		if i >= 550 {
			flow = 24 + more
		}
		if r := d.Step(int64(i)*1000, []float64{current, flow}); r.Onset {
			fmt.Printf("after row 550: %v, signal %d\n", i >= 550, r.Top)
		}
	}
	// Output: after row 550: true, signal 1
}

// After maintenance a level may move; without a word of it that is an anomaly.
func ExampleDetector_Reset() {
	onsets := func(told bool) (n int) {
		d := anomaly.New(1, anomaly.Config{})
		for i := range 2000 {
			v := 20 + float64(i*7919%13)/13
			if i >= 1500 {
				v += 30
			}
			if told && i == 1500 {
				d.Reset(anomaly.Maintenance)
			}
			if d.Step(int64(i)*60_000, []float64{v}).Onset {
				n++
			}
		}
		return n
	}
	fmt.Println("told:", onsets(true), "not told:", onsets(false))
	// Output: told: 0 not told: 1
}
