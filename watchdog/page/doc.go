// Package page is what a browser shows of the watchdog: the services, how they
// have been, the figures of their checks, the incidents. It only shows: nothing
// can be changed by it. What is to be seen is decided by pure functions of an
// overview, and the server renders it, so that it is there without JavaScript.
package page
