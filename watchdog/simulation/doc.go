// Package simulation runs the whole watchdog in fake time: its subscription,
// lists, decisions, store, alerts and calls, against an engine in memory whose
// containers, people and faults a seed decides. An auditor that knows the truth
// checks every step. All of it is tests; e2e/simulate runs more of them.
package simulation
