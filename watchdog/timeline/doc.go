// Package timeline keeps how each service has been in the last 24 hours, and
// the figures of its checks in the last hour. It is pure: times are arguments,
// and what it keeps of a service is bounded.
package timeline
