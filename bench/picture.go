package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// picture draws the CPU time of each program as a bar, job by job, on a
// logarithmic scale: a script and a static program differ by a hundredfold.
func picture(all []result) string {
	const left, width, row = 350, 420, 22
	lowest, highest := math.Inf(1), 0.0
	for _, r := range all {
		lowest, highest = min(lowest, max(r.CPU, 0.1)), max(highest, r.CPU)
	}
	scale := func(v float64) float64 {
		return 10 + width*math.Log(max(v, lowest)/lowest)/math.Log(highest/lowest)
	}
	var b strings.Builder
	y, job := 34, ""
	for _, r := range all {
		if r.Job != job {
			job = r.Job
			y += 12
			fmt.Fprintf(&b, `<text x="10" y="%d" font-weight="bold">%s</text>`+"\n", y+15, html.EscapeString(job))
			y += row
		}
		colour := "#9aa5b1"
		if strings.HasPrefix(r.Program, "healthcheck") {
			colour = "#2f855a"
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text><rect x="%d" y="%d" width="%.1f" height="14" fill="%s"/><text x="%.1f" y="%d">%.2f ms</text>`+"\n",
			left-10, y+15, html.EscapeString(r.Program), left, y+4, scale(r.CPU), colour, left+scale(r.CPU)+6, y+15, r.CPU)
		y += row
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="13">
<rect width="100%%" height="100%%" fill="white"/>
<text x="10" y="24" font-size="15">CPU time of one probe, the whole process (median, logarithmic)</text>
%s</svg>
`, left+width+110, y+16, b.String())
}
