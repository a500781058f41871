// Package store keeps what must survive a restart of the watchdog: the
// services' state and the history. It knows their form on disk, and decides
// nothing.
package store
