package gpu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// smiFields are asked in one query. Driver 535 and later know them all.
var smiFields = []string{"index", "uuid", "name", "driver_version", "memory.total", "memory.used", "memory.free", "utilization.gpu",
	"temperature.gpu", "power.draw", "ecc.errors.uncorrected.volatile.total", "retired_pages.pending", "remapped_rows.pending",
	"remapped_rows.failure", "clocks_throttle_reasons.active", "mig.mode.current"}

// smiQueries are the queries, newest first. A field that a driver does not know
// fails its whole query; then the next is asked.
var smiQueries = []struct {
	since  int // the first driver that knows all fields
	fields []string
}{
	{570, append(slices.Clip(smiFields), "gpu_recovery_action")},
	{530, append(slices.Clip(smiFields), "reset_status.reset_required", "reset_status.drain_and_reset_recommended")},
	{470, smiFields},
	{0, smiFields[:11]},
}

// smiNeeds is how many fields an answer has at least.
const smiNeeds = 11

// maxSMI bounds what nvidia-smi may print, in bytes: sixteen cards and more.
const maxSMI = 64 << 10

// smi asks nvidia-smi once, where the driver's version can be read and there is
// no MIG; where it cannot, once more for each query that is too new for it.
func (r Reader) smi(ctx context.Context) (Snapshot, error) {
	path, err := findSMI()
	if err != nil {
		return Snapshot{}, errUnavailable
	}
	version, _ := os.ReadFile(cmp.Or(r.Version, "/proc/driver/nvidia/version"))
	driver := driverMajor(string(version))
	for i, q := range smiQueries {
		last := i == len(smiQueries)-1
		if driver > 0 && driver < q.since && !last {
			continue
		}
		out, code, err := r.runSMI(ctx, path, maxSMI, "--query-gpu="+strings.Join(q.fields, ","), "--format=csv,noheader,nounits")
		if err != nil {
			return Snapshot{}, err
		}
		if code == smiBadArgument && !last {
			continue
		}
		s, err := readSMI(code, out, q.fields)
		if err != nil {
			return s, err
		}
		return r.smiInstances(ctx, path, s)
	}
	panic("unreachable: the last query returns")
}

// driverMajor is the first part of the loaded driver's version, by the text of
// /proc/driver/nvidia/version; 0 where it does not say.
func driverMajor(text string) int {
	line, _, _ := strings.Cut(text, "\n")
	for word := range strings.FieldsSeq(line) {
		major, rest, ok := strings.Cut(word, ".")
		if n, err := strconv.Atoi(major); ok && err == nil && n >= 100 && rest != "" && rest[0] >= '0' && rest[0] <= '9' {
			return n
		}
	}
	return 0
}

// smiBadArgument is nvidia-smi's exit code for a field that it does not know.
const smiBadArgument = 2

// smiInfoROM is nvidia-smi's exit code for a warning beside valid figures: the
// infoROM of a card is corrupted (nvidia-smi(1), RETURN VALUE).
const smiInfoROM = 14

func readSMI(code int, out string, fields []string) (Snapshot, error) {
	if code != 0 && code != smiInfoROM {
		return Snapshot{}, smiFault(code, out)
	}
	var figures, warning strings.Builder
	for line := range strings.Lines(out) {
		if code == smiInfoROM && strings.HasPrefix(strings.ToLower(line), "warning:") {
			warning.WriteString(line)
		} else {
			figures.WriteString(line)
		}
	}
	s, err := parseSMI(figures.String(), fields)
	switch {
	case code == 0:
		return s, err
	case err != nil || len(s.Cards) == 0:
		return s, smiFault(code, out)
	}
	s.Warning = "nvidia-smi: infoROM is corrupted"
	if text, _, _ := strings.Cut(warning.String(), "\n"); text != "" {
		s.Warning = fmt.Sprintf("nvidia-smi: %q", text[:min(len(text), 200)])
	}
	return s, nil
}

// findSMI looks on PATH, which a probe's environment may lack, and where the
// container toolkit mounts it.
func findSMI() (string, error) {
	if path, err := exec.LookPath("nvidia-smi"); err == nil {
		return path, nil
	}
	return exec.LookPath("/usr/bin/nvidia-smi")
}

// reapGrace is how long a killed child is waited for.
const reapGrace = 50 * time.Millisecond

// runSMI does not wait for a child that hangs in the kernel: at the end of ctx
// it kills the child with its children and goes.
func (r Reader) runSMI(ctx context.Context, path string, limit int64, args ...string) (out string, code int, err error) {
	pr, pw, err := os.Pipe()
	if err != nil {
		return "", 0, fmt.Errorf("nvidia-smi: %w", err)
	}
	defer pr.Close()
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = pw, pw // it prints its errors to the standard output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: !r.InGroup, Pdeathsig: syscall.SIGKILL}
	err = cmd.Start()
	pw.Close()
	if err != nil {
		return "", 0, fmt.Errorf("nvidia-smi: %w", err)
	}
	type outcome struct {
		text []byte
		err  error
	}
	done := make(chan outcome, 1)
	go func() {
		text, err := io.ReadAll(io.LimitReader(pr, limit))
		if werr := cmd.Wait(); err == nil {
			err = werr
		}
		done <- outcome{text, err}
	}()
	select {
	case o := <-done:
		if exit, ok := errors.AsType[*exec.ExitError](o.err); ok {
			return string(o.text), exit.ExitCode(), nil
		}
		return string(o.text), 0, o.err
	case <-ctx.Done():
		if r.InGroup {
			cmd.Process.Kill()
		} else {
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
		select { // or it stays behind as a zombie
		case <-done:
		case <-time.After(reapGrace):
		}
		return "", 0, fmt.Errorf("nvidia-smi: %w", context.Cause(ctx))
	}
}

// parseSMI reads the lines of a query of these fields. A driver's error may
// stand among them.
func parseSMI(out string, fields []string) (Snapshot, error) {
	s := Snapshot{Source: "nvidia-smi"}
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		values := strings.Split(line, ",")
		index, err := strconv.Atoi(strings.TrimSpace(values[0]))
		if len(values) < smiNeeds || err != nil || index < 0 {
			return s, smiFault(0, line)
		}
		c := Card{Index: index}
		for i, field := range fields[:min(len(fields), len(values))] {
			setField(&s, &c, field, strings.TrimSpace(values[i]))
		}
		s.Cards = append(s.Cards, c)
	}
	return s, nil
}

// setField takes one value of a query into the card, or the fault in its place.
func setField(s *Snapshot, c *Card, field, text string) {
	figure, fault := parseFigure(text)
	if fault != "" {
		c.Fault = fault
	}
	switch field {
	case "uuid":
		c.UUID = text
	case "name":
		c.Name = text
	case "driver_version":
		s.Driver = text
	case "memory.total":
		c.Total = figure
	case "memory.used":
		c.Used = figure
	case "memory.free":
		c.Free = figure
	case "utilization.gpu":
		c.Util = figure
	case "temperature.gpu":
		c.Temp = figure
	case "power.draw":
		c.Power = figure
	case "ecc.errors.uncorrected.volatile.total":
		c.ECC = figure
	case "retired_pages.pending":
		c.RetirePending = figure
	case "remapped_rows.pending":
		c.RemapPending = figure
	case "remapped_rows.failure":
		c.RemapFailed = figure
	case "clocks_throttle_reasons.active":
		c.Throttle = figure
	case "mig.mode.current":
		c.MIG = strings.EqualFold(text, "enabled")
	case "gpu_recovery_action":
		c.Recovery = parseRecovery(text)
	case "reset_status.drain_and_reset_recommended":
		if figure.Value > 0 && c.Recovery == "" {
			c.Recovery = RecoveryDrainAndReset
		}
	case "reset_status.reset_required":
		if figure.Value > 0 {
			c.Recovery = RecoveryReset
		}
	}
}

// parseFigure reads a number, yes or no, a bit mask, or one of nvidia-smi's
// placeholders: those that mean absent, and those that mean a fault.
func parseFigure(text string) (figure Figure, fault string) {
	switch word := strings.ToLower(strings.Trim(text, "[]")); word {
	case "yes":
		return known(1), ""
	case "no":
		return known(0), ""
	case "unknown error", "gpu is lost", "gpu requires reset", "err!", "timeout", "interrupt request issue":
		return Figure{}, strings.Trim(text, "[]")
	}
	if mask, ok := strings.CutPrefix(text, "0x"); ok {
		if v, err := strconv.ParseUint(mask, 16, 64); err == nil {
			return known(float64(v)), ""
		}
		return Figure{}, ""
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(v >= 0 && v <= 1e15) { // nor NaN
		return Figure{}, ""
	}
	return known(v), ""
}

// smiFault sorts nvidia-smi's exit codes (nvidia-smi(1), RETURN VALUE) and its
// printed errors.
func smiFault(code int, out string) error {
	text, _, _ := strings.Cut(strings.TrimSpace(out), "\n")
	if len(text) > 200 {
		text = text[:200]
	}
	said := fmt.Sprintf("nvidia-smi: exit %d: %q", code, text)
	lower := strings.ToLower(out)
	switch {
	case code == 18 || strings.Contains(lower, "version mismatch"):
		return fault(Mismatch, "%s", said)
	case strings.Contains(lower, "unknown error") || code == 255:
		return fault(Lost, "%s", said)
	case code == 9 || strings.Contains(lower, "couldn't communicate with the nvidia driver") || strings.Contains(lower, "driver is not loaded"):
		return fault(NoDriver, "%s", said)
	case code == 4 || strings.Contains(lower, "insufficient permissions"):
		return fault(Permission, "%s", said)
	case code == 12:
		return fault(NoTool, "%s", said)
	case code == 17:
		return fault(Blocked, "%s", said)
	case code == 6 || strings.Contains(lower, "no devices were found"):
		return fault(NoCards, "%s", said)
	}
	return fault(Broken, "%s", said)
}
