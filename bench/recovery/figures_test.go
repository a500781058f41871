package recovery

import (
	"encoding/xml"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

func at(s float64) time.Time { return time.UnixMilli(int64(s * 1000)) }

func TestJudge(t *testing.T) {
	before := request{at(9), 0, false} // is not the fault's
	for name, c := range map[string]struct {
		requests []request
		want     string
		failed   int
	}{
		"nothing failed":         {[]request{before, {at(11), 0, true}}, "0.0", 0},
		"until the last failure": {[]request{{at(10.1), 0, false}, {at(11), 0, true}, {at(12.5), 0, false}, {at(13), 0, true}}, "2.5", 2},
		"ended out of order":     {[]request{{at(13), 0, true}, {at(12), 0, false}}, "2.0", 1},
		"one of two never":       {[]request{{at(13), 0, true}, {at(12), 1, false}}, "never", 1},
	} {
		var trial Trial
		trial.judge(c.requests, at(10))
		if got := seconds(trial.Recovery); got != c.want || trial.Failed != c.failed {
			t.Errorf("%s: recovered after %s, %d failed; want %s, %d", name, got, trial.Failed, c.want, c.failed)
		}
	}
}

func TestNeedless(t *testing.T) {
	helps := map[string]int{"db": 1, "flaps": anyNumber}
	for want, restarts := range map[int]map[string]int{0: {"db": 1, "flaps": 9}, 1: {"db": 2}, 3: {"db": 1, "app": 3}} {
		if got := needless(restarts, helps); got != want {
			t.Errorf("%v: %d needless, want %d", restarts, got, want)
		}
	}
}

func TestParseRequest(t *testing.T) {
	r, ok := parseRequest("1500 2 fail")
	if want := (request{at(1.5), 2, false}); !ok || r != want {
		t.Errorf("got %v, %v, want %v", r, ok, want)
	}
	for _, line := range []string{"", "serving", "1500 2", "1500 2 perhaps"} {
		if _, ok := parseRequest(line); ok {
			t.Errorf("%q is taken for a request", line)
		}
	}
}

func TestSummarise(t *testing.T) {
	s := func(v float64) *float64 { return &v }
	trials := []Trial{
		{Fault: "hang", Contender: "watchdog", Recovery: s(3), Restarts: map[string]int{"app": 1}, Failed: 30, Alerts: 2},
		{Fault: "hang", Contender: "watchdog", Recovery: nil, Restarts: map[string]int{"app": 1, "db": 2}, Needless: 2, Failed: 90, Alerts: 1},
		{Fault: "hang", Contender: "watchdog", Recovery: s(2), Failed: 20},
		{Fault: "hang", Contender: "none"},
	}
	results := summarise(trials, []string{"crash", "hang"}, []string{"none", "watchdog"})
	if len(results) != 2 {
		t.Fatalf("got %v", results)
	}
	none, dog := results[0], results[1]
	if none.Recovery != nil || none.Worst != nil || none.Never != 1 {
		t.Errorf("got %+v", none)
	}
	if seconds(dog.Recovery) != "3.0" || seconds(dog.Worst) != "3.0" || dog.Never != 1 || dog.Restarts != 1.3 || dog.Needless != 0.7 || dog.Failed != 30 || dog.Alerts != 1 {
		t.Errorf("got %+v", dog)
	}
	svg := picture(results)
	if err := xml.NewDecoder(strings.NewReader(svg)).Decode(new(struct{})); err != nil || !strings.Contains(svg, "never") || !strings.Contains(svg, "3.0 s") {
		t.Errorf("%v:\n%s", err, svg)
	}
}

func TestChoose(t *testing.T) {
	got, err := choose(faults, fault.title, "hang,crash")
	if err != nil || strings.Join(names(got, fault.title), " ") != "crash hang" {
		t.Errorf("got %v, %v", got, err)
	}
	if err := Run(t.Context(), []string{"-faults", "flap"}, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), `hint: did you mean "flapping"?`) {
		t.Errorf("got %v", err)
	}
}

// The page explains every fault and every contender in the tables' words.
func TestPageHasTheTables(t *testing.T) {
	page, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range faults {
		if row := "| `" + f.name + "` | " + f.what + " |"; !strings.Contains(string(page), row) {
			t.Errorf("bench/README.md has no row %s", row)
		}
	}
	for _, c := range contenders {
		if row := "| `" + c.name + "` | " + c.what + " |"; !strings.Contains(string(page), row) {
			t.Errorf("bench/README.md has no row %s", row)
		}
	}
}
