// Package lint finds what will go wrong with healthchecks and restarts, in
// running containers or in compose files, and prints it. It changes nothing,
// and a rule sees a Subject, whatever that was read from.
package lint
