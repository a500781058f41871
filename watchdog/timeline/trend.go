package timeline

import (
	"math"
	"time"
)

// TrendSpan is how far back a trend goes.
const TrendSpan = time.Hour

// trendSlots is a slot for each minute of it.
const trendSlots = int64(TrendSpan / time.Minute)

// Trend is a figure of the last hour, the last one of each minute. Its zero
// value is empty.
type Trend struct {
	values [trendSlots]float32 // by the minute, modulo their number; NaN for none
	newest int64               // the minute of the newest, in minutes since 1970; 0: there is none
}

// Note takes a figure. Where the clock was set back, the trend begins anew.
func (t *Trend) Note(v float64, at time.Time) {
	if math.IsNaN(v) {
		return
	}
	minute := at.Unix() / 60
	if t.newest == 0 || minute < t.newest || minute-t.newest >= trendSlots {
		t.newest = minute - trendSlots
	}
	for t.newest < minute {
		t.newest++
		t.values[t.newest%trendSlots] = float32(math.NaN())
	}
	t.values[minute%trendSlots] = float32(max(-math.MaxFloat32, min(v, math.MaxFloat32)))
}

// Point is a figure of a trend.
type Point struct {
	// Age is how long before now it was, in whole minutes.
	Age   time.Duration
	Value float64
}

// Points are the figures of the last hour, the oldest first.
func (t *Trend) Points(now time.Time) (all []Point) {
	if t.newest == 0 {
		return nil
	}
	minute := now.Unix() / 60
	for m := max(t.newest-trendSlots, minute-trendSlots) + 1; m <= t.newest; m++ {
		if v := float64(t.values[m%trendSlots]); !math.IsNaN(v) {
			all = append(all, Point{max(0, time.Duration(minute-m)*time.Minute), v})
		}
	}
	return all
}
