package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/xml"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// Figures are what differs between two runs of the same programs.
var (
	aDuration = regexp.MustCompile(`\b(\d+(\.\d+)?(h|ms|m|s))+\b`)
	aSize     = regexp.MustCompile(`\b\d+(\.\d+)? [KMGT]iB\b`)
	aNumber   = regexp.MustCompile(`\d+(\.\d+)?`)
	someSpace = regexp.MustCompile(` {2,}`)
)

// shape is a text without its figures, and without the width of its columns,
// which follows from them.
func shape(text string) string {
	text = aDuration.ReplaceAllString(text, "TIME")
	text = aSize.ReplaceAllString(text, "SIZE")
	text = aNumber.ReplaceAllString(text, "N")
	return someSpace.ReplaceAllString(text, "  ")
}

// pictureText returns the lines of a picture.
func pictureText(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var picture struct {
		Lines []string `xml:"text"`
	}
	if err := xml.Unmarshal(data, &picture); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return strings.Join(picture.Lines, "\n")
}

// The pictures show what the programs print today: names, verdicts, columns.
func TestPictures(t *testing.T) {
	t.Parallel()
	fresh := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	program := filepath.Join(fresh, "pictures")
	if out, code := output(t, nil, "go", "build", "-o", program, "./pictures"); code != 0 {
		t.Fatal(out)
	}
	cmd := exec.CommandContext(ctx, program, "-bin", bin, "-out", fresh)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it removes its containers
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for picture, lines := range map[string]int{"healthcheck.svg": 9, "watchdog-status.svg": 5} {
		kept, now := pictureText(t, "../docs/pictures/"+picture), pictureText(t, filepath.Join(fresh, picture))
		if n := strings.Count(now, "\n") + 1; n != lines {
			t.Errorf("%s has %d lines, want %d:\n%s", picture, n, lines, now)
		}
		if a, b := shape(kept), shape(now); a != b {
			t.Errorf("docs/pictures/%s is not what is printed today; go -C e2e run ./pictures draws it.\nin the picture:\n%s\ntoday:\n%s", picture, a, b)
		}
	}
	const picture = "watchdog-page.png"
	if a, b := pageShape(pngText(t, "../docs/pictures/"+picture)), pageShape(pngText(t, filepath.Join(fresh, picture))); a != b || !strings.Contains(a, "N of N services are not healthy") {
		t.Errorf("docs/pictures/%s is not the page of today; go -C e2e run ./pictures draws it.\nin the picture:\n%s\ntoday:\n%s", picture, a, b)
	}
}

var (
	aClock  = regexp.MustCompile(`(\d+ [A-Z][a-z]{2} )?\d\d:\d\d:\d\d`)
	aLength = regexp.MustCompile(`\b\d+ (d|h|min|s)( \d+ (h|min|s))?\b`)
)

// pageShape is the shape of a page's text: its lines in any order, since
// incidents of one second may come in either.
func pageShape(text string) string {
	lines := strings.Split(shape(aLength.ReplaceAllString(aClock.ReplaceAllString(text, "CLOCK"), "TIME")), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// pngText returns the text that was put into a picture.
func pngText(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if picture, err := png.DecodeConfig(bytes.NewReader(data)); err != nil || picture.Width < 900 || len(data) > 150_000 {
		t.Errorf("%s: %v, %+v, %d bytes", file, err, picture, len(data))
	}
	for at := 8; at+8 < len(data); {
		size := int(binary.BigEndian.Uint32(data[at:]))
		if text, ok := strings.CutPrefix(string(data[at+4:at+8+size]), "iTXtComment\x00\x00\x00\x00\x00"); ok {
			return text
		}
		at += 12 + size
	}
	t.Fatalf("%s holds no text", file)
	return ""
}

func TestShape(t *testing.T) {
	for text, want := range map[string]string{
		"ok   memory      0ms  41.0% of 1.0 GiB (max 90%)":                                    "ok  memory  TIME  N% of SIZE (max N%)",
		"pdf-chat/ollama/1  pdf-chat-ollama  unhealthy  waiting   1 of 3    in 4m58s  reason": "pdf-chat/ollama/N  pdf-chat-ollama  unhealthy  waiting  N of N  in TIME  reason",
	} {
		if got := shape(text); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
