package main

import (
	"os"
	"testing"

	"healthcheck/cmd/manual"
)

// The man page and the completions are those of the flags.
func TestManual(t *testing.T) {
	p := manual.Program{Name: "watchdog", Prefix: prefix, Short: "restart the unhealthy containers of a Docker host", See: []string{"healthcheck", "docker"},
		About: []string{
			"Follows the engine's health events and restarts what is unhealthy, at once and then with backoff. It verifies the recovery by the next probes, restarts what depends on it, and notifies people when it gives up.",
			"It watches containers with the label watchdog.enable=true, those that --services names, and with --all every one that has a healthcheck. A flag that concerns one container is a label, too: watchdog.max-attempts=5.",
		},
		Files: [][2]string{
			{"/etc/watchdog/watchdog.yml", "the configuration that the systemd unit of the packages names by --config"},
			{"/var/lib/watchdog/state.json", "what survives a restart of the watchdog"},
			{"/var/lib/watchdog/control.sock", "where status, history, reset, snooze and resume ask the daemon"},
		}}
	for _, c := range commands() {
		m := manual.Command{Name: c.name, Arguments: c.arguments, Short: c.short, About: c.about}
		if c.flags != nil {
			m.Flags = c.flags()
			addHelp(m.Flags)
		}
		p.Commands = append(p.Commands, m)
	}
	if err := p.Update("../../packaging", os.Getenv("UPDATE_DOCS") != ""); err != nil {
		t.Error(err)
	}
}
