package recovery

import (
	"encoding/json"
	"fmt"
	"html"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
)

// seconds is a time to recovery in words.
func seconds(v *float64) string {
	if v == nil {
		return "never"
	}
	return fmt.Sprintf("%.1f", *v)
}

func table(out io.Writer, all []Result) {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', tabwriter.AlignRight)
	name := ""
	for _, r := range all {
		if r.Fault != name {
			name = r.Fault
			fmt.Fprintf(w, "\n%s\trecovered after s\tat worst\trestarts\tneedless\tfailed requests\talerts\t\n", name)
		}
		worst := seconds(r.Worst)
		if r.Never > 0 {
			worst = "never"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%.1f\t%.1f\t%.0f\t%.1f\t\n", r.Contender, seconds(r.Recovery), worst, r.Restarts, r.Needless, r.Failed, r.Alerts)
	}
	w.Flush()
	fmt.Fprintln(out)
}

// write keeps the results for programs and as a picture.
func write(dir string, notes []string, results []Result, trials []Trial) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	explained := func(of func(add func(name, what string))) map[string]string {
		m := map[string]string{}
		of(func(name, what string) { m[name] = what })
		return m
	}
	data, err := json.MarshalIndent(map[string]any{"notes": notes, "results": results, "trials": trials,
		"faults": explained(func(add func(name, what string)) {
			for _, f := range faults {
				add(f.name, f.what)
			}
		}),
		"contenders": explained(func(add func(name, what string)) {
			for _, c := range contenders {
				add(c.name, c.what)
			}
		})}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "recovery.json"), append(data, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "recovery.svg"), []byte(picture(results)), 0o644)
}

// picture draws the time to recovery as a bar for each contender, fault by
// fault, with its restarts behind it, the needless ones as red squares.
func picture(all []Result) string {
	const left, width, row, square = 190, 380, 20, 9
	highest := 1.0
	for _, r := range all {
		if r.Recovery != nil {
			highest = max(highest, *r.Recovery)
		}
	}
	var b strings.Builder
	y, name, widest := 56, "", 0.0
	for _, r := range all {
		if r.Fault != name {
			name = r.Fault
			y += 10
			fmt.Fprintf(&b, `<text x="10" y="%d" font-weight="bold">%s</text>`+"\n", y+14, html.EscapeString(name))
			y += row
		}
		colour, length, text := "#9aa5b1", float64(width), "never"
		if strings.HasPrefix(r.Contender, "watchdog") {
			colour = "#2f855a"
		}
		if r.Recovery != nil {
			length, text = max(1, width**r.Recovery/highest), seconds(r.Recovery)+" s"
		} else {
			colour = "url(#never)"
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text><rect x="%d" y="%d" width="%.1f" height="13" fill="%s"/>`,
			left-10, y+14, html.EscapeString(r.Contender), left, y+4, length, colour)
		x := left + length + 6
		fmt.Fprintf(&b, `<text x="%.1f" y="%d">%s</text>`, x, y+14, text)
		x += 50
		for i := range int(r.Restarts + 0.5) {
			fill := "#2b6cb0"
			if float64(i) >= r.Restarts-r.Needless-0.05 {
				fill = "#c53030"
			}
			fmt.Fprintf(&b, `<rect x="%.1f" y="%d" width="%d" height="%d" fill="%s"/>`, x, y+6, square, square, fill)
			x += square + 3
		}
		widest = max(widest, x)
		b.WriteString("\n")
		y += row
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%d" font-family="sans-serif" font-size="13">
<defs><pattern id="never" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="6" height="6" fill="#edf2f7"/><rect width="2" height="6" fill="#9aa5b1"/></pattern></defs>
<rect width="100%%" height="100%%" fill="white"/>
<text x="10" y="24" font-size="15">From the fault to the last failed request (median; hatched: not within the trial)</text>
<text x="10" y="46">a square is a restart:</text><rect x="150" y="36" width="9" height="9" fill="#2b6cb0"/><text x="164" y="46">of a broken container</text><rect x="310" y="36" width="9" height="9" fill="#c53030"/><text x="324" y="46">needless</text>
%s</svg>
`, max(widest, 640)+20, y+16, b.String())
}
