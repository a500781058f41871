package recovery

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// projects are healthy containers as compose makes them, ten to a project.
func projects(n int) (all []Container) {
	for i := range n {
		all = append(all, Container{ID: fmt.Sprintf("%064x", i+1), Name: fmt.Sprintf("project%d-service%d-1", i/10, i%10), State: "running", Health: "healthy", HasHealthcheck: true,
			Labels:   map[string]string{"watchdog.enable": "true", composeProject: fmt.Sprintf("project%d", i/10), composeService: fmt.Sprintf("service%d", i%10), composeNumber: "1"},
			Networks: []Network{{Name: fmt.Sprintf("project%d_default", i/10), IP: fmt.Sprintf("172.18.%d.%d", i/250, i%250)}}})
	}
	return all
}

// What the machine keeps of a container that is healthy and at rest, beside what
// the list says of it. 10,000 of them decide about the program's memory.
func TestMemoryOfAContainer(t *testing.T) {
	const n, most = 4000, 1700
	all := projects(n)
	m := NewMachine(settings())
	m.Apply(Online{}, t0)
	heap := func() uint64 {
		var s runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&s)
		return s.HeapAlloc
	}
	before := heap()
	m.Apply(Listed{All: all}, t0)
	each := float64(heap()-before) / n
	runtime.KeepAlive(all)
	if len(m.Services) != n || each > most {
		t.Errorf("%.0f bytes for each of %d containers, want at most %d", each, len(m.Services), most)
	}
	t.Logf("%.0f bytes for each", each)
}

// A list in which nothing has changed costs a few allocations for each
// container; one event costs the same whether ten or thousands have failed, but
// for what Settle does.
func TestAllocationsOfAList(t *testing.T) {
	const n = 1000
	all := projects(n)
	m := NewMachine(settings())
	m.Apply(Online{}, t0)
	m.Apply(Listed{All: all}, t0)
	now := t0
	if each := testing.AllocsPerRun(3, func() { now = now.Add(time.Minute); m.Apply(Listed{All: all}, now) }) / n; each > 40 {
		t.Errorf("%.1f allocations for each container of a list", each)
	} else {
		t.Logf("%.1f for each", each)
	}
	one := with(all[0], func(c *Container) { c.StartedAt, c.LastProbe = t0, t0 })
	seen := func() float64 { return testing.AllocsPerRun(20, func() { m.Take(Seen{one}, now) }) }
	few := seen()
	for _, c := range all[1:] {
		c.StartedAt, c.Health, c.FailingStreak, c.Retries = t0, "unhealthy", 3, 3
		m.Take(Seen{c}, now)
	}
	if many := seen(); many > few+5 {
		t.Errorf("%v allocations for an inspection where nothing has failed, %v where %d containers have", few, many, n-1)
	}
}
