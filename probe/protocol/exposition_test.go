package protocol

import (
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"
)

func TestSeries(t *testing.T) {
	for _, c := range []struct {
		line, name, labels string
		value              float64
		ok                 bool
	}{
		{"up 1", "up", "", 1, true},
		{"vllm:n_total{engine=\"0\"} 4.5e+03\r", "vllm:n_total", `engine="0"`, 4500, true},
		{"  up\t{} 1 1760000000000", "up", "", 1, true},
		{`a{b="}\"{",c="\\"} 2`, "a", `b="}\"{",c="\\"`, 2, true},
		{`a{b="x"}2`, "a", `b="x"`, 2, true},
		{"# TYPE up gauge", "", "", 0, false},
		{"", "", "", 0, false},
		{"up", "", "", 0, false},
		{"up one", "", "", 0, false},
		{"up 1 2 3", "", "", 0, false},
		{"up NaN", "", "", 0, false},
		{"up +Inf", "", "", 0, false},
		{"up 1e999", "", "", 0, false},
		{`a{b="x} 2`, "", "", 0, false},
		{`{"a",b="x"} 2`, "", "", 0, false},
	} {
		name, labels, value, ok := parseSeries(c.line)
		if ok != c.ok || ok && (name != c.name || labels != c.labels || value != c.value) {
			t.Errorf("%q: %q %q %v %v", c.line, name, labels, value, ok)
		}
	}
}

func TestLabels(t *testing.T) {
	const labels = `xengine="1", engine = "0" ,model="a\"b,engine=\"9\"",le="+Inf",`
	for name, want := range map[string]string{"engine": "0", "xengine": "1", "model": `a\"b,engine=\"9\"`, "le": "+Inf", "": "", "gine": ""} {
		if got := labelOf(labels, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for _, broken := range []string{`a`, `a=`, `a=1`, `a="`, `a="\`, `a="\"`, `=`, `,`, `a="x"b`} {
		if got := labelOf(broken, "b"); got != "" {
			t.Errorf("%q: %q", broken, got)
		}
	}
}

// A page may be endless, have endless lines, or break off.
func TestPageIsBounded(t *testing.T) {
	read := func(r io.Reader) (found []string, err error) {
		err = readPage(r, func(name, _ string, _ float64) error { found = append(found, name); return nil })
		return found, err
	}
	long := strings.Repeat("x", maxSeries)
	if found, err := read(strings.NewReader("a 1\n" + long + "z 1\nlong" + long + "\nb 1\nc 1")); err != nil || strings.Join(found, " ") != "a b c" {
		t.Errorf("%q, %v", found, err)
	}
	if _, err := read(endlessReader("# x\n")); err == nil || !strings.Contains(err.Error(), "larger than 16777216 bytes") {
		t.Errorf("endless lines: %v", err)
	}
	if _, err := read(endlessReader("x")); err == nil || !strings.Contains(err.Error(), "larger than 16777216 bytes") {
		t.Errorf("an endless line: %v", err)
	}
	broken := errors.New("broken off")
	if found, err := read(io.MultiReader(strings.NewReader("a 1\nb 1"), iotest.ErrReader(broken))); err != broken || len(found) == 0 {
		t.Errorf("%q, %v", found, err)
	}
	enough := errors.New("enough")
	if err := readPage(endlessReader("a 1\n"), func(string, string, float64) error { return enough }); err != enough {
		t.Error(err)
	}
}

// endlessReader repeats itself.
type endlessReader string

func (e endlessReader) Read(b []byte) (n int, err error) {
	for n < len(b) {
		n += copy(b[n:], e)
	}
	return n, nil
}

func FuzzPage(f *testing.F) {
	f.Add("# HELP a b\na{b=\"c\\\"\"} 1 2\n")
	f.Add("vllm:iteration_tokens_total_count{engine=\"0\"} 1e308\nvllm:iteration_tokens_total_count{engine=\"0\"} 1e308\n")
	f.Add("sglang:http_requests_total{endpoint=\"/generate\"} 1\nsglang:num_queue_reqs{dp_rank=\"\xff\"} -1")
	f.Fuzz(func(t *testing.T, page string) {
		lines := 0
		err := readPage(strings.NewReader(page), func(name, labels string, value float64) error {
			lines++
			if name == "" || strings.ContainsAny(name, " \t\n{#") && name[0] == '#' || math.IsNaN(value) || math.IsInf(value, 0) {
				t.Errorf("%q %q %v", name, labels, value)
			}
			labelOf(labels, "engine")
			return nil
		})
		if err != nil || lines > strings.Count(page, "\n")+1 {
			t.Errorf("%d lines, %v", lines, err)
		}
		for _, k := range modelKinds {
			if k.metrics == nil {
				continue
			}
			seen, err := k.metrics.parse(strings.NewReader(page), "")
			if err == nil && len(seen) > maxEngines {
				t.Errorf("%d engines", len(seen))
			}
			now := tracks{}
			now.At = 1 << 40
			now.see(&tracks{}, 0, seen)
			if _, stands := now.longest(); stands != 0 {
				t.Errorf("one probe says that it stands for %s", stands)
			}
		}
	})
}
