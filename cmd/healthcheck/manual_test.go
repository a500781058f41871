package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"healthcheck/cmd/manual"
)

// gpuFlag is a flag's line in the help of healthcheck gpu, with those below it
// that go on.
var gpuFlag = regexp.MustCompile(`(?m)^  --([a-z]+)( [A-Z]+)? +(.*(?:\n {15,}.*)*)`)

// The man page and the completions are those of the flags.
func TestManual(t *testing.T) {
	all, _ := newFlags()
	wait, _ := newWaitFlags()
	gpu, _ := newGPUFlags()
	for _, m := range gpuFlag.FindAllStringSubmatch(gpuHelp, -1) {
		kind := ""
		if m[2] != "" {
			kind = "`" + strings.TrimSpace(m[2]) + "` "
		}
		gpu.Lookup(m[1]).Usage = kind + strings.Join(strings.Fields(regexp.MustCompile(` \([^()]*\)$`).ReplaceAllString(m[3], "")), " ")
	}
	gpu.Lookup("help").Usage = all.Lookup("help").Usage
	p := manual.Program{Name: "healthcheck", Prefix: "HEALTHCHECK_", Short: "check resources, API, database and vector store", See: []string{"watchdog", "docker"},
		About: []string{
			"Checks the resources of the container that it runs in, its API, database, vector store and GPUs under one deadline, says what is wrong, and exits 0 (healthy or degraded) or 1. It is made for HEALTHCHECK in a Dockerfile, for exec probes, and for the shell.",
			"With no flag: CPU 90, memory 90, disk 95 percent, then /health, /db/health and /vector/health on http://localhost:5000. A TARGET is a path or a URL, whose scheme picks the check.",
		},
		Commands: []manual.Command{
			{Flags: all},
			{Name: "gpu", Short: "show the GPUs", About: "Shows the GPUs: memory, utilisation, temperature, power, uncorrectable ECC errors, and what a card of its class is for.", Flags: gpu},
			{Name: "gpu fit", Arguments: "MODEL=SIZE[+PER_ITEM] ...", Short: "which model fits", About: "Prints the first model, in the order given, that fits the free memory, and with PER_ITEM the largest batch behind it; cpu where none fits."},
			{Name: "wait", Arguments: "[-- COMMAND ARG...]", Short: "wait until all is healthy", About: "Tries the checks until all are healthy or degraded, then becomes COMMAND, or exits 0. Exits 1 when --wait-timeout is over.", Flags: wait},
			{Name: "install", Arguments: "FILE", Short: "copy this program", About: "Copies this program to FILE, for an init container that brings it to a volume."},
		}}
	if err := p.Update("../../packaging", os.Getenv("UPDATE_DOCS") != ""); err != nil {
		t.Error(err)
	}
	if gpu.Lookup("reserve").Usage == "" {
		t.Error("the help of healthcheck gpu is not understood")
	}
}
