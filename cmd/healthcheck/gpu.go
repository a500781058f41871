package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"healthcheck/cmd/flags"
	"healthcheck/gpu"
	"healthcheck/probe"
)

// gpuCheck is the check of the GPU layer. It runs in a child process: a call
// into a driver that hangs may be beyond the reach of SIGKILL.
func gpuCheck(c *config) probe.Check {
	run := func(ctx context.Context) (probe.Finding, error) {
		s, err := gpu.Reader{InGroup: os.Getenv(isolateVariable) != ""}.Read(ctx)
		if err != nil && c.gpuOptional && gpu.Absent(err) {
			return probe.Finding{Status: probe.Warn, Message: "falling back to CPU: " + err.Error()}, nil
		}
		if err != nil {
			return probe.Finding{}, &probe.StageError{Stage: probe.StageRead, Err: err, Class: gpuClass(err)}
		}
		v := gpu.Judge(s, c.gpu)
		f := probe.Finding{Message: v.Summary}
		switch {
		case len(v.Failures) > 0:
			class := probe.Unknown // memory and utilisation may be this container's, or another's
			switch {
			case v.LostDevice:
				class = probe.Self
			case v.Hardware:
				class = probe.Host
			case v.EndProcesses:
				class = probe.Self
			}
			return f, &probe.StageError{Stage: probe.StageLimit, Class: class, Err: fmt.Errorf("%s (%s)", strings.Join(append(v.Failures, v.Warnings...), "; "), v.Summary)}
		case len(v.Warnings) > 0:
			f.Status = probe.Warn
			f.Message = strings.Join(v.Warnings, "; ") + " (" + v.Summary + ")"
		}
		return f, nil
	}
	return probe.Check{Name: "gpu", Layer: layerGPU, Run: isolated("gpu", "gpu", run), Cause: probe.FailureCause{Class: probe.Host}}
}

// gpuClass is what helps where no card could be looked at.
func gpuClass(err error) probe.Class {
	var fault *gpu.Fault
	if !errors.As(err, &fault) {
		return ""
	}
	switch fault.Kind {
	case gpu.Lost:
		return probe.Self
	case gpu.NotInjected, gpu.Permission, gpu.NoTool:
		return probe.Config
	}
	return probe.Host
}

const gpuHelp = `Usage: healthcheck gpu [--output json] [--watch 2s]
       healthcheck gpu fit [flags] MODEL=SIZE[+PER_ITEM] …
       healthcheck gpu fit --all [flags] MODEL=SIZE …

Shows the GPUs: memory, utilisation, temperature, power, uncorrectable ECC
errors, and what a card of its class is for.

fit prints the first model, in the order given, that fits the free memory, and
with PER_ITEM the largest batch behind it; cpu where none fits. It exits 0.

fit --all is for models that run side by side: it prints a line MODEL=GPU for
each, with the GPU as CUDA_VISIBLE_DEVICES takes it, or cpu. A model is left to
the CPU only where it cannot run beside those named before it.

  --all              where each of the models goes; at most 12
  --reserve SIZE     memory of each card to leave free (1GiB)
  --context SIZE     what the context takes on top of each model: for a KV cache
                     2 x layers x KV heads x head size x tokens x 2 bytes
  --split            a model may be spread over all cards
  --output STRING    text or json (text)
  --watch DURATION   show the table again and again
  --timeout DURATION how long to wait for the driver (8s)
`

// gpuOptions are the flags of healthcheck gpu and its fit.
type gpuOptions struct {
	output           string
	watch, timeout   durationValue
	reserve, context sizeValue
	all, split, help bool
}

// newGPUFlags declares the flags of healthcheck gpu and its fit.
func newGPUFlags() (*pflag.FlagSet, *gpuOptions) {
	o := &gpuOptions{timeout: durationValue(defaultTimeout), reserve: 1024}
	fs := pflag.NewFlagSet("gpu", pflag.ContinueOnError)
	fs.Usage = func() {}
	fs.StringVar(&o.output, "output", "text", "")
	fs.Var(&o.watch, "watch", "")
	fs.Var(&o.timeout, "timeout", "")
	fs.Var(&o.reserve, "reserve", "")
	fs.Var(&o.context, "context", "")
	fs.BoolVar(&o.all, "all", false, "")
	fs.BoolVar(&o.split, "split", false, "")
	fs.BoolVarP(&o.help, "help", "h", false, "")
	return fs, o
}

// runGPU is the command healthcheck gpu.
func runGPU(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs, o := newGPUFlags()
	if err := fs.Parse(args); err != nil {
		return fail(stderr, flags.ParseError("healthcheck", fs, err, example))
	}
	switch {
	case o.help:
		io.WriteString(stdout, gpuHelp)
		return 0
	case o.output != "text" && o.output != "json":
		return fail(stderr, usagef("--output text or --output json", "--output %q: want text or json", flags.Clip(o.output)))
	case fs.Arg(0) == "fit":
		if fs.Changed("watch") {
			return fail(stderr, usagef("healthcheck gpu --watch 2s", "--watch does not go with fit"))
		}
		return o.fit(ctx, fs.Args()[1:], stdout, stderr)
	case fs.NArg() > 0:
		return fail(stderr, usagef("healthcheck gpu, or healthcheck gpu fit MODEL=SIZE", "unexpected argument %q", flags.Clip(fs.Arg(0))))
	}
	for _, name := range []string{"all", "reserve", "context", "split"} {
		if fs.Changed(name) {
			return fail(stderr, usagef("healthcheck gpu fit --"+name+" …", "--%s goes with fit alone", name))
		}
	}
	return o.show(ctx, stdout, stderr)
}

// read looks at the cards, but no longer than the timeout.
func (o gpuOptions) read(ctx context.Context) (gpu.Snapshot, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Duration(o.timeout), probe.Timeout(o.timeout))
	defer cancel()
	type outcome struct {
		s   gpu.Snapshot
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		s, err := gpu.Reader{}.Read(ctx)
		done <- outcome{s, err}
	}()
	select {
	case r := <-done:
		return r.s, r.err
	case <-ctx.Done():
		return gpu.Snapshot{}, fmt.Errorf("the driver gave %w", context.Cause(ctx))
	}
}

// show prints the cards, once or until ctx ends.
func (o gpuOptions) show(ctx context.Context, stdout, stderr io.Writer) int {
	onTerminal := isTerminal(stdout)
	for {
		s, err := o.read(ctx)
		if err != nil {
			return fail(stderr, gpuError(err))
		}
		text := ""
		if o.output == "json" {
			text = cardsJSON(s)
		} else {
			text = cardsTable(s, o.watch > 0)
		}
		if o.watch > 0 && onTerminal {
			text = "\x1b[H\x1b[2J" + text // home, and clear
		}
		if _, err := io.WriteString(stdout, text); err != nil {
			return 1
		}
		if o.watch == 0 {
			return 0
		}
		select {
		case <-ctx.Done():
			return 0
		case <-time.After(time.Duration(o.watch)):
		}
	}
}

// gpuError gives a fault of the driver its hint.
func gpuError(err error) error {
	if f, ok := errors.AsType[*gpu.Fault](err); ok {
		return usagef(f.Hint, "%s", f.Text)
	}
	return err
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// cardsTable is the table for people; bars beside the figures where it is
// drawn again and again.
func cardsTable(s gpu.Snapshot, bars bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "driver %s, by %s\n", probe.Clean(orDash(s.Driver)), s.Source)
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "GPU\tNAME\tFOR\tTOTAL\tUSED\tFREE\tUTIL\tTEMP\tPOWER\tECC")
	for _, c := range s.Cards {
		used, util := figure(c.Used, " MiB"), figure(c.Util, "%")
		if bars {
			used += bar(c.Used, c.Total.Value)
			util += bar(c.Util, 100)
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s", c.Index, probe.Clean(orDash(c.Name)), c.Class(), figure(c.Total, " MiB"), used,
			figure(c.Free, " MiB"), util, figure(c.Temp, "°C"), figure(c.Power, " W"), figure(c.ECC, ""))
		if trouble := cmp.Or(c.Fault, c.Recovery); trouble != "" {
			fmt.Fprintf(w, "\t%s", probe.Clean(trouble))
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	return b.String()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func figure(f gpu.Figure, unit string) string {
	if !f.Known {
		return "-"
	}
	return strconv.FormatFloat(math.Round(f.Value*10)/10, 'f', -1, 64) + unit
}

// bar shows a share of whole in ten steps.
func bar(f gpu.Figure, whole float64) string {
	if !f.Known || whole <= 0 {
		return ""
	}
	n := min(10, max(0, int(10*f.Value/whole+0.5)))
	return " [" + strings.Repeat("#", n) + strings.Repeat("-", 10-n) + "]"
}

// jsonCard is a card for programs; what is not known is absent.
type jsonCard struct {
	Index   int      `json:"index"`
	Name    string   `json:"name"`
	UUID    string   `json:"uuid,omitempty"`
	Class   string   `json:"class"`
	MIG     bool     `json:"mig,omitempty"`
	Total   *float64 `json:"memory_total_mib,omitempty"`
	Used    *float64 `json:"memory_used_mib,omitempty"`
	Free    *float64 `json:"memory_free_mib,omitempty"`
	Util    *float64 `json:"utilisation_percent,omitempty"`
	Temp    *float64 `json:"temperature_celsius,omitempty"`
	Power   *float64 `json:"power_watts,omitempty"`
	ECC     *float64 `json:"ecc_uncorrectable,omitempty"`
	Fault   string   `json:"fault,omitempty"`
	Action  string   `json:"recovery_action,omitempty"`
	Healthy bool     `json:"healthy"`
}

func cardsJSON(s gpu.Snapshot) string {
	value := func(f gpu.Figure) *float64 {
		if !f.Known {
			return nil
		}
		return &f.Value
	}
	cards := []jsonCard{}
	for _, c := range s.Cards {
		v := gpu.Judge(gpu.Snapshot{Source: s.Source, Cards: []gpu.Card{c}}, gpu.Limits{})
		cards = append(cards, jsonCard{c.Index, c.Name, c.UUID, c.Class(), c.MIG, value(c.Total), value(c.Used), value(c.Free),
			value(c.Util), value(c.Temp), value(c.Power), value(c.ECC), c.Fault, c.Recovery, len(v.Failures) == 0})
	}
	return jsonLine(map[string]any{"source": s.Source, "driver": s.Driver, "gpus": cards})
}

func jsonLine(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and finite numbers only
	}
	return string(data) + "\n"
}

// fit prints the model that fits. Whatever ails the GPUs, there is an answer:
// cpu, with the reason on the standard error.
func (o gpuOptions) fit(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	const example = "healthcheck gpu fit llama3:70b=40GiB llama3:8b=6GiB"
	const allExample = "healthcheck gpu fit --all CHAT=6GiB EMBED=1GiB"
	var models []gpu.Model
	for _, a := range args {
		m, err := gpu.ParseModel(a)
		if err != nil {
			return fail(stderr, usagef(example, "%q: %s", flags.Clip(a), err))
		}
		m.Size += float64(o.context)
		models = append(models, m)
	}
	if len(models) == 0 {
		return fail(stderr, usagef(example, "no model is named"))
	}
	if o.all && o.split {
		return fail(stderr, usagef(allExample, "--all puts each model on one card: --split does not go with it"))
	}
	if o.all {
		if _, err := gpu.Pack(models, nil, 0); err != nil {
			return fail(stderr, usagef(allExample, "--all: %s", probe.Clean(flags.Clip(err.Error()))))
		}
	}
	s, err := o.read(ctx)
	warning := ""
	if err != nil {
		warning = err.Error()
		fmt.Fprintln(stderr, "warning: "+probe.Clean(warning))
	}
	out := o.first(models, s.Cards, warning)
	if o.all {
		out = o.beside(models, s.Cards, warning)
	}
	if _, err := io.WriteString(stdout, out); err != nil {
		return 1
	}
	return 0
}

// first says which model fits, for an entrypoint that starts one.
func (o gpuOptions) first(models []gpu.Model, cards []gpu.Card, warning string) string {
	choices, chosen := gpu.Fit(models, gpu.Available(cards, float64(o.reserve), o.split))
	name, batch := "cpu", 0
	if chosen >= 0 {
		name, batch = choices[chosen].Model, choices[chosen].Batch
	}
	switch {
	case o.output == "json":
		return jsonLine(map[string]any{"model": name, "batch": batch, "reserve_mib": float64(o.reserve), "warning": warning, "choices": choices})
	case batch > 0:
		return fmt.Sprintf("%s %d\n", name, batch)
	}
	return name + "\n"
}

// beside says where each model goes, for an entrypoint that starts all of them.
func (o gpuOptions) beside(models []gpu.Model, cards []gpu.Card, warning string) string {
	places, err := gpu.Pack(models, cards, float64(o.reserve))
	if err != nil {
		panic(err) // the models were looked at before the cards
	}
	if o.output == "json" {
		return jsonLine(map[string]any{"reserve_mib": float64(o.reserve), "warning": warning, "places": places})
	}
	var b strings.Builder
	for _, p := range places {
		fmt.Fprintf(&b, "%s=%s\n", p.Model, p.GPU)
	}
	return b.String()
}
