package recovery

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// request is one of the steady client's.
type request struct {
	sent time.Time
	url  int // the number of the application
	ok   bool
}

// parseRequest reads a line of the steady client.
func parseRequest(line string) (request, bool) {
	var ms int64
	var r request
	var word string
	if n, err := fmt.Sscan(line, &ms, &r.url, &word); n != 3 || err != nil || word != "ok" && word != "fail" {
		return request{}, false
	}
	r.sent, r.ok = time.UnixMilli(ms), word == "ok"
	return r, true
}

// Trial is what one fault came to, once, with one contender.
type Trial struct {
	Fault     string `json:"fault"`
	Contender string `json:"contender"`
	// Recovery is the time in seconds from the fault to the last request that
	// failed; nil where they still failed at the end.
	Recovery *float64 `json:"recovery_s"`
	// Restarts counts starts of containers after the fault, but a person's.
	Restarts map[string]int `json:"restarts"`
	// Needless are those of containers that were not broken.
	Needless int `json:"needless"`
	Failed   int `json:"failed_requests"`
	Requests int `json:"requests"`
	Alerts   int `json:"alerts"`
	// Watched is how long the trial went on after the fault, in seconds.
	Watched float64 `json:"watched_s"`
}

// judge counts what the client saw since the fault.
func (t *Trial) judge(all []request, begin time.Time) {
	last := map[int]request{}
	var lastFailed time.Time
	for _, r := range all {
		if r.sent.Before(begin) {
			continue
		}
		t.Requests++
		if !r.sent.Before(last[r.url].sent) {
			last[r.url] = r
		}
		if !r.ok {
			t.Failed++
			if r.sent.After(lastFailed) {
				lastFailed = r.sent
			}
		}
	}
	for _, r := range last {
		if !r.ok {
			return // not recovered
		}
	}
	s := 0.0
	if !lastFailed.IsZero() {
		s = round(lastFailed.Sub(begin).Seconds())
	}
	t.Recovery = &s
}

// needless says how many of the restarts did no good: those of containers that
// were not broken, and those beyond what its container needed. helps says how
// many restarts of a container do any good; any is no limit.
func needless(restarts map[string]int, helps map[string]int) (n int) {
	for name, k := range restarts {
		if h := helps[name]; h != anyNumber {
			n += max(0, k-h)
		}
	}
	return n
}

// anyNumber of restarts: the container is broken again before each of them.
const anyNumber = -1

// Result is what the trials of one fault with one contender come to.
type Result struct {
	Fault     string `json:"fault"`
	Contender string `json:"contender"`
	Runs      int    `json:"runs"`
	Never     int    `json:"never_recovered"`
	// Recovery is the median in seconds, nil where that is never; the worst
	// is that of the trials that recovered.
	Recovery *float64 `json:"recovery_s"`
	Worst    *float64 `json:"worst_recovery_s"`
	Restarts float64  `json:"restarts"`        // mean
	Needless float64  `json:"needless"`        // mean
	Failed   float64  `json:"failed_requests"` // median
	Alerts   float64  `json:"alerts"`          // mean
}

// summarise brings the trials together, by fault and contender in their order.
func summarise(trials []Trial, faults, contenders []string) (out []Result) {
	for _, f := range faults {
		for _, c := range contenders {
			r := Result{Fault: f, Contender: c}
			var times, failed []float64
			for _, t := range trials {
				if t.Fault != f || t.Contender != c {
					continue
				}
				r.Runs++
				for _, n := range t.Restarts {
					r.Restarts += float64(n)
				}
				r.Needless += float64(t.Needless)
				r.Alerts += float64(t.Alerts)
				failed = append(failed, float64(t.Failed))
				if t.Recovery == nil {
					r.Never++
					times = append(times, math.Inf(1))
				} else {
					times = append(times, *t.Recovery)
				}
			}
			if r.Runs == 0 {
				continue
			}
			n := float64(r.Runs)
			r.Restarts, r.Needless, r.Alerts = round(r.Restarts/n), round(r.Needless/n), round(r.Alerts/n)
			r.Failed, _ = middle(failed)
			r.Recovery = finite(middle(times))
			if k := r.Runs - r.Never; k > 0 {
				r.Worst = &times[k-1] // middle has sorted them
			}
			out = append(out, r)
		}
	}
	return out
}

// middle sorts the values and returns their median: the upper one of two.
func middle(v []float64) (median float64, ok bool) {
	slices.Sort(v)
	median = v[len(v)/2]
	return median, !math.IsInf(median, 1)
}

func finite(v float64, ok bool) *float64 {
	if !ok {
		return nil
	}
	return &v
}

func round(v float64) float64 { return math.Round(v*10) / 10 }

// nearest is the name that text may have been meant for.
func nearest(text string, names []string) string {
	for _, n := range names {
		if strings.HasPrefix(n, text) || strings.HasPrefix(text, n) {
			return n
		}
	}
	return names[0]
}
