package recovery

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// In a snooze nothing is restarted, whoever asks; at its end what still fails
// is decided anew.
func TestSnooze(t *testing.T) {
	m := online(t, settings(), named("app", "healthy"), named("other", "healthy"))
	until := t0.Add(30 * time.Minute)
	m.Apply(SnoozeAsked{Name: "app", Until: until, Reason: "a\x1b[31m migration"}, t0)
	out := m.Apply(Seen{named("app", "unhealthy")}, t0.Add(time.Minute))
	if s := summary(out); s != "" || len(out) != 1 || out[0].Event != EventPaused || !strings.Contains(out[0].Text, `snoozed by a person: a\x1b[31m migration`) {
		t.Errorf("%q %+v", s, out)
	}
	want(t, m, Seen{named("other", "unhealthy")}, t0.Add(time.Minute), "restart1") // the others as ever
	want(t, m, ResetAsked{"app"}, t0.Add(2*time.Minute), "")
	if out := m.Apply(Seen{named("app", "unhealthy")}, t0.Add(3*time.Minute)); len(out) != 0 {
		t.Errorf("said again: %+v", out)
	}
	if next := m.Next(t0.Add(4 * time.Minute)); next.After(until) {
		t.Errorf("wakes at %s, want at most %s", next, until)
	}
	st := m.Status(t0.Add(4 * time.Minute))[0]
	if st.Service != "p/app/1" || !st.PausedUntil.Equal(until) || st.Paused == "" || st.Attempts != 0 {
		t.Errorf("%+v", st)
	}
	want(t, m, Tick{}, until.Add(-time.Second), "")
	want(t, m, Tick{}, until, "restart1")
	if st := m.Status(until)[0]; !st.PausedUntil.IsZero() || len(m.Snoozes) != 0 {
		t.Errorf("%+v %v", st, m.Snoozes)
	}
}

// What became healthy in a snooze is not restarted at its end.
func TestSnoozeOfOneThatRecovers(t *testing.T) {
	m := online(t, settings(), named("app", "healthy"))
	m.Apply(SnoozeAsked{Until: t0.Add(time.Hour)}, t0)
	want(t, m, Seen{named("app", "unhealthy")}, t0.Add(time.Minute), "")
	want(t, m, Seen{named("app", "healthy")}, t0.Add(2*time.Minute), "")
	want(t, m, Tick{}, t0.Add(time.Hour), "")
}

// A snooze of all holds for services that come later, is bounded, and a person
// can end it.
func TestSnoozeOfAll(t *testing.T) {
	m := online(t, settings(), named("app", "healthy"))
	m.Apply(SnoozeAsked{Until: t0.Add(1000 * time.Hour)}, t0)
	if got := m.Snoozes[everyone].Until; !got.Equal(t0.Add(LongestSnooze)) {
		t.Errorf("until %s", got)
	}
	want(t, m, Seen{named("new", "unhealthy")}, t0.Add(time.Minute), "")
	want(t, m, ResumeAsked{"new"}, t0.Add(2*time.Minute), "") // all are still snoozed
	want(t, m, ResumeAsked{}, t0.Add(3*time.Minute), "restart1")
	m.Apply(SnoozeAsked{Until: t0}, t0.Add(4*time.Minute))
	if len(m.Snoozes) != 0 {
		t.Error("a snooze that is over was taken")
	}
}

// A snooze survives a restart of the watchdog.
func TestSnoozeRestored(t *testing.T) {
	m := NewMachine(settings())
	m.RestoreSnoozes(map[string]Snooze{"p/app/1": {Until: t0.Add(1e6 * time.Hour)}}, t0)
	m.Apply(Online{}, t0)
	want(t, m, Seen{named("app", "unhealthy")}, t0, "")
	want(t, m, Tick{}, t0.Add(LongestSnooze), "restart1")
}

// The restart that is under way when a snooze comes goes on: one that is left
// half-way would leave the container dead.
func TestSnoozeWhileRestarting(t *testing.T) {
	m := online(t, settings(), named("app", "healthy"))
	want(t, m, Seen{named("app", "unhealthy")}, t0, "restart1")
	m.Apply(SnoozeAsked{Name: "app", Until: t0.Add(time.Hour)}, t0.Add(time.Second))
	down := with(named("app", ""), func(c *Container) { c.State, c.ExitCode = "exited", 137 })
	want(t, m, CallEnded{Key: "p/app/1", Err: errors.New("timeout"), Seen: &down}, t0.Add(2*time.Second), "start")
}

// In quiet hours nothing is restarted, by flag or by label.
func TestQuietHoursHold(t *testing.T) {
	m := online(t, settings(), named("app", "healthy"))
	quiet := func(health string) Container {
		return with(named("app", health), func(c *Container) { c.Labels["watchdog.quiet-hours"] = "03:00-03:30" })
	}
	want(t, m, Seen{quiet("unhealthy")}, t0, "") // at 03:04:05
	end := time.Date(2026, 1, 2, 3, 30, 0, 0, time.UTC)
	if next := m.Next(t0); !next.Equal(end) {
		t.Errorf("wakes at %s", next)
	}
	want(t, m, Tick{}, end.Add(-time.Second), "")
	want(t, m, Tick{}, end, "restart1")
}

func TestParseQuietHours(t *testing.T) {
	at := func(text string) time.Time {
		when, err := time.ParseInLocation("Mon 2006-01-02 15:04", text, time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	for _, c := range []struct{ hours, now, until string }{
		{"Sun 02:00-04:00", "Sun 2026-11-22 02:00", "Sun 2026-11-22 04:00"},
		{"Sun 02:00-04:00", "Sun 2026-11-22 04:00", ""},
		{"Sun 02:00-04:00", "Sun 2026-11-22 01:59", ""},
		{"Sun 02:00-04:00", "Mon 2026-11-23 03:00", ""},
		{"mon-FRI 22:00-06:00", "Sat 2026-11-28 05:59", "Sat 2026-11-28 06:00"},
		{"Mon-Fri 22:00-06:00", "Sat 2026-11-28 23:00", ""},
		{"Fri-Mon 1:00-2:30", "Sun 2026-11-29 01:00", "Sun 2026-11-29 02:30"},
		{"22:00-06:00", "Wed 2026-11-25 23:00", "Thu 2026-11-26 06:00"},
		{"22:00-24:00, 00:00-06:00", "Wed 2026-11-25 23:00", "Thu 2026-11-26 06:00"},
		{"sunday 00:00-24:00,Mon 00:00-01:00", "Sun 2026-11-29 12:00", "Mon 2026-11-30 01:00"},
		{"", "Sun 2026-11-29 12:00", ""},
	} {
		q, err := ParseQuietHours(c.hours)
		if err != nil {
			t.Errorf("%s: %v", c.hours, err)
			continue
		}
		until := ""
		if end := q.Until(at(c.now)); !end.IsZero() {
			until = end.Format("Mon 2006-01-02 15:04")
		}
		if until != c.until {
			t.Errorf("%s at %s: until %q, want %q", c.hours, c.now, until, c.until)
		}
	}
	for _, bad := range []string{"Sun", "2-4", "Sun 02:00", "Sun 02:00-02:00", "Sun 25:00-26:00", "02:00-24:01", "24:00-02:00", "Su 02:00-04:00", "Sunny 02:00-04:00", "Sun-Xyz 02:00-04:00", "Sun 02:00 - 04:00",
		"02:60-03:00", "-1:00-03:00", "2:0-3:0x", "02:00-04:00,", "02:00-04:00;05:00-06:00", "00:00-24:00", "12:00-00:00,00:00-12:00", "Mon-Sun 00:00-24:00"} {
		if q, err := ParseQuietHours(bad); err == nil {
			t.Errorf("%q was taken for %+v", bad, q)
		}
	}
}

// The hour that summer time skips, and the one that it repeats.
func TestQuietHoursInSummerTime(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	q, err := ParseQuietHours("Sun 01:00-03:30")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		start time.Time
		lasts time.Duration
	}{
		{time.Date(2026, 3, 29, 1, 0, 0, 0, berlin), 90 * time.Minute},
		{time.Date(2026, 10, 25, 1, 0, 0, 0, berlin), 210 * time.Minute},
	} {
		if got := q.Until(c.start).Sub(c.start); got != c.lasts {
			t.Errorf("%s: %s, want %s", c.start, got, c.lasts)
		}
	}
}
