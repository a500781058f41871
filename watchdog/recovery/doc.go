// Package recovery decides: which containers are watched, when one is
// restarted, when it counts as recovered and when it is given up. It is pure:
// time comes in with each input, what to do goes out as actions, and it knows
// no clock, no socket, no goroutine and no engine's API.
package recovery
