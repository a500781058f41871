package protocol

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// Bounds on a page of metrics, in bytes. A server with many models fills some
// megabytes; a line that is longer than maxSeries is none that is looked for.
const (
	maxPage   = 16 << 20
	maxSeries = 16 << 10
)

// readPage hands the series of a page in Prometheus's text format to each, with
// the labels as they stand between the braces. It stops at the first error of
// each, and passes over lines that it cannot read.
func readPage(r io.Reader, each func(name, labels string, value float64) error) error {
	page := &io.LimitedReader{R: r, N: maxPage}
	lines := bufio.NewReaderSize(page, maxSeries)
	for begins := true; ; {
		line, err := lines.ReadSlice('\n')
		whole := begins && err != bufio.ErrBufferFull
		begins = err != bufio.ErrBufferFull
		if whole {
			if name, labels, value, ok := parseSeries(string(line)); ok {
				if err := each(name, labels, value); err != nil {
					return err
				}
			}
		}
		switch {
		case err == nil || err == bufio.ErrBufferFull:
		case !errors.Is(err, io.EOF):
			return err
		case page.N <= 0:
			return fmt.Errorf("the page is larger than %d bytes", maxPage)
		default:
			return nil
		}
	}
}

// parseSeries reads one line: name{label="value",…} value [timestamp]. A value
// that is not finite tells nothing.
func parseSeries(line string) (name, labels string, value float64, ok bool) {
	line = strings.Trim(line, " \t\r\n")
	end := strings.IndexAny(line, "{ \t")
	if end <= 0 || line[0] == '#' {
		return "", "", 0, false
	}
	name, line = line[:end], strings.TrimLeft(line[end:], " \t")
	if strings.HasPrefix(line, "{") {
		if end = endOfLabels(line); end < 0 {
			return "", "", 0, false
		}
		labels, line = line[1:end], line[end+1:]
	}
	fields := strings.Fields(line)
	if len(fields) == 0 || len(fields) > 2 {
		return "", "", 0, false
	}
	value, err := strconv.ParseFloat(fields[0], 64)
	return name, labels, value, err == nil && !math.IsNaN(value) && !math.IsInf(value, 0)
}

// endOfLabels is where the brace closes that s begins with; -1 for nowhere.
func endOfLabels(s string) int {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == '}' && !quoted:
			return i
		}
	}
	return -1
}

// labelOf is the value of a label, with its escapes as they stand; empty for
// none.
func labelOf(labels, name string) string {
	for labels != "" {
		key, rest, ok := strings.Cut(strings.TrimLeft(labels, ", \t"), "=")
		rest = strings.TrimLeft(rest, " \t")
		if !ok || !strings.HasPrefix(rest, `"`) {
			return ""
		}
		end := 1
		for end < len(rest) && rest[end] != '"' {
			if rest[end] == '\\' {
				end++
			}
			end++
		}
		if end >= len(rest) {
			return ""
		}
		if strings.TrimRight(key, " \t") == name {
			return rest[1:end]
		}
		labels = rest[end+1:]
	}
	return ""
}
