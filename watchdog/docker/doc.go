// Package docker speaks the Docker Engine API, to Docker's engine and to
// Podman's: events and inspections come in, restarts go out. It decides
// nothing, and keeps nothing but its connection.
package docker
