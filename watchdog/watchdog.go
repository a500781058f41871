// Package watchdog is the room where containers are recovered.
//
// Data flows one way: events → state → actions → engine. policy.go holds the
// backoff, container.go what is watched, state.go the decisions, cascade.go
// who follows whom: all of these are pure. engine.go speaks to the engine,
// store.go to the disk, and run.go, the loop, has the clocks and goroutines.
//
// An event only says that something has happened to a container. What its
// state is now is always inspected, so that late, doubled, reordered and lost
// events do no harm, and a list is compared with what is known after every
// connection and every minute.
package watchdog
