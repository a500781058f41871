package recovery

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// QuietHours are times of the week in which nothing is restarted, by the local
// clock. The zero value has none.
type QuietHours struct {
	text    string
	windows []window
}

// window is a time of some days of the week; one whose end is not behind its
// start ends on the next day.
type window struct {
	days       [7]bool // by time.Weekday: on which it starts
	start, end int     // in minutes since midnight
}

// errQuietHours says how quiet hours are written.
var errQuietHours = errors.New("not of the form [DAYS] HH:MM-HH:MM, such as Sun 02:00-04:00, Mon-Fri 22:00-06:00 or 03:00-03:30")

// ParseQuietHours reads windows with commas between them, each [DAY[-DAY]]
// HH:MM-HH:MM, by the names Mon to Sun; without days it is every day's. One
// over midnight belongs to the day on which it starts. Together they must not
// take the whole week: a pause has an end.
func ParseQuietHours(text string) (QuietHours, error) {
	q := QuietHours{text: strings.TrimSpace(text)}
	if q.text == "" {
		return QuietHours{}, nil
	}
	for part := range strings.SplitSeq(q.text, ",") {
		w, err := parseWindow(strings.Fields(part))
		if err != nil {
			return QuietHours{}, err
		}
		q.windows = append(q.windows, w)
	}
	// Any week will do: 2001 began on a Monday.
	for minute := range 7 * 24 * 60 {
		if !q.holds(time.Date(2001, 1, 1, 0, minute, 0, 0, time.UTC)) {
			return q, nil
		}
	}
	return QuietHours{}, errors.New("they take the whole week and have no end: watchdog.enable=false leaves a container alone")
}

func parseWindow(words []string) (w window, err error) {
	switch len(words) {
	case 1:
		w.days = [7]bool{true, true, true, true, true, true, true}
	case 2:
		first, last, ok := strings.Cut(words[0], "-")
		if !ok {
			last = first
		}
		from, to := weekday(first), weekday(last)
		if from < 0 || to < 0 {
			return w, errQuietHours
		}
		for d := from; ; d = (d + 1) % 7 {
			w.days[d] = true
			if d == to {
				break
			}
		}
	default:
		return w, errQuietHours
	}
	start, end, ok := strings.Cut(words[len(words)-1], "-")
	if w.start, err = minutes(start); !ok || err != nil || w.start == 24*60 {
		return w, errQuietHours
	}
	if w.end, err = minutes(end); err != nil || w.end == w.start {
		return w, errQuietHours
	}
	return w, nil
}

// weekday is the number of a day by its name or the beginning of it; -1 for
// none.
func weekday(name string) int {
	name = strings.ToLower(name)
	for i := range 7 {
		if len(name) >= 3 && strings.HasPrefix(strings.ToLower(time.Weekday(i).String()), name) {
			return i
		}
	}
	return -1
}

// minutes reads HH:MM, up to 24:00.
func minutes(text string) (int, error) {
	hours, rest, _ := strings.Cut(text, ":")
	h, err1 := strconv.ParseUint(hours, 10, 8)
	m, err2 := strconv.ParseUint(rest, 10, 8)
	if n := int(h*60 + m); err1 == nil && err2 == nil && len(rest) == 2 && m < 60 && n <= 24*60 {
		return n, nil
	}
	return 0, errQuietHours
}

// String is the text that was read.
func (q QuietHours) String() string { return q.text }

// Until is when the quiet hours that are on at now end; zero where none are.
func (q QuietHours) Until(now time.Time) time.Time {
	var until time.Time
	// One window may follow another; together they leave a gap in each week.
	for range 7 * 2 * (len(q.windows) + 1) {
		end := q.end(laterOf(now, until))
		if end.IsZero() {
			break
		}
		until = end
	}
	return until
}

func (q QuietHours) holds(t time.Time) bool { return !q.end(t).IsZero() }

// end is the latest end of the windows that hold t.
func (q QuietHours) end(t time.Time) (end time.Time) {
	year, month, day := t.Date()
	for _, w := range q.windows {
		for _, d := range []int{day - 1, day} { // it may have started yesterday
			start := time.Date(year, month, d, 0, w.start, 0, 0, t.Location())
			last := d
			if w.end <= w.start {
				last++
			}
			stop := time.Date(year, month, last, 0, w.end, 0, 0, t.Location())
			if w.days[start.Weekday()] && !t.Before(start) && t.Before(stop) {
				end = laterOf(end, stop)
			}
		}
	}
	return end
}

func laterOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
