package simulation

import (
	"math/rand/v2"
	"time"
)

// happen is what befalls the engine, the host, the watchdog and the receivers.
func (p *people) happen(a act, r *rand.Rand) {
	w, e := p.w, p.w.engine
	switch a.kind {
	case "events":
		e.faults.stream = []string{"lost", "silent", "doubled", "late", "garbled", "swapped"}[r.IntN(6)]
		e.faults.until = time.Now().Add(seconds(r, 5, 120))
	case "cut":
		e.cut()
	case "down":
		e.down = true
		e.cut()
		boot := e.boots
		w.after(seconds(r, 1, 200), func() { e.down = e.down && e.boots != boot })
	case "reboot":
		e.shutDown(r.IntN(2) == 0, seconds(r, 2, 60))
	case "slow":
		e.faults.slow = seconds(r, 1, 4)
		w.after(seconds(r, 20, 200), func() { e.faults.slow = 0 })
	case "calls":
		kind := []string{"ping", "events", "list", "inspect", "inspect"}[r.IntN(5)]
		how := []string{"500", "403", "reset", "garbage", "hang", "404"}[r.IntN(6)]
		if kind == "inspect" && how == "404" || kind == "events" && how == "garbage" || kind == "ping" && how == "garbage" {
			how = "500"
		}
		e.faults.calls = append(e.faults.calls, callFault{kind, how, 1 + r.IntN(8)})
	case "restarts":
		how := []string{"500", "403", "404", "half-way", "half-way", "lost", "reset", "long"}[r.IntN(8)]
		e.faults.calls = append(e.faults.calls, callFault{"restart", how, 1 + r.IntN(4)})
		if r.IntN(2) == 0 {
			e.faults.calls = append(e.faults.calls, callFault{"start", []string{"500", "lost", "reset", "long"}[r.IntN(4)], 1})
		}
		if r.IntN(2) == 0 {
			e.faults.calls = append(e.faults.calls, callFault{"stop", []string{"500", "403", "lost", "reset", "long"}[r.IntN(5)], 1 + r.IntN(4)})
		}
	case "disk":
		w.fill(true)
		w.after(seconds(r, 1, 300), func() { w.fill(false) })
	case "disk hangs":
		w.hang(true)
		w.after(seconds(r, 1, 300), func() { w.hang(false) })
	case "evidence":
		e.faults.calls = append(e.faults.calls, callFault{"evidence " + []string{"json", "logs", "top", "stats"}[r.IntN(4)], []string{"500", "403", "reset", "garbage", "hang", "404"}[r.IntN(6)], 1 + r.IntN(4)})
	case "snooze all":
		p.snooze("", r)
	case "resume all":
		p.resume("")
	case "receiver":
		url := []string{"all", "critical", "escalation"}[r.IntN(3)]
		p.deaf[url] = time.Now().Add([]time.Duration{seconds(r, 1, 100), seconds(r, 100, 2000)}[r.IntN(2)])
	case "clock":
		e.skew += time.Duration(r.IntN(2*3600)-3600) * time.Second
		if r.IntN(2) == 0 {
			e.skew = 0
		}
		if p.clockStep = 0; r.IntN(2) == 0 {
			p.clockStep = time.Duration(r.IntN(2*86400)-86400) * time.Second
			p.again(r)
		}
	case "killed", "corrupt":
		p.corrupt = a.kind == "corrupt"
		p.again(r)
	case "kill at":
		p.killNext = []string{"restart asked", "restart answered", "start asked", "stop asked", "stop answered", "send asked", "inspect asked", "send answered"}[r.IntN(8)]
	case "term", "switch":
		p.switchAll(a.kind == "switch")
		if r.IntN(2) == 0 {
			p.again(r)
			return
		}
		p.term(r)
	case "overload":
		e.overloaded = true
		w.after(seconds(r, 30, 300), func() { e.overloaded = false })
	}
}

// switchAll starts the next watchdog with other flags. What it did not watch it
// has to get to know.
func (p *people) switchAll(on bool) {
	p.all = p.all != on
	for _, c := range p.w.engine.containers {
		if on && c.labels["watchdog.enable"] == "" {
			c.told = known{}
		}
	}
}

// again kills the watchdog, and starts it after a while.
func (p *people) again(r *rand.Rand) {
	if p.w.life == nil {
		return
	}
	p.w.kill()
	p.w.after(seconds(r, 0, 60), p.begin)
}

func (p *people) begin() {
	if p.w.life == nil && p.w.found == nil {
		p.w.start()
	}
}

// killNow carries out the kill that waits for a certain step.
func (p *people) killNow() {
	p.killNext = ""
	p.w.kill()
	p.w.after(time.Duration(p.w.hash("again", p.w.lives)%uint64(30*time.Second)), p.begin)
}

// receive is a receiver of alerts, which may be down.
func (p *people) receive(r *request) {
	p.w.after(p.w.latency(r), func() {
		if r.left() {
			return
		}
		if time.Now().Before(p.deaf[r.send.URL]) {
			p.w.count("fault: alert refused")
			r.answer <- answer{err: errDown}
			return
		}
		p.w.audit.received(r)
		if p.killNext == "send answered" {
			p.killNow()
			return
		}
		r.answer <- answer{}
	})
}

// term asks the watchdog to end, and starts it again when it has.
func (p *people) term(r *rand.Rand) {
	l := p.w.life
	if l == nil {
		return
	}
	l.stop()
	var wait func()
	tries := 0
	wait = func() {
		select {
		case <-l.ended:
			if p.w.life == l {
				p.w.kill()
				p.begin()
			}
		default:
			if tries++; p.w.life == l && tries > 400 {
				p.w.fail("end", "asked to end, it has not for %d seconds", tries)
			}
			p.w.after(time.Second, wait)
		}
	}
	p.w.after(seconds(r, 0, 2), wait)
}
