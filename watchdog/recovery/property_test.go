package recovery

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// simulated is the engine's side of a random history.
type simulated struct {
	c          Container
	byPerson   bool // stopped by a person, and not started since
	inFlight   bool
	stableFrom time.Time
}

// TestProperties gives the machine random histories, and asserts what
// must hold in all of them.
func TestProperties(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 7))
		s := settings()
		s.MaxRestarts, s.MaxConcurrent = 1000, 100
		m := NewMachine(s)
		now := t0
		m.Apply(Online{}, now)
		containers := map[string]*simulated{}
		attempts := map[string]int{}
		lastEnd := map[string]time.Time{}
		lastAttempt := map[string]int{}
		gaveUp := map[string]int{} // alerts since the last recovery
		for i := range 3 {
			c := with(container("healthy"), func(c *Container) { c.ID, c.Name = fmt.Sprint("id", i), fmt.Sprint("app", i) })
			containers[c.Name] = &simulated{c: c, stableFrom: now}
		}
		check := func(actions []Action) {
			for _, a := range actions {
				w := containers[a.Key]
				switch a.Kind {
				case DoRestart:
					if w.inFlight {
						t.Fatalf("seed %d: two restarts of %s in flight", seed, a.Key)
					}
					if w.byPerson {
						t.Fatalf("seed %d: %s was stopped by a person: %+v", seed, a.Key, *m.Services[a.Key])
					}
					if attempts[a.Key]++; attempts[a.Key] > s.MaxAttempts {
						t.Fatalf("seed %d: restart %d of %s", seed, attempts[a.Key], a.Key)
					}
					if n := lastAttempt[a.Key]; n > 0 && attempts[a.Key] > 1 && now.Sub(lastEnd[a.Key]) < s.Delay(n) {
						t.Fatalf("seed %d: restart of %s %s after restart %d, want %s", seed, a.Key, now.Sub(lastEnd[a.Key]), n, s.Delay(n))
					}
					lastAttempt[a.Key] = attempts[a.Key]
					w.inFlight = true
				case DoStart:
					if !w.inFlight {
						t.Fatalf("seed %d: a start of %s out of nowhere", seed, a.Key)
					}
				case DoAlert:
					switch a.Event {
					case EventGaveUp:
						if gaveUp[a.Key]++; gaveUp[a.Key] > 1 {
							t.Fatalf("seed %d: two alerts for one giving up of %s", seed, a.Key)
						}
					case EventRecovered:
						gaveUp[a.Key] = 0
					}
				}
			}
			for key, svc := range m.Services {
				if svc.Attempts == 0 {
					attempts[key] = 0
				}
				if svc.Phase != GivenUp {
					gaveUp[key] = 0
				}
			}
		}
		for range 400 {
			now = now.Add(time.Duration(r.Int64N(int64(5 * time.Second))))
			if r.IntN(40) == 0 {
				now = now.Add(11 * time.Minute)
			}
			w := containers[fmt.Sprint("app", r.IntN(3))]
			health := func(h string, streak int) { w.c.Health, w.c.FailingStreak = h, streak }
			switch r.IntN(14) {
			case 0, 1, 2:
				if w.c.State == "running" {
					health("unhealthy", 1)
				}
				check(m.Apply(Seen{w.c}, now))
			case 3, 4:
				if w.c.State == "running" {
					health("healthy", 0)
				}
				check(m.Apply(Seen{w.c}, now))
			case 5: // died by itself
				if w.c.State == "running" && !w.inFlight {
					w.c.State = "exited"
					check(m.Apply(Died{w.c.ID, 1, now}, now))
					check(m.Apply(Seen{w.c}, now))
				}
			case 6: // docker stop
				if w.c.State == "running" && !w.inFlight {
					w.byPerson, w.c.State = true, "exited"
					check(m.Apply(Killed{w.c.ID, "15", now}, now))
					check(m.Apply(Died{w.c.ID, 0, now}, now))
					check(m.Apply(Seen{w.c}, now))
				}
			case 7: // docker start, or restart
				if !w.inFlight {
					w.byPerson, w.c.State, w.c.StartedAt = false, "running", now
					health("starting", 0)
					check(m.Apply(Seen{w.c}, now))
				}
			case 8:
				if w.c.State == "running" && !w.inFlight {
					w.c.State = "paused"
					health("unhealthy", 0)
				} else if w.c.State == "paused" {
					w.c.State = "running"
				}
				check(m.Apply(Seen{w.c}, now))
			case 9: // an old state, late
				old := w.c
				old.StartedAt = t0.Add(-time.Hour)
				if !w.byPerson {
					check(m.Apply(Killed{w.c.ID, "15", old.StartedAt}, now))
				}
			case 10, 11, 12: // the call ends
				if !w.inFlight {
					continue
				}
				w.inFlight = false
				lastEnd[w.c.Name] = now
				d := Done{Key: w.c.Name}
				switch r.IntN(4) {
				case 0:
					d.Err = errors.New("500")
				case 1:
					d.Err = errors.New("500")
					w.c.State = "exited"
					c := w.c
					d.Seen = &c
				default:
					w.c.State, w.c.StartedAt = "running", now
					health("starting", 0)
					c := w.c
					d.Seen = &c
				}
				actions := m.Apply(d, now)
				for _, a := range actions {
					if a.Kind == DoStart {
						w.inFlight = true
					}
				}
				check(actions)
			case 13:
				check(m.Apply(Tick{}, now))
			}
		}
	}
}
