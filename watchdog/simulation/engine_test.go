package simulation

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"
)

// engine is a container engine in fake time. Only the driver's goroutine, which
// lets one thing happen after the other, calls its methods.
type engine struct {
	w          *world
	containers map[string]*container // by id
	ids        int
	ring       []message // the events that it remembers
	said       int       // how many there were
	streams    []*stream
	skew       time.Duration // of its clock
	down       bool
	boots      int  // how often it was restarted
	overloaded bool // of the host: probes run out of time
	calm       bool // faults have ceased
	faults     faults
}

// ringLength is how many events the engine remembers (moby, daemon/events).
const ringLength = 256

// message is one event.
type message struct {
	at     time.Time
	line   []byte
	act    string
	c      *container
	n      int // which event it is
	signal string
}

func newEngine(w *world) *engine {
	return &engine{w: w, containers: map[string]*container{}}
}

// clock is the engine's own.
func (e *engine) clock() time.Time { return time.Now().Add(e.skew) }

// all lists the containers, in the order of their ids.
func (e *engine) all() (all []*container) {
	for _, id := range slices.Sorted(maps.Keys(e.containers)) {
		all = append(all, e.containers[id])
	}
	return all
}

// byService is the container of a service, the one that runs first.
func (e *engine) byService(name string) (found *container) {
	for _, c := range e.all() {
		if c.service == name && (found == nil || found.state != "running") {
			found = c
		}
	}
	return found
}

// create makes a container that does not run yet.
func (e *engine) create(s spec) *container {
	e.ids++
	c := &container{spec: s, e: e, state: "created", name: s.service}
	c.id = fmt.Sprintf("%012x%052x", e.ids*0x9e3779b1%(1<<48), e.ids)
	c.r = rand.New(rand.NewPCG(e.w.history.seed, uint64(e.ids)))
	if e.calm {
		c.flaps, c.leak, c.job = 0, 0, 0
	}
	if s.compose {
		c.name = "p-" + s.service + "-1"
	}
	if s.networkOf != "" {
		c.ownerID = s.networkOf
		if o := e.byService(s.networkOf); o != nil {
			c.ownerID = o.id
		}
	}
	e.containers[c.id] = c
	return c
}

// emit sends an event to the streams, and remembers it.
func (e *engine) emit(action string, c *container, more map[string]string) {
	e.said++
	at := e.clock()
	if n := len(e.ring); n > 0 && !at.After(e.ring[n-1].at) && e.ring[n-1].at.Sub(at) < time.Millisecond {
		at = e.ring[n-1].at.Add(1) // one after the other
	}
	attributes := map[string]string{"name": c.name}
	maps.Copy(attributes, more)
	line, _ := json.Marshal(map[string]any{"Type": "container", "Action": action, "Actor": map[string]any{"ID": c.id, "Attributes": attributes}, "time": at.Unix(), "timeNano": at.UnixNano()})
	m := message{at: at, line: append(line, '\n'), act: action, c: c, n: e.said, signal: more["signal"]}
	if e.ring = append(e.ring, m); len(e.ring) > ringLength {
		e.ring = e.ring[1:]
	}
	e.streams = slices.DeleteFunc(e.streams, func(s *stream) bool { return s.r.left() })
	for _, s := range e.streams {
		s.bring(m)
	}
}

// do lets an operation on a container wait for those before it.
func (c *container) do(op func(done func())) {
	if c.ops = append(c.ops, op); len(c.ops) == 1 {
		c.next()
	}
}

func (c *container) next() {
	c.ops[0](func() {
		if c.ops = c.ops[1:]; len(c.ops) > 0 {
			c.next()
		}
	})
}

var errJoin = errors.New("cannot join network of a non running container")

// begin starts a life, unless it cannot join the network of another.
func (c *container) begin() error {
	c.changed()
	c.gen++
	c.ending = false
	if c.ownerID != "" {
		o := c.e.containers[c.ownerID]
		if o == nil {
			o = c.e.byService(c.ownerID)
		}
		if o == nil || o.state != "running" {
			c.state, c.exit, c.err = "exited", 128, errJoin.Error()+": "+c.ownerID
			c.e.emit("die", c, map[string]string{"exitCode": "128"})
			if o == nil {
				return fmt.Errorf("No such container: %s", c.ownerID)
			}
			return errJoin
		}
	}
	c.state, c.started, c.began, c.err, c.exit, c.oom = "running", c.e.clock(), time.Now(), "", 0, false
	c.priorSkew, c.startSkew = c.startSkew, c.e.skew
	if c.halted { // whoever starts it again, it has all its attempts
		c.e.w.audit.removed(c)
	}
	c.stopped, c.told, c.byHand, c.wanted, c.halted = false, known{}, false, false, false
	if t := c.trouble; t != nil && t.restarts > 0 {
		if t.restarts--; t.restarts == 0 {
			c.trouble = nil
		}
	}
	c.e.emit("start", c, nil)
	gen := c.gen
	if c.checked {
		c.health, c.streak = "starting", 0
		c.e.w.after(c.interval, func() { c.probe(gen) })
	}
	if c.job > 0 {
		c.e.w.after(c.job, func() { c.dies(gen, []int{0, 0, 1, 3}[c.r.IntN(4)], false) })
	}
	if c.leak > 0 {
		c.e.w.after(c.leak, func() { c.dies(gen, 137, true) })
	}
	return nil
}

// over ends a life.
func (c *container) over(code int, oom bool) {
	c.changed()
	c.gen++
	c.doubtful = c.e.skew != 0 || c.startSkew != 0 || c.priorSkew != 0
	c.wanted = c.wanted && c.e.w.audit.inFlight(c) // who reset it while the watchdog stops it wants it up
	c.state, c.exit, c.oom, c.finished, c.ending = "exited", code, oom, c.e.clock(), false
	if c.checked {
		c.health = "unhealthy" // as the engine leaves it, without a word
	}
	c.e.emit("die", c, map[string]string{"exitCode": strconv.Itoa(code)})
}

// dies ends a life without anybody's asking; its own policy may start another.
func (c *container) dies(gen, code int, oom bool) {
	if c.gen != gen || c.state != "running" || c.ending || len(c.ops) > 0 {
		return
	}
	ran := time.Since(c.began)
	c.over(code, oom)
	c.revive(ran)
}

// revive is the container's own restart policy (moby, restartmanager).
func (c *container) revive(ran time.Duration) {
	switch {
	case c.byHand, c.policy == "":
		return
	case c.policy == "on-failure" && (c.exit == 0 || c.maxRetries > 0 && c.count >= c.maxRetries):
		return
	}
	c.count++
	wait := min(100*time.Millisecond<<min(c.count, 9), time.Minute)
	if ran > 10*time.Second {
		wait = 100 * time.Millisecond
	}
	c.state = "restarting"
	c.changed()
	gen := c.gen
	c.e.w.after(wait, func() {
		if c.gen != gen || c.state != "restarting" || len(c.ops) > 0 {
			return
		}
		if c.begin() != nil {
			c.revive(0)
		}
	})
}

// stop ends a life as docker stop does, and goes on with then.
func (c *container) stop(signal string, timeout time.Duration, then func()) {
	c.byHand = true
	if c.state == "restarting" {
		c.changed()
		c.gen++
		c.state = "exited"
		c.e.emit("stop", c, nil)
	}
	if c.state != "running" {
		then()
		return
	}
	c.ending = true
	c.e.emit("kill", c, map[string]string{"signal": signal})
	gen, takes, code := c.gen, c.stopTakes, 143
	if t := c.trouble; t != nil && t.hangs || takes >= timeout {
		takes, code = timeout, 137
	}
	if signal == "9" {
		takes, code = time.Millisecond, 137
	}
	c.e.w.after(takes, func() {
		if c.gen == gen && c.state == "running" {
			if code == 137 && signal != "9" {
				c.e.emit("kill", c, map[string]string{"signal": "9"})
			}
			c.over(code, false)
			if signal != "9" {
				c.e.emit("stop", c, nil)
			}
		}
		c.e.w.after(3*time.Millisecond, then)
	})
}

// remove takes it away; what runs is killed.
func (c *container) remove(then func()) {
	c.stop("9", 0, func() {
		c.gen++
		delete(c.e.containers, c.id)
		c.e.emit("destroy", c, nil)
		c.e.w.audit.removed(c)
		then()
	})
}

// pause and unpause; probes rest in between.
func (c *container) pause() {
	if c.state != "running" || c.ending {
		return
	}
	c.changed()
	c.gen++
	c.state = "paused"
	if c.checked {
		c.health, c.streak = "unhealthy", 0
	}
	c.e.emit("pause", c, nil)
}

func (c *container) unpause() {
	if c.state != "paused" {
		return
	}
	c.changed()
	c.gen++
	c.state, c.told.pause = "running", false
	c.e.emit("unpause", c, nil)
	if gen := c.gen; c.checked {
		c.e.w.after(c.interval, func() { c.probe(gen) })
	}
}

// shutDown is a restart of the engine: what runs ends, unless it lives on, and
// what its policy revives is started when the engine is back.
func (e *engine) shutDown(live bool, back time.Duration) {
	e.down = true
	e.boots++
	e.cut()
	var revive []*container
	for _, c := range e.all() {
		if live || c.state != "running" && c.state != "restarting" && c.state != "paused" {
			continue
		}
		if !c.byHand && cmp.Or(c.policy, "no") != "no" && c.policy != "on-failure" {
			revive = append(revive, c)
		}
		if c.state == "restarting" {
			c.gen++
			c.state = "exited"
			c.changed()
		} else {
			c.over(137, false)
		}
	}
	e.ring = nil // nobody hears of it
	e.w.after(back, func() {
		e.down = false
		for _, c := range revive {
			if c.state == "exited" && !c.byHand {
				c.begin()
			}
		}
	})
}

// cut ends all streams.
func (e *engine) cut() {
	for _, s := range slices.Clone(e.streams) {
		s.end()
	}
}
