package simulation

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing/synctest"
	"time"

	"healthcheck/probe"
)

// people are those who use the engine, and what befalls it.
type people struct {
	w         *world
	last      int  // the last act
	all       bool // the watchdog runs with --all
	killNext  string
	clockStep time.Duration
	corrupt   bool
	deaf      map[string]time.Time // receivers that are down, until when
}

// arrange starts all containers, and lets the acts come.
func (p *people) arrange() {
	p.deaf = map[string]time.Time{}
	p.all = p.w.history.seed%2 == 0
	for _, s := range p.w.history.specs {
		p.w.engine.create(s).begin()
	}
	for i, a := range p.w.history.acts {
		p.w.at(p.w.begin.Add(a.at), func() {
			p.last = i
			p.w.say("ACT %s", a)
			p.carryOut(a)
		})
	}
	p.w.at(p.w.begin.Add(p.w.history.chaos), p.rest)
}

// rest ends all faults, and what people have begun.
func (p *people) rest() {
	w, e := p.w, p.w.engine
	w.say("all faults cease")
	e.faults, e.overloaded, e.down, e.skew, e.calm = faults{}, false, false, 0, true
	clear(p.deaf)
	p.killNext = ""
	w.fill(false)
	w.hang(false)
	if w.life == nil {
		w.start()
	}
	for _, c := range e.all() {
		if c.flaps, c.leak, c.job = 0, 0, 0; c.state == "paused" {
			c.do(func(done func()) { c.unpause(); done() })
		}
	}
}

// whom finds the container that an act concerns.
func (p *people) whom(a act) *container {
	if a.phase == "" {
		return p.w.engine.byService(a.service)
	}
	if p.w.life == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var found []*container
	all := p.w.life.daemon.Status(ctx)
	synctest.Wait() // it may have done more than answer
	for _, s := range all {
		if s.Phase != a.phase {
			continue
		}
		for _, c := range p.w.engine.all() {
			if strings.HasPrefix(c.id, s.ID) {
				found = append(found, c)
			}
		}
	}
	if len(found) == 0 {
		return nil
	}
	return found[a.n/1000%uint64(len(found))]
}

// carryOut does what an act says.
func (p *people) carryOut(a act) {
	r := rand.New(rand.NewPCG(a.n, 1))
	if deeds[a.kind] > 0 {
		if c := p.whom(a); c != nil {
			p.w.count("act: " + a.kind)
			p.w.say("    %s %.12s, which is %s", c.name, c.id, c.state)
			p.deed(a.kind, c, r)
		}
		return
	}
	if a.phase != "" && p.whom(a) == nil {
		return
	}
	p.w.count("fault: " + a.kind)
	p.happen(a, r)
}

func seconds(r *rand.Rand, from, to int) time.Duration {
	return time.Duration(from*1000+r.IntN((to-from)*1000)) * time.Millisecond
}

// deed is what somebody does to a container, or what happens in it.
func (p *people) deed(kind string, c *container, r *rand.Rand) {
	w := p.w
	switch kind {
	case "break":
		c.trouble = newTrouble(r)
	case "mend":
		c.trouble = nil
	case "die", "finish", "oom":
		code := map[string]int{"die": 1, "finish": 0, "oom": 137}[kind]
		c.dies(c.gen, code, kind == "oom")
	case "vanish": // and nobody hears of it
		w.engine.faults.stream, w.engine.faults.until = "silent", time.Now().Add(time.Second)
		if r.IntN(2) == 0 {
			p.stop(c, "15")
		} else {
			c.dies(c.gen, 1, false)
		}
	case "stop":
		p.stop(c, "15")
	case "kill":
		p.stop(c, "9")
	case "hup":
		w.engine.emit("kill", c, map[string]string{"signal": "1"})
	case "start":
		p.startAgain(c)
	case "restart":
		c.do(func(done func()) {
			if c.state == "paused" || w.engine.containers[c.id] == nil {
				done()
				return
			}
			c.stop("15", 10*time.Second, func() {
				if c.state != "running" && c.begin() != nil {
					c.doubtful, c.stopped, c.wanted = true, false, true // it looks like one that was stopped, and somebody wants it up
				}
				c.count = 0
				done()
			})
		})
	case "pause":
		c.do(func(done func()) { c.pause(); done() })
		w.after(seconds(r, 5, 300), func() { c.do(func(done func()) { c.unpause(); done() }) })
	case "rename":
		c.do(func(done func()) {
			c.name += "x"
			c.changed()
			w.engine.emit("rename", c, nil)
			done()
		})
	case "recreate":
		p.recreate(c, r)
	case "orphan": // the owner of its network goes, and it, too, perhaps
		owner := w.engine.containers[c.ownerID]
		if owner == nil {
			owner = w.engine.byService(c.ownerID)
		}
		if owner == nil {
			return
		}
		if r.IntN(2) == 0 {
			owner.do(owner.remove)
			w.after(seconds(r, 30, 300), func() {
				if w.engine.byService(owner.service) == nil {
					w.engine.create(owner.spec).begin()
				}
			})
		} else {
			p.stop(owner, "9")
			w.after(seconds(r, 30, 300), func() { p.startAgain(owner) })
		}
		if r.IntN(2) == 0 {
			w.after(10*time.Millisecond, func() { c.dies(c.gen, 1, false) })
		}
	case "remove":
		c.do(c.remove)
		w.after(seconds(r, 1, 1500), func() {
			if w.engine.byService(c.service) == nil {
				w.engine.create(c.spec).begin()
			}
		})
	case "reset":
		p.reset(c)
	case "snooze":
		p.snooze(c.key(), r)
	case "resume":
		p.resume(c.key())
	case "flood":
		for range ringLength {
			w.engine.emit("kill", c, map[string]string{"signal": "10"})
		}
	}
}

// stop is docker stop, or docker kill.
func (p *people) stop(c *container, signal string) {
	c.do(func(done func()) {
		if c.state == "running" || c.state == "restarting" {
			c.stopped, c.told, c.stoppedAt = true, known{}, p.w.engine.said
			c.raced = p.w.audit.inFlight(c)
		}
		c.stop(signal, 10*time.Second, done)
	})
}

// startAgain is docker start; where it cannot start, its owner is started.
func (p *people) startAgain(c *container) {
	c.do(func(done func()) {
		if p.w.engine.containers[c.id] != nil && (c.state == "exited" || c.state == "created") {
			c.count = 0
			if c.begin() != nil {
				c.wanted = true // whoever started it wants it up
			}
		}
		done()
	})
}

// recreate is what compose does: the old one is renamed, stopped and removed,
// the new one started.
func (p *people) recreate(c *container, r *rand.Rand) {
	e := p.w.engine
	trouble := c.trouble
	if r.IntN(2) == 0 {
		trouble = nil
	}
	unheard := r.IntN(3) == 0 // the watchdog hears of the new one alone
	c.do(func(done func()) {
		if e.containers[c.id] == nil || e.byService(c.service) != c {
			done()
			return
		}
		if unheard {
			e.faults.stream, e.faults.until = "silent", time.Now().Add(time.Minute)
		}
		n := e.create(c.spec)
		n.name, n.trouble = n.id[:12]+"_"+n.name, trouble
		c.stop("15", 10*time.Second, func() {
			c.remove(func() {
				n.name = strings.SplitN(n.name, "_", 2)[1]
				n.changed()
				e.emit("rename", n, nil)
				if unheard {
					e.faults.stream = ""
				}
				n.begin()
				done()
			})
		})
	})
}

// reset is watchdog reset: whoever asks for it wants it up.
func (p *people) reset(c *container) {
	if p.w.life == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	p.w.audit.reset(c)
	p.w.life.daemon.Reset(ctx, c.key())
	synctest.Wait()
}

// snooze is watchdog snooze, of all services where the key is empty.
func (p *people) snooze(key string, r *rand.Rand) {
	if p.w.life == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	until := time.Now().Add(seconds(r, 5, 1200))
	p.w.audit.snoozed(key, until, p.w.life.daemon.Snooze(ctx, key, until, "it is being worked on"))
	synctest.Wait()
}

// resume is watchdog resume.
func (p *people) resume(key string) {
	if p.w.life == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	p.w.audit.resumed(key)
	p.w.life.daemon.Resume(ctx, key)
	synctest.Wait()
}

func newTrouble(r *rand.Rand) *trouble {
	t := &trouble{class: probe.Self, restarts: 1}
	switch r.IntN(12) {
	case 0, 1:
		t.class = ""
	case 2:
		t.class, t.host = probe.Dependency, []string{"db", "web", "elsewhere.example", "plain", "holdless", ""}[r.IntN(6)]
	case 3:
		t.class = probe.Starting
	case 4:
		t.class = probe.Config
	case 5:
		t.class = probe.Host
	case 6:
		t.hangs = true
	}
	switch r.IntN(6) {
	case 0:
		t.restarts = -1
	case 1:
		t.restarts = 2
	case 2:
		t.restarts, t.until = -1, time.Now().Add(seconds(r, 10, 900))
	}
	return t
}
