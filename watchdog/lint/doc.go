// Package lint finds what will go wrong with healthchecks and restarts, in
// running containers, compose files or Kubernetes manifests, and prints it. It
// changes nothing, and a rule sees a Subject, whatever that was read from.
//
// Reading and judging are pure: Compose and Kubernetes take bytes and a
// function that reads further files, Check takes subjects. Only Engine asks an
// engine.
package lint
