package main

import (
	"fmt"
	"html"
	"regexp"
	"strings"
	"unicode/utf8"
)

// The measures of a picture, in pixels. Every line is stretched to its number
// of characters, so that any font of fixed width gives the same columns.
const (
	charWidth  = 7.8
	fontSize   = 13
	lineHeight = 19
	margin     = 16
)

// The colours, on a dark ground of the picture's own: it is read the same on a
// light page and on a dark one.
const (
	ground = "#0d1117"
	frame  = "#6e7681"
	plain  = "#e6edf3"
	strong = "#79c0ff"
	red    = "#ff7b72"
	yellow = "#e3b341"
	green  = "#56d364"
)

var (
	failed = regexp.MustCompile(`^FAIL\b|\b(unhealthy|given up)\b`)
	warned = regexp.MustCompile(`^warn\b|\bdegraded\b`)
	passed = regexp.MustCompile(`^ok\b|\bhealthy\b`)
)

// colour is a line's, by the verdict in it.
func colour(line string) string {
	switch {
	case strings.HasPrefix(line, "$ "):
		return strong
	case failed.MatchString(line):
		return red
	case warned.MatchString(line):
		return yellow
	case passed.MatchString(line):
		return green
	}
	return plain
}

// terminal draws text as an SVG that looks like a terminal.
func terminal(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	columns := 0
	for _, line := range lines {
		columns = max(columns, utf8.RuneCountInString(line))
	}
	width, height := float64(columns)*charWidth+2*margin, len(lines)*lineHeight+2*margin
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%d" viewBox="0 0 %.0f %d" font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="%d" role="img" aria-label="%s">
<rect x="0.5" y="0.5" width="%.0f" height="%d" rx="6" fill="%s" stroke="%s"/>
`, width, height, width, height, fontSize, html.EscapeString(lines[0]), width-1, height-1, ground, frame)
	for i, line := range lines {
		fmt.Fprintf(&b, `<text x="%d" y="%d" fill="%s" textLength="%.1f" lengthAdjust="spacingAndGlyphs" xml:space="preserve">%s</text>`+"\n",
			margin, margin+i*lineHeight+fontSize+1, colour(line), float64(utf8.RuneCountInString(line))*charWidth, html.EscapeString(line))
	}
	b.WriteString("</svg>\n")
	return b.String()
}
