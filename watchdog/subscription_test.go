package watchdog

import (
	"testing"
	"testing/synctest"
	"time"

	"healthcheck/watchdog/docker"
)

// A stream that is opened anew begins where the last one ended, so that nothing
// is lost and nothing comes twice, whether it was quiet or broke.
func TestSubscriptionGoesOnWhereItEnded(t *testing.T) {
	engine := newFakeEngine(container("healthy"))
	withDaemon(t, engine, func(d *Daemon, _ *syncBuffer) {
		since, _ := engine.streams()
		if len(since) != 1 || time.Since(since[0]) != time.Second {
			t.Fatalf("asked since %v, now is %v", since, time.Now())
		}
		time.Sleep(3 * time.Minute)
		at := time.Now().Add(-time.Second) // by the engine's clock
		engine.stream <- docker.Message{Action: "exec_create", ID: "id1", At: at}
		engine.stream <- docker.Message{Action: "exec_die", ID: "id1", At: at.Add(-time.Minute)} // late
		synctest.Wait()
		if since := d.events.since(); !since.Equal(at) {
			t.Errorf("the state would say %v, want %v", since, at)
		}
		time.Sleep(quietAfter + 2*time.Minute) // until it is opened anew
		synctest.Wait()
		quiet, _ := engine.streams()
		if n := len(quiet); n < 2 || !quiet[n-1].Equal(at) {
			t.Errorf("asked since %v, want %v at last", quiet, at)
		}
		engine.breakStream(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		if broken, _ := engine.streams(); len(broken) <= len(quiet) || !broken[len(quiet)].Equal(at) {
			t.Errorf("asked since %v after it broke, want %v", broken[len(quiet):], at)
		}
	})
}

// An engine that is down is asked with pauses that double up to a limit; once
// it was there the first pause is short again.
func TestSubscriptionBacksOff(t *testing.T) {
	engine := newFakeEngine(container("healthy"))
	withDaemon(t, engine, func(*Daemon, *syncBuffer) {
		_, before := engine.streams()
		engine.breakStream(true)
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		_, times := engine.streams()
		times = times[len(before):]
		for i, want := 1, 2*firstRetry; i < len(times); i, want = i+1, min(2*want, lastRetry) {
			if got := times[i].Sub(times[i-1]); got != want {
				t.Fatalf("pause %d is %s, want %s", i, got, want)
			}
		}
		if most := int(30*time.Minute/lastRetry) + 10; len(times) > most || len(times) < 3 {
			t.Errorf("asked %d times in half an hour, want at most %d", len(times), most)
		}
		engine.mu.Lock()
		engine.down = false
		engine.mu.Unlock()
		time.Sleep(2 * lastRetry)
		synctest.Wait()
		_, before = engine.streams()
		broke := time.Now()
		engine.breakStream(false)
		time.Sleep(firstRetry)
		synctest.Wait()
		if _, times := engine.streams(); len(times) != len(before)+1 || times[len(before)].Sub(broke) != firstRetry {
			t.Errorf("opened again at %v, want %s after %v", times[len(before):], firstRetry, broke)
		}
	})
}

// One that opens its streams and breaks each at once is asked no more often
// than one that is down.
func TestSubscriptionThatBreaksAtOnce(t *testing.T) {
	engine := newFakeEngine(container("healthy"))
	withDaemon(t, engine, func(*Daemon, *syncBuffer) {
		_, before := engine.streams()
		for begin := time.Now(); time.Since(begin) < 30*time.Minute; {
			engine.breakStream(false)
			for _, opened := engine.streams(); ; {
				time.Sleep(firstRetry)
				synctest.Wait()
				if _, now := engine.streams(); len(now) > len(opened) {
					break
				}
			}
		}
		_, times := engine.streams()
		if most := int(30*time.Minute/lastRetry) + 10; len(times)-len(before) > most {
			t.Errorf("asked %d times in half an hour, want at most %d", len(times)-len(before), most)
		}
	})
}
