// Command simulate plays histories of watchdog/simulation: the whole watchdog
// in fake time, against an engine in memory.
//
//	go -C e2e run ./simulate -hours 1000 -seed 7   # so many hours, from that seed on
//	go -C e2e run ./simulate -seed 7               # that seed alone
//	go -C e2e run ./simulate -seed 7 -trace        # and what happens in it
//	go -C e2e run ./simulate -mutants              # whether planted faults are found
//
// A history that breaks a rule is shortened, and printed. Fake time belongs to
// the tests of Go, so this builds the package's tests and runs them.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

func main() {
	seed := flag.Uint64("seed", 1, "the first seed")
	hours := flag.Float64("hours", 0, "simulate so many hours; 0: one history")
	wide := flag.Bool("wide", false, "histories of half a day with hundreds of services")
	trace := flag.Bool("trace", false, "print what happens in one history")
	mutants := flag.Bool("mutants", false, "plant faults, and see whether each is found within a minute")
	flag.Parse()
	dir, err := os.MkdirTemp("", "simulate")
	if err != nil {
		fail(err)
	}
	defer os.RemoveAll(dir)
	root, err := filepath.Abs("..")
	if err != nil {
		fail(err)
	}
	if *mutants {
		if n := hunt(root, dir); n > 0 {
			os.RemoveAll(dir)
			fail(fmt.Errorf("%d planted faults were not found", n))
		}
		return
	}
	test, err := build(root, dir, "")
	if err != nil {
		fail(err)
	}
	args := []string{"-test.run=^TestLong$", "-test.timeout=0", "-simulate.long", fmt.Sprint("-simulate.seed=", *seed), fmt.Sprint("-simulate.hours=", *hours), fmt.Sprint("-simulate.wide=", *wide), fmt.Sprint("-simulate.trace=", *trace)}
	cmd := exec.Command(test, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	begin := time.Now()
	err = cmd.Run()
	fmt.Printf("%s on this machine\n", time.Since(begin).Round(time.Second))
	if err != nil {
		os.RemoveAll(dir)
		os.Exit(1)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "error:", err)
	os.Exit(1)
}

// build compiles the simulation, with the files that an overlay replaces.
func build(root, dir, overlay string) (string, error) {
	test := filepath.Join(dir, "simulation.test")
	args := []string{"test", "-c", "-o", test}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.Command("go", append(args, "./watchdog/simulation")...)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go test -c: %w\n%s", err, out)
	}
	return test, nil
}
