package recovery

import (
	"testing"
	"time"
)

// every is each input.
func every() (all []Input) {
	for in := range Input(inputs) {
		all = append(all, in)
	}
	return all
}

// The table has a rule for every pair, and a rule leads where it says.
func TestEveryPair(t *testing.T) {
	for _, p := range Phases {
		for _, in := range every() {
			r := ruleFor(p, in)
			if r.name == "" {
				t.Errorf("%s, %s: no rule", p, in)
			}
			if r.do == nil {
				continue
			}
			for _, shape := range shapes() {
				m := NewMachine(settings())
				m.Apply(Online{}, t0)
				s := &Service{Key: "app", ID: "id1", Name: "app", Phase: p, watched: true, Life: Life{Started: t0.Add(-time.Hour)}}
				s.policy, s.container = &m.Settings.Policy, container("unhealthy")
				m.Services["app"], m.byID["id1"] = s, "app"
				shape(s)
				for _, a := range m.step(s, in, t0) {
					if a.Kind != DoCascade && a.Kind != DoForget && a.Kind != DoLook && (a.Text == "" || a.Event == "") {
						t.Errorf("%s, %s: an action that does not explain itself: %+v", p, in, a)
					}
				}
				allowed := s.Phase == p
				for _, n := range r.next {
					allowed = allowed || s.Phase == n
				}
				if !allowed {
					t.Errorf("%s, %s: leads to %s, the table says %v", p, in, s.Phase, r.next)
				}
			}
		}
	}
}

// shapes are the states of a service that rules look at.
func shapes() []func(*Service) {
	return []func(*Service){
		func(*Service) {},
		func(s *Service) { s.Attempts = 3 },
		func(s *Service) { s.Attempts, s.Open = 1, true },
		func(s *Service) { s.After = "db" },
		func(s *Service) { s.watched = false },
		func(s *Service) { s.container = container("healthy") },
		func(s *Service) { s.container.State, s.container.ExitCode = "exited", 3 },
		func(s *Service) { s.container.State, s.container.RestartPolicy = "exited", "always" },
		func(s *Service) { s.container.HasHealthcheck, s.container.Health = false, "" },
		func(s *Service) { s.policy.DryRun = true },
		func(s *Service) { s.container.NetworkOf = "elsewhere" },
		func(s *Service) { s.Hold = Hold{Kind: ForRecreation} },
		func(s *Service) { s.lastEnd, s.container.RestartPolicy = endByItself, "always" },
	}
}
