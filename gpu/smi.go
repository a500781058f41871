package gpu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// smiFields are asked in one query. Driver 535 and later know them all.
var smiFields = []string{"index", "uuid", "name", "driver_version", "memory.total", "memory.used", "memory.free", "utilization.gpu",
	"temperature.gpu", "power.draw", "ecc.errors.uncorrected.volatile.total", "retired_pages.pending", "remapped_rows.pending",
	"remapped_rows.failure", "clocks_throttle_reasons.active", "mig.mode.current"}

// smiFieldsOld are those that every driver in use knows; a field that a driver
// does not know fails the whole query.
const smiFieldsOld = 11

// maxSMI bounds what nvidia-smi may print, in bytes: sixteen cards and more.
const maxSMI = 64 << 10

// smi asks nvidia-smi once, or twice where an old driver does not know a field.
func (r Reader) smi(ctx context.Context) (Snapshot, error) {
	path, err := findSMI()
	if err != nil {
		return Snapshot{}, errUnavailable
	}
	out, code, err := r.runSMI(ctx, path, smiFields)
	if err == nil && code == 2 {
		out, code, err = r.runSMI(ctx, path, smiFields[:smiFieldsOld])
	}
	if err != nil {
		return Snapshot{}, err
	}
	return readSMI(code, out)
}

// smiInfoROM is nvidia-smi's exit code for a warning beside valid figures: the
// infoROM of a card is corrupted (nvidia-smi(1), RETURN VALUE).
const smiInfoROM = 14

func readSMI(code int, out string) (Snapshot, error) {
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
	s, err := parseSMI(figures.String())
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
func (r Reader) runSMI(ctx context.Context, path string, fields []string) (out string, code int, err error) {
	pr, pw, err := os.Pipe()
	if err != nil {
		return "", 0, fmt.Errorf("nvidia-smi: %w", err)
	}
	defer pr.Close()
	cmd := exec.Command(path, "--query-gpu="+strings.Join(fields, ","), "--format=csv,noheader,nounits")
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
		text, err := io.ReadAll(io.LimitReader(pr, maxSMI))
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

// parseSMI reads the lines of a query, in the order of smiFields. A driver's
// error may stand among them.
func parseSMI(out string) (Snapshot, error) {
	s := Snapshot{Source: "nvidia-smi"}
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		f := strings.Split(line, ",")
		index, err := strconv.Atoi(strings.TrimSpace(f[0]))
		if len(f) < smiFieldsOld || err != nil || index < 0 {
			return s, smiFault(0, line)
		}
		for i := range f {
			f[i] = strings.TrimSpace(f[i])
		}
		f = append(f, make([]string, max(0, len(smiFields)-len(f)))...)
		s.Driver = f[3]
		s.Cards = append(s.Cards, parseCard(index, f))
	}
	return s, nil
}

func parseCard(index int, f []string) Card {
	c := Card{Index: index, UUID: f[1], Name: f[2], MIG: strings.EqualFold(f[15], "enabled")}
	for i, to := range map[int]*Figure{4: &c.Total, 5: &c.Used, 6: &c.Free, 7: &c.Util, 8: &c.Temp, 9: &c.Power, 10: &c.ECC,
		11: &c.RetirePending, 12: &c.RemapPending, 13: &c.RemapFailed, 14: &c.Throttle} {
		figure, fault := parseFigure(f[i])
		*to = figure
		if fault != "" {
			c.Fault = fault
		}
	}
	if _, fault := parseFigure(f[2]); fault != "" {
		c.Fault = fault
	}
	return c
}

// parseFigure reads a number, yes or no, a bit mask, or one of nvidia-smi's
// placeholders: those that mean absent, and those that mean a fault.
func parseFigure(text string) (figure Figure, fault string) {
	switch word := strings.ToLower(strings.Trim(text, "[]")); word {
	case "yes":
		return known(1), ""
	case "no":
		return known(0), ""
	case "unknown error", "gpu is lost", "gpu requires reset", "err!":
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
