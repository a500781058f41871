package protocol

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"healthcheck/probe/kept"
)

// kindOf is the kind of a scheme.
func kindOf(t *testing.T, scheme string) *modelKind {
	t.Helper()
	for i := range modelKinds {
		if modelKinds[i].scheme == scheme {
			return &modelKinds[i]
		}
	}
	t.Fatalf("no kind %s", scheme)
	return nil
}

func TestFiguresOfRecordedPages(t *testing.T) {
	for page, want := range map[string][]figures{
		"vllm/metrics":      {{engine: "0", steps: 4812, moves: 5250000.25, pending: 5, known: true}},
		"vllm/metrics-two":  {{engine: "0", steps: 4812, moves: 5250000.25, known: true}, {engine: "1", steps: 77, moves: 5250000.25, pending: 1, known: true}},
		"vllm/metrics-none": nil,
		"sglang/metrics":    {{steps: 1540, moves: 0.01, pending: 2, open: 2, known: true}},
		"llamacpp/metrics":  {{steps: 655, moves: 2510, pending: 5, known: true}},
		"triton/metrics":    {{engine: "bert", steps: 31, moves: 40, known: true}, {engine: "llama", steps: 7, moves: 7, pending: 9, known: true}},
		"tgi/metrics":       {{steps: 311, moves: 1, pending: 3, known: true}},
		"tgi/metrics-none":  nil,
		"tei/metrics":       {{steps: 8, moves: 8, pending: 1, known: true}},
	} {
		text, err := os.ReadFile("../../testdata/replies/" + page + ".http")
		must(t, err)
		_, body, _ := bytes.Cut(text, []byte("\r\n\r\n"))
		scheme, _, _ := strings.Cut(page, "/")
		got, err := kindOf(t, scheme).metrics.parse(bytes.NewReader(body), "")
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, %v, want %v", page, got, err, want)
		}
	}
}

// SGLang's server counts requests, and each of its ranks counts its steps: the
// requests are compared with the steps of all.
func TestFiguresOfRanks(t *testing.T) {
	seen, err := kindOf(t, "sglang").metrics.parse(strings.NewReader(`sglang:http_requests_total{endpoint="/generate"} 7
sglang:http_requests_total{endpoint="/flush_cache"} 7
sglang:http_responses_total{endpoint="/generate",status_code="200"} 4
sglang:realtime_tokens_total{dp_rank="0",mode="decode"} 10
sglang:realtime_tokens_total{dp_rank="1",mode="decode"} 20
sglang:num_running_reqs{dp_rank="1"} 1
`), "")
	must(t, err)
	if want := (figures{steps: 30, open: 3, known: true}); len(seen) != 3 || seen[0] != want || seen[1].engine != "0" || seen[2].pending != 1 {
		t.Errorf("%+v", seen)
	}
	var many strings.Builder
	for i := range maxEngines + 1 {
		fmt.Fprintf(&many, "vllm:num_requests_running{engine=\"%d\"} 1\n", i)
	}
	if seen, err := kindOf(t, "vllm").metrics.parse(strings.NewReader(many.String()), ""); err == nil || len(seen) > maxEngines {
		t.Errorf("%d engines, %v", len(seen), err)
	}
}

const sec = int64(time.Second)

// What one probe after the other makes of an engine. A track begins as at 100 s
// with 10 steps and 0 requests.
func TestTrackOfAnEngine(t *testing.T) {
	type saw struct {
		at int64 // seconds
		figures
	}
	at := func(at int64, steps, pending, open float64) saw {
		return saw{at, figures{steps: steps, pending: pending, open: open, known: true}}
	}
	for _, c := range []struct {
		name string
		saw  []saw
		want int64 // for how many seconds it stands, at the last probe
	}{
		{"idle for ever", []saw{at(100, 10, 0, 0), at(200, 10, 0, 0), at(9000, 10, 0, 0)}, 0},
		{"working", []saw{at(100, 10, 5, 0), at(200, 11, 5, 0), at(300, 12, 5, 0)}, 0},
		{"a first probe", []saw{at(100, 10, 5, 0)}, 0},
		{"two probes", []saw{at(100, 10, 5, 0), at(130, 10, 5, 0)}, 30},
		{"many probes", []saw{at(100, 10, 5, 0), at(130, 10, 1, 0), at(160, 10, 9, 0), at(250, 10, 9, 0)}, 150},
		{"idle in between", []saw{at(100, 10, 5, 0), at(130, 10, 0, 0), at(160, 10, 5, 0)}, 0},
		{"from idle", []saw{at(100, 10, 0, 0), at(130, 10, 1, 0), at(160, 10, 1, 0)}, 30},
		{"a step in between", []saw{at(100, 10, 5, 0), at(130, 11, 5, 0), at(160, 11, 5, 0)}, 30},
		{"restarted", []saw{at(100, 10, 5, 0), at(130, 0, 5, 0)}, 0},
		{"restarted, and hangs", []saw{at(100, 10, 5, 0), at(130, 0, 5, 0), at(160, 0, 5, 0)}, 30},
		{"the gauges lie, requests come", []saw{at(100, 10, 0, 0), at(130, 10, 0, 1), at(160, 10, 0, 2)}, 30},
		{"requests were lost long ago", []saw{at(100, 10, 0, 4), at(130, 10, 0, 4), at(900, 10, 0, 4)}, 0},
		{"requests were lost long ago, and one comes", []saw{at(100, 10, 0, 4), at(130, 10, 0, 5), at(900, 10, 0, 5)}, 770},
		{"a lost one among steps", []saw{at(100, 10, 0, 4), at(130, 12, 0, 5), at(900, 12, 0, 5)}, 0},
		{"fewer are open, then one comes", []saw{at(100, 10, 0, 4), at(130, 10, 0, 1), at(160, 10, 0, 2), at(190, 10, 0, 2)}, 30},
		{"more answers than requests", []saw{at(100, 10, 0, -3), at(130, 10, 0, -3)}, 0},
	} {
		var tr track
		for i, s := range c.saw {
			if i == 0 {
				tr = track{Steps: s.steps, Moves: s.moves, Open: s.open}
			}
			tr = tr.next(s.figures, s.at*sec)
		}
		now := tracks{Engines: []track{tr}}
		now.At = c.saw[len(c.saw)-1].at * sec
		if _, stands := now.longest(); stands != time.Duration(c.want*sec) {
			t.Errorf("%s: stands for %s, want %ds: %+v", c.name, stands, c.want, tr)
		}
	}
	// The share of the cache moves while chunks of a long prompt are computed.
	tr := track{Steps: 10, Moves: 0.25}.next(figures{steps: 10, moves: 0.25, pending: 1}, 100*sec)
	if tr = tr.next(figures{steps: 10, moves: 0.5, pending: 1}, 400*sec); tr.Since != 400*sec || tr.Probes != 1 {
		t.Errorf("%+v", tr)
	}
}

// What an earlier probe kept tells something, or does not.
func TestTracksOfAnEarlierProbe(t *testing.T) {
	kept := func(change func(*tracks)) tracks {
		k := tracks{Version: progressVersion, Container: "c", Moment: kept.Moment{Boot: "b", At: 1000 * sec}, Engines: []track{{Engine: "0", Steps: 10, Since: 900 * sec, Probes: 3}}}
		change(&k)
		return k
	}
	const gap = 300 * time.Second
	for _, c := range []struct {
		name   string
		change func(*tracks)
		now    int64 // seconds
		want   time.Duration
	}{
		{"as it is", func(*tracks) {}, 1030, 130 * time.Second},
		{"at the same moment", func(*tracks) {}, 1000, 100 * time.Second},
		{"as old as may be", func(*tracks) {}, 1300, 400 * time.Second},
		{"older", func(*tracks) {}, 1301, 0},
		{"from the future", func(*tracks) {}, 999, 0},
		{"from before the boot", func(k *tracks) { k.Boot = "a" }, 1030, 0},
		{"of another container", func(k *tracks) { k.Container = "d" }, 1030, 0},
		{"of another version", func(k *tracks) { k.Version = 0 }, 1030, 0},
		{"of another engine", func(k *tracks) { k.Engines[0].Engine = "1" }, 1030, 0},
		{"that moved since", func(k *tracks) { k.Engines[0].Steps = 9 }, 1030, 0},
		{"that moved otherwise", func(k *tracks) { k.Engines[0].Moves = 9 }, 1030, 0},
		{"negative", func(k *tracks) { k.At = -1 << 63 }, 1030, 0},
		{"since the future", func(k *tracks) { k.Engines[0].Since = 1001 * sec }, 1030, 0},
		{"since before time", func(k *tracks) { k.Engines[0].Since = -1 << 63 }, 1030, 0},
		{"with less than no probes", func(k *tracks) { k.Engines[0].Probes = -9 }, 1030, 0},
		{"nothing", func(k *tracks) { *k = tracks{} }, 1030, 0},
	} {
		old, now := kept(c.change), kept(func(k *tracks) { k.At, k.Engines = c.now*sec, nil })
		now.see(&old, gap, []figures{{engine: "0", steps: 10, pending: 2, known: true}})
		if _, stands := now.longest(); stands != c.want {
			t.Errorf("%s: stands for %s, want %s", c.name, stands, c.want)
		}
	}
}

// Of several engines each is judged by itself: one that hangs is found beside
// one that works, and one that is idle beside one that is busy is healthy.
func TestTracksOfSeveralEngines(t *testing.T) {
	probe := func(old tracks, at int64, seen ...figures) tracks {
		now := tracks{Version: progressVersion, Moment: kept.Moment{Boot: "b", At: at * sec}}
		now.see(&old, time.Hour, seen)
		text, err := json.Marshal(now) // as it is kept
		must(t, err)
		var again tracks
		must(t, json.Unmarshal(text, &again))
		return again
	}
	a := func(steps, pending float64) figures { return figures{engine: "a", steps: steps, pending: pending} }
	b := func(steps, pending float64) figures { return figures{engine: "b", steps: steps, pending: pending} }
	first := probe(tracks{}, 100, a(10, 3), b(20, 0))
	second := probe(first, 200, b(20, 0), a(11, 3))
	if _, stands := second.longest(); stands != 0 {
		t.Errorf("idle beside busy: %s", stands)
	}
	third := probe(second, 300, a(12, 3), b(20, 1))
	fourth := probe(third, 400, a(13, 3), b(20, 1))
	if i, stands := fourth.longest(); stands != 100*time.Second || fourth.Engines[i].Engine != "b" {
		t.Errorf("hangs beside busy: %d %s %+v", i, stands, fourth)
	}
	fifth := probe(fourth, 500, a(14, 3))
	if _, stands := fifth.longest(); stands != 0 || len(fifth.Engines) != 1 {
		t.Errorf("gone: %+v", fifth)
	}
}

// A canary is for engines of which the figures tell nothing: a first probe's, and
// idle ones.
func TestWhoNeedsACanary(t *testing.T) {
	after := func(old tracks, seen ...figures) tracks {
		now := tracks{Version: progressVersion, Moment: kept.Moment{Boot: "b", At: old.At + 30*sec}}
		now.see(&old, time.Hour, seen)
		return now
	}
	a := func(steps, pending float64) figures { return figures{engine: "a", steps: steps, pending: pending} }
	b := func(steps, pending float64) figures { return figures{engine: "b", steps: steps, pending: pending} }
	first := after(tracks{}, a(10, 0), b(20, 1))
	for name, c := range map[string]struct {
		now  tracks
		busy bool
	}{
		"a first probe":                  {first, false},
		"a first probe with work":        {after(tracks{}, a(10, 3)), false},
		"idle":                           {after(first, a(10, 0), b(20, 0)), false},
		"one moves, one is idle":         {after(first, a(11, 0), b(20, 0)), false},
		"both move":                      {after(first, a(11, 0), b(21, 0)), true},
		"one moves, one has work":        {after(first, a(11, 0), b(20, 1)), true},
		"both have work":                 {after(first, a(10, 1), b(20, 1)), true},
		"both move, and one is new":      {after(first, a(11, 0), b(21, 0), figures{engine: "c"}), false},
		"it was restarted, counts anew":  {after(first, a(0, 0), b(0, 0)), true},
		"it moved before the last probe": {after(after(first, a(11, 0)), a(11, 0)), false},
	} {
		if got := c.now.busy(); got != c.busy {
			t.Errorf("%s: busy %v", name, got)
		}
	}
}

func TestTracksOfASilentLoop(t *testing.T) {
	silent := func(old tracks, at int64) tracks {
		now := tracks{Version: progressVersion, Moment: kept.Moment{Boot: "b", At: at * sec}}
		now.unanswered(&old, time.Hour)
		return now
	}
	first := silent(tracks{}, 100)
	second := silent(first, 160)
	if _, stands := first.longest(); stands != 0 {
		t.Errorf("one probe: %s", stands)
	}
	if _, stands := second.longest(); stands != time.Minute {
		t.Errorf("two probes: %s", stands)
	}
	third := tracks{Version: progressVersion, Moment: kept.Moment{Boot: "b", At: 200 * sec}}
	third.see(&second, time.Hour, []figures{{steps: 10, pending: 1}})
	if _, stands := third.longest(); stands != 0 {
		t.Errorf("it answers again: %s", stands)
	}
}

// What is kept of as many engines as may be, with names as long and as hostile
// as may be, fits the file.
func TestTracksFitTheirFile(t *testing.T) {
	now := tracks{Version: progressVersion, Container: strings.Repeat("c", 300), Moment: kept.Moment{Boot: strings.Repeat("b", 36), At: 1 << 62}}
	for range maxEngines {
		now.Engines = append(now.Engines, track{Engine: strings.Repeat("\x01", maxEngine), Steps: -1.2345678901234567e-300, Moves: -1.2345678901234567e-300, Open: -1.2345678901234567e-300, Since: 1 << 62, Probes: 1 << 62})
	}
	if text, err := json.Marshal(now); err != nil || len(text) > kept.MaxFile {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}
