package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// mutant is a fault to plant: a part of a file, and what stands there instead.
type mutant struct {
	what, file, old, new string
}

var mutants = []mutant{
	{"a person's stop is taken for an end by itself", "watchdog/recovery/life.go", "\t\t\treturn endByPerson\n", "\t\t\treturn endByItself\n"},
	{"an overloaded host holds nothing back", "watchdog/recovery/decide.go", "if s.policy.ByCause && !s.Released && m.heldByLoad(s) {", "if false {"},
	{"one restart more at once", "watchdog/recovery/dispatch.go", "if running >= most && (", "if running > most && ("},
	{"one restart more in the window", "watchdog/recovery/dispatch.go", "if own && len(m.Restarts) >= m.Settings.MaxRestarts {", "if own && len(m.Restarts) > m.Settings.MaxRestarts {"},
	{"one attempt more", "watchdog/recovery/remedy.go", "s.Attempts >= s.policy.MaxAttempts", "s.Attempts > s.policy.MaxAttempts"},
	{"a pause too short", "watchdog/recovery/policy.go", "math.Pow(p.Multiplier, float64(n))", "math.Pow(p.Multiplier, float64(n-1))"},
	{"attempts are cleared too early", "watchdog/recovery/dispatch.go", "now.Sub(s.HealthySince) >= s.policy.StableFor:", "now.Sub(s.HealthySince) >= s.policy.StableFor/5:"},
	{"a second call while one is in flight", "watchdog/recovery/observe.go", "\tif s.inFlight() {\n\t\tif s.ID", "\tif false {\n\t\tif s.ID"},
	{"a stop by a person closes nothing", "watchdog/recovery/rules.go", "\tout = append(out, s.resolve(EventLeftAlone, text)...)\n", ""},
	{"a recovery closes nothing", "watchdog/recovery/rules_restart.go", "s.Open, a.Closes, a.Took = false, open, took", "s.Open, a.Closes, a.Took = false, open && false, took"},
	{"a swarm's task is restarted", "watchdog/recovery/settings.go", ` || c.Labels[swarmTask] != "" {`, " {"},
	{"a dry run restarts", "watchdog/recovery/rules_restart.go", "\tcase s.policy.DryRun:\n\t\treturn m.rehearse", "\tcase false:\n\t\treturn m.rehearse"},
	{"what is to be told of alone is stopped", "watchdog/recovery/rules_restart.go", "\tcase r == RemedyNotify:\n", "\tcase false:\n"},
	{"what was stopped is not known to be", "watchdog/recovery/remedy.go", "s.Phase, s.Due, s.Hold = ShutDown,", "s.Phase, s.Due, s.Hold = Idle,"},
	{"what was stopped is started again", "watchdog/recovery/transitions.go", "\t\t\treturn startedAgain\n\t\tcase Recreated:", "\t\t\treturn startedAgain\n\t\tcase Down:\n\t\t\treturn resetRule\n\t\tcase Recreated:"},
	{"a wrong password is restarted away", "watchdog/recovery/decide.go", "case probe.Self, probe.Unknown:", "case probe.Self, probe.Unknown, probe.Config:"},
	{"a hold does not end", "watchdog/recovery/decide.go", "\tcase ForOther, ForStart:\n\t\ts.Due", "\tcase \"never\":\n\t\ts.Due"},
	{"the victim is restarted, not the culprit", "watchdog/recovery/decide.go", "if d, bad := m.forDependency(c, b, now); bad {", "if d, bad := m.forDependency(c, b, now); bad && false {"},
	{"what was killed is not known to be removed", "watchdog/recovery/rules.go", "out = append(out, s.resolve(EventRemoved, \"removed: left alone\")...)\n\treturn append(out, m.unfollow", "return append(out, m.unfollow"},
	{"the end of an incident goes to no other", "watchdog/alert/router.go", "if slices.Contains(inc.Notified, receiverID(url)) {", "if false {"},
	{"an incident that is over stays open", "watchdog/alert/router.go", "\t\tdelete(r.open, id)\n", ""},
	{"an alert is repeated", "watchdog/alert/router.go", "if last, ok := inc.Sent[a.Event]; ok && now.Sub(last) < r.Every {", "if last, ok := inc.Sent[a.Event]; ok && now.Sub(last) < 0 {"},
	{"nothing is escalated", "watchdog/alert/router.go", "\t\t\tinc.notify(e.URL)\n\t\t\tm := inc.Last\n", "\t\t\tinc.notify(e.URL)\n\t\t\tcontinue\n\t\t\tm := inc.Last\n"},
	{"messages that wait are lost with a restart", "watchdog/alert/delivery.go", "if p.Receiver == receiverID(url) && ", "if p.Receiver == url && "},
	{"incidents are lost with a restart", "watchdog/alert/router.go", "\t\tr.open[id] = inc\n\t}\n}", "\t\t_ = id\n\t}\n}"},
	{"the state is not written", "watchdog/store/state.go", "err = renameio.WriteFile(f.Path, data, 0o600)", "err = renameio.WriteFile(f.Path+\".x\", data, 0o600)"},
	{"the state is not read", "watchdog/store/state.go", "\tif v.Services == nil {\n", "\tv = empty\n\tif v.Services == nil {\n"},
	{"a snooze is not kept", "watchdog/recovery/dispatch.go", "if paused, told := m.paused(s, now); paused {", "if paused, told := m.paused(s, now); paused && false {"},
	{"a person stops what follows another, and it is restarted", "watchdog/recovery/dependents.go", "c.State == \"running\" && s.Life.stopping(now, patience(c)): //", "false: //"},
	{"a disk that hangs delays a restart", "watchdog/evidence.go", "\tcase <-ctx.Done():\n\t\treturn \"\", context.DeadlineExceeded\n", "\tcase <-time.After(time.Hour):\n\t\treturn \"\", context.DeadlineExceeded\n"},
	{"services are saved without their attempts", "watchdog/recovery/service.go", "`json:\"attempts,omitempty\"`", "`json:\"-\"`"},
}

// plant writes the overlay that plants a fault.
func (m mutant) plant(root, dir string) (overlay string, err error) {
	path := filepath.Join(root, m.file)
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(text), m.old); n != 1 {
		return "", fmt.Errorf("%s: %d times %q", m.file, n, m.old)
	}
	changed := filepath.Join(dir, "changed.go")
	if err := os.WriteFile(changed, []byte(strings.Replace(string(text), m.old, m.new, 1)), 0o600); err != nil {
		return "", err
	}
	data, err := json.Marshal(map[string]any{"Replace": map[string]string{path: changed}})
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, data, 0o600)
}

// hunt plants one fault after the other, and counts those that no history
// finds within a minute.
func hunt(root, dir string) (missed int) {
	for i, m := range mutants {
		overlay, err := m.plant(root, dir)
		if err != nil {
			fail(err)
		}
		test, err := build(root, dir, overlay)
		if err != nil {
			fail(fmt.Errorf("%s: %w", m.what, err))
		}
		cmd := exec.Command(test, "-test.run=^TestLong$", "-test.timeout=1m", "-simulate.long", "-simulate.seed=1", "-simulate.hours=100000", "-simulate.short=false")
		begin := time.Now()
		out, err := cmd.CombinedOutput()
		why := "MISSED"
		switch {
		case err == nil, strings.Contains(string(out), "panic: test timed out"):
			missed++
		default:
			why = firstFault(string(out))
		}
		fmt.Printf("%2d  %3d s  %-50s %s\n", i+1, int(time.Since(begin).Seconds()), m.what, why)
	}
	return missed
}

// firstFault is what a history that failed says.
func firstFault(out string) string {
	const most = 110
	for line := range strings.Lines(out) {
		if _, text, ok := strings.Cut(line, " breaks a rule: "); ok || strings.HasPrefix(line, "panic: ") {
			if !ok {
				text = line
			}
			text = strings.TrimSpace(text)
			return text[:min(len(text), most)]
		}
	}
	return strings.TrimSpace(out[:min(len(out), most)])
}
