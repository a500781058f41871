package report

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"healthcheck/probe"
)

// written is a report with every kind of line.
func written() Report {
	v := func(f float64) *float64 { return &f }
	return New([]probe.Result{
		{Name: "cpu", Layer: "resource", Status: probe.OK, Message: "12.5% of 2 cores over 3s (max 90%), no limit; host 98.5% of 2 cores", Duration: 5 * time.Millisecond, Value: v(12.5), Limit: v(90)},
		{Name: "disk", Layer: "resource", Status: probe.Fail, Message: "97.2% of 9 GiB at / (max 95%)", Cause: probe.FailureCause{Class: probe.Host}, Value: v(97.2), Limit: v(95)},
		{Name: "network", Layer: "resource", Status: probe.OK, Message: "0 errors and drops, 0.0% of 12 packets", Value: v(0)},
		{Name: "my db", Layer: "db", Status: probe.Fail, Message: "GET http://[::1]:80/: refused", Cause: probe.FailureCause{Class: probe.Dependency, Host: "::1", Port: "80"}, Duration: 1200 * time.Millisecond},
		{Name: "cert", Layer: "api", Status: probe.Warn, Message: "expires", Cause: probe.FailureCause{Class: probe.Config}},
		{Name: "late", Layer: "api", Status: probe.Skip, Message: "not run: 100% of it"},
	}, 2*time.Second)
}

func figuresText(all []Figure) string {
	var b strings.Builder
	for _, f := range all {
		fmt.Fprintf(&b, "%s %s %s", f.Check, f.Status, f.Duration)
		for _, v := range []*float64{f.Value, f.Limit} {
			if v != nil {
				fmt.Fprintf(&b, " %g", *v)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// What a report tells is read back from both of its forms.
func TestFigures(t *testing.T) {
	const want = "disk fail 0s 97.2 95\nmy db fail 1.2s\ncert warn 0s\ncpu ok 5ms 12.5 90\nnetwork ok 0s 0\nlate skip 0s\n"
	for _, text := range []string{written().Text(), string(written().JSON())} {
		if got := figuresText(Figures(text)); got != want {
			t.Errorf("%s\ngives\n%s", text, got)
		}
	}
}

// What is no report, or lies, makes no more series than the bound.
func TestFiguresOfTheHostile(t *testing.T) {
	var many, twice strings.Builder
	many.WriteString("healthy: x\n")
	twice.WriteString("healthy: x\n")
	for i := range 100 {
		fmt.Fprintf(&many, "ok   c%d  1ms  x\n", i)
		twice.WriteString("ok   same  1ms  x\n")
	}
	for text, want := range map[string]int{
		"": 0, "ok": 0, "healthy": 0, "healthy: x": 0, "pool exhausted\nok   cpu  1ms  x": 0, "{": 0, "{}": 0, `{"checks":[{"name":"a","status":"up"}]}`: 0,
		many.String(): maxFigures, twice.String(): 1, "healthy: x\n" + strings.Repeat("ok   a  1ms  x\n", 1000): 0,
		"healthy: x\nok   " + strings.Repeat("y", 500) + "  1ms  1e9%": 1, `{"checks":[{"name":"a","status":"ok","duration_ms":1e300,"value":1e308}]}`: 1,
	} {
		got := Figures(text)
		if len(got) != want {
			t.Errorf("%.60q: %d figures, want %d", text, len(got), want)
		}
		for _, f := range got {
			if len(f.Check) > maxName || f.Duration < 0 || f.Duration > 1e9*time.Millisecond {
				t.Errorf("%+v", f)
			}
		}
	}
}

func FuzzFigures(f *testing.F) {
	f.Add(written().Text())
	f.Add(string(written().JSON()))
	f.Fuzz(func(t *testing.T, text string) {
		all := Figures(text)
		if len(all) > maxFigures {
			t.Fatalf("%d figures", len(all))
		}
		seen := map[string]bool{}
		for _, c := range all {
			if seen[c.Check] || len(c.Check) > maxName || probe.Clean(c.Check) != c.Check || c.Duration < 0 {
				t.Fatalf("%+v", c)
			}
			seen[c.Check] = true
		}
	})
}
