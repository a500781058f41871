package lint

import (
	"slices"
	"strings"
	"unicode"
)

// The levels of findings.
const (
	levelError   = "error"   // it does not work, for certain
	levelWarning = "warning" // it works, at a price
	levelNote    = "note"    // something that could not be seen
)

// Finding is what one rule found in one service.
type Finding struct {
	Rule    string `json:"rule"`
	Level   string `json:"level"` // error, warning or note
	Service string `json:"service"`
	Place   string `json:"place"`
	Line    int    `json:"line,omitempty"`
	Message string `json:"message"`
	Instead string `json:"instead"`
}

// Rule looks for one kind of fault.
type Rule struct {
	Name, What string
	Level      string // error, warning or note
	// find looks at one service, findAll at all of them.
	find    func(Subject) []problem
	findAll func(Target, Options) []problem
}

// problem is what is wrong and what to write instead; at is the key that it
// stands at.
type problem struct {
	message, instead, at string
	// service and place are set by rules that look at all services.
	service string
	place   Place
}

// Options say how to apply the rules.
type Options struct {
	// Ignore are rules that are left out.
	Ignore []string
	// Services are the names that are watched without a label.
	Services []string
	// rules are the names of all rules.
	rules []string
}

// Rules is the table of all rules, in the order of their findings.
var Rules = []Rule{
	{"services-match-nothing", "a name in --services that nothing has", levelError, nil, servicesMatchNothing},
	{"ignores-nothing", "lint:ignore with the name of no rule", levelWarning, nil, ignoresNothing},

	{"no-healthcheck", "a service without a healthcheck: nobody notices when it hangs", levelWarning, noHealthcheck, nil},
	{"healthcheck-not-seen", "no healthcheck that can be seen; the image may bring one", levelNote, healthcheckNotSeen, nil},
	{"watched-without-healthcheck", "a watched service without a healthcheck: only its death is noticed", levelError, watchedWithout, nil},
	{"watched-healthcheck-not-seen", "a watched service without a healthcheck that can be seen", levelWarning, watchedNotSeen, nil},
	{"not-judged", "a healthcheck that depends on a variable that is not set", levelNote, notJudged, nil},

	{"competing-restart-policy", "a restart policy beside the watchdog", levelWarning, competingPolicy, nil},
	{"autoheal-beside-watchdog", "labels of two programs that restart the same container", levelWarning, autohealBeside, nil},
	{"unknown-label", "a watchdog label that is no setting, or has no good value", levelWarning, unknownLabel, nil},
	{"waits-for-health-that-never-comes", "a service that waits for the health of one that has no healthcheck", levelError, waitsForNoHealth, nil},
	{"waits-for-unseen-health", "a service that waits for the health of one whose healthcheck cannot be seen", levelNote, waitsForUnseen, nil},
	{"liveness-looks-at-dependencies", "a watched service that is restarted when its database is down", levelWarning, livenessOfDependencies, nil},

	{"dependency-not-named", "a check that asks a dependency through the application, which names no culprit", levelWarning, dependencyNotNamed, nil},
	{"dependency-nobody-reports", "a watched dependency without a healthcheck, of which another service could report", levelWarning, nil, dependencyNobodyReports},

	{"timeout-not-shorter-than-interval", "a timeout that makes an outage be noticed late", levelWarning, timeoutTooLong, nil},
	{"one-failure-restarts", "a single failed probe restarts a watched service", levelWarning, oneFailure, nil},
	{"start-period-too-short", "a start period shorter than the start", levelWarning, startPeriodTooShort, nil},
	{"slow-probe", "a probe that takes more than half of its timeout", levelWarning, slowProbe, nil},
	{"probe-outlasts-timeout", "a probe whose own timeouts add up to more than the engine allows", levelWarning, outlastsTimeout, nil},
	{"own-timeout-refused", "flags with which the probe refuses to run", levelError, ownTimeoutRefused, nil},
	{"own-timeout-not-shorter", "a probe that is killed before its own --timeout, so that its cause is lost", levelWarning, ownTimeoutNotShorter, nil},

	{"kubernetes-timeout-missing", "a probe without timeoutSeconds, which is 1 s", levelWarning, kubernetesTimeoutMissing, nil},
	{"kubernetes-timeout-not-shorter-than-period", "a timeout that is not shorter than the period", levelError, kubernetesTimeoutTooLong, nil},
	{"kubernetes-initial-delay", "initialDelaySeconds where a startup probe belongs", levelWarning, kubernetesInitialDelay, nil},
	{"kubernetes-no-startup-probe", "a slow start that the liveness probe cuts short", levelWarning, kubernetesNoStartup, nil},

	{"test-without-cmd", "a test that starts with neither CMD nor CMD-SHELL: the engine never runs it", levelError, testWithoutCmd, nil},
	{"none-as-text", "test: NONE as a text, which turns nothing off", levelError, noneAsText, nil},
	{"exec-form-as-text", "an exec form that the shell gets as text", levelError, execFormAsText, nil},
	{"shell-form-in-pieces", "several elements after CMD-SHELL, of which the shell runs the first", levelWarning, shellFormInPieces, nil},
	{"exec-form-command-line", "a command line in one element of the exec form", levelError, execFormCommandLine, nil},
	{"exec-form-option-and-value", "an option and its value in one element of the exec form", levelWarning, execFormOption, nil},
	{"exec-form-shell-syntax", "a shell's operator in the exec form, which has no shell", levelError, execFormShellSyntax, nil},
	{"exec-form-variable", "a variable in the exec form, which nobody fills in", levelWarning, execFormVariable, nil},
	{"background-in-probe", "an unquoted & that puts the probe into the background: it always succeeds", levelError, backgroundInProbe, nil},
	{"status-ignored", "a probe whose exit code is not that of its request", levelWarning, statusIgnored, nil},
	{"curl-without-fail", "curl without -f: an answer of 500 counts as healthy", levelWarning, curlWithoutFail, nil},
	{"password-in-probe", "a password in the arguments of a probe", levelWarning, passwordInProbe, nil},

	{"no-shell", "a shell in an image that has none", levelError, noShell, nil},
	{"tool-not-in-image", "curl or wget in an image that has none", levelError, toolNotInImage, nil},
	{"probe-cannot-run", "a probe that the engine cannot start", levelError, cannotRun, nil},
}

// Check applies the rules and leaves out what the files or the options say to
// ignore.
func Check(t Target, o Options) []Finding {
	out := []Finding{}
	o.rules = ruleNames()
	ignored := ignoredLines(t.Files)
	add := func(r Rule, s Subject, problems []problem) {
		for _, p := range problems {
			own := s.at("")
			if p.place == (Place{}) {
				p.place = s.at(p.at)
			}
			if p.service == "" {
				p.service = s.Name
			}
			if !ignored.has(p.place, r.Name) && !ignored.has(own, r.Name) {
				out = append(out, Finding{r.Name, r.Level, oneLine(p.service), p.place.File, p.place.Line, p.message, p.instead})
			}
		}
	}
	for _, r := range Rules {
		if r.findAll != nil && !slices.Contains(o.Ignore, r.Name) {
			add(r, Subject{}, r.findAll(t, o))
		}
	}
	for _, s := range t.Subjects {
		for _, r := range Rules {
			if r.find != nil && !slices.Contains(o.Ignore, r.Name) {
				add(r, s, r.find(s))
			}
		}
	}
	return out
}

// ruleNames are the names of all rules.
func ruleNames() (names []string) {
	for _, r := range Rules {
		names = append(names, r.Name)
	}
	return names
}

// IsRule says whether there is a rule of this name.
func IsRule(name string) bool { return slices.Contains(ruleNames(), name) }

// NearestRule is the rule that was meant by a name that is none; empty where
// none is near.
func NearestRule(name string) string { return nearest(name, ruleNames()) }

// one is the answer of a rule that found one thing.
func one(at, message, instead string) []problem {
	return []problem{{at: at, message: message, instead: instead}}
}

// oneLine keeps a text from a file short, printable and on one line.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) && r != ' ' {
			return unicode.ReplacementChar
		}
		return r
	}, strings.Join(strings.Fields(s), " "))
	if r := []rune(s); len(r) > 80 {
		s = string(r[:77]) + "..."
	}
	return s
}
