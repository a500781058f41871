package lint

import (
	"fmt"
	"slices"
	"time"
)

// Rules about the probes of a pod. Those about commands and images hold there
// as well.

func kubernetesTimeoutMissing(s Subject) (out []problem) {
	for _, p := range s.Probes {
		if s.Kind != FromKubernetes || p.Set["timeout"] || !p.knows("timeout") || p.TCP {
			continue
		}
		if slices.ContainsFunc(p.calls(), func(c call) bool { _, ok := ownProbe(c, p.Env); return ok }) {
			continue // own-timeout-not-shorter looks at that
		}
		out = append(out, problem{at: p.Key, message: fmt.Sprintf("%s has no timeoutSeconds, so an answer that takes more than 1 s counts as a failure", p.Key), instead: "timeoutSeconds: 5"})
	}
	return out
}

func kubernetesTimeoutTooLong(s Subject) (out []problem) {
	for _, p := range s.Probes {
		if s.Kind != FromKubernetes || !p.knows("timeout", "interval") || p.Timeout < p.Interval {
			continue
		}
		out = append(out, problem{at: p.Key + ".timeout", message: fmt.Sprintf("timeoutSeconds %d is not shorter than periodSeconds %d", p.Timeout/time.Second, p.Interval/time.Second),
			instead: fmt.Sprintf("timeoutSeconds: %d, or a longer period", max(1, p.Interval/3/time.Second))})
	}
	return out
}

// longDelay is from where on an initialDelaySeconds is a guess at a slow start.
const longDelay = 15 * time.Second

func kubernetesInitialDelay(s Subject) (out []problem) {
	if s.Kind != FromKubernetes {
		return nil
	}
	_, startup := s.probe("startupProbe")
	for _, p := range s.Probes {
		switch {
		case p.Key == "startupProbe" || !p.knows("initial_delay") || p.InitialDelay == 0:
		case startup:
			out = append(out, problem{at: p.Key + ".initial_delay", message: fmt.Sprintf("%s waits for the startup probe already; initialDelaySeconds %d adds nothing but a delay", p.Key, p.InitialDelay/time.Second), instead: "no initialDelaySeconds"})
		case p.Key == "livenessProbe" && p.InitialDelay >= longDelay:
			out = append(out, problem{at: p.Key + ".initial_delay", message: fmt.Sprintf("initialDelaySeconds %d guesses how long the start takes: a longer one is cut short, and after a shorter one nothing is checked", p.InitialDelay/time.Second),
				instead: fmt.Sprintf("a startupProbe with periodSeconds: 5 and failureThreshold: %d", max(3, 2*p.InitialDelay/time.Second/5))})
		}
	}
	return out
}

// slowStarters take a minute or more to start as a rule, by their own
// documentation: they load models or indexes, or compile.
var slowStarters = []string{"vllm/vllm-openai", "huggingface/text-generation-inference", "huggingface/text-embeddings-inference", "nvidia/tritonserver",
	"elasticsearch", "elasticsearch/elasticsearch", "opensearchproject/opensearch", "keycloak/keycloak", "sonarqube", "gitlab/gitlab-ce", "gitlab/gitlab-ee",
	"jenkins/jenkins", "cassandra", "neo4j"}

// slowStart is how long such a start takes at least.
const slowStart = time.Minute

func kubernetesNoStartup(s Subject) []problem {
	liveness, ok := s.probe("livenessProbe")
	if _, startup := s.probe("startupProbe"); s.Kind != FromKubernetes || startup || !ok || !liveness.knows("initial_delay", "interval", "retries") {
		return nil
	}
	grace := liveness.InitialDelay + liveness.Interval*time.Duration(liveness.Retries)
	name, _ := splitImage(s.Image.Name)
	why, need := fmt.Sprintf("its command waits for up to %s", startNeeds(s.Command)), startNeeds(s.Command)
	if need == 0 && slices.Contains(slowStarters, name) {
		why, need = fmt.Sprintf("%s takes a minute or more to start", oneLine(name)), slowStart
	}
	if need <= grace {
		return nil
	}
	return one("livenessProbe", fmt.Sprintf("%s, and the liveness probe restarts it after %s", why, grace), "a startupProbe with failureThreshold: 30 and periodSeconds: 10")
}
