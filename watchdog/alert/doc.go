// Package alert decides who receives which alert, and delivers it. The Router
// is pure: incidents, repetition and escalation, with time passed in. The
// Notifier owns the clock, the queues and the workers that send. Neither knows
// containers or the engine.
package alert
