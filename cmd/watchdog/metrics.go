package main

import (
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"healthcheck/probe"
	"healthcheck/watchdog"
	"healthcheck/watchdog/alert"
	"healthcheck/watchdog/recovery"
)

// collector turns the daemon's own figures into Prometheus' when it is asked,
// so that nothing is counted twice.
type collector struct {
	daemon   *watchdog.Daemon
	notifier *alert.Notifier
}

var (
	descUp         = prometheus.NewDesc("watchdog_engine_up", "Whether the engine can be reached.", nil, nil)
	descOverloaded = prometheus.NewDesc("watchdog_host_overloaded", "Whether the engine's host is overloaded, so that nothing is restarted.", nil, nil)
	descHealthy    = prometheus.NewDesc("watchdog_service_healthy", "Whether a watched service is healthy.", []string{"service"}, nil)
	descGivenUp    = prometheus.NewDesc("watchdog_service_given_up", "Whether a watched service was given up.", []string{"service"}, nil)
	descStopped    = prometheus.NewDesc("watchdog_service_stopped", "Whether the watchdog has stopped a service, by its action.", []string{"service"}, nil)
	descHeld       = prometheus.NewDesc("watchdog_service_held", "Whether a watched service is held, since a restart would not help before something else happens.", []string{"service"}, nil)
	descAttempts   = prometheus.NewDesc("watchdog_service_attempts", "Restarts since the service was last stable.", []string{"service"}, nil)
	descRestarts   = prometheus.NewDesc("watchdog_restarts_total", "Restarts that were asked for.", []string{"service"}, nil)
	descFailures   = prometheus.NewDesc("watchdog_restart_failures_total", "Restarts that failed or did not help.", []string{"service"}, nil)
	descGiveUps    = prometheus.NewDesc("watchdog_give_ups_total", "How often a service was given up.", []string{"service"}, nil)
	descRecovery   = prometheus.NewDesc("watchdog_recovery_seconds", "Time from the first failure to health.", nil, nil)
	descStatus     = prometheus.NewDesc("healthcheck_check_status", "How a check of a service's last probe ended: 0 ok, 1 warning, 2 failed, 3 not run.", []string{"service", "check"}, nil)
	descValue      = prometheus.NewDesc("healthcheck_check_value", "The figure that a check has judged; percent for resources.", []string{"service", "check"}, nil)
	descLimit      = prometheus.NewDesc("healthcheck_check_limit", "The limit that it was judged by.", []string{"service", "check"}, nil)
	descDuration   = prometheus.NewDesc("healthcheck_check_duration_seconds", "How long a check took.", []string{"service", "check"}, nil)
	descDeliveries = prometheus.NewDesc("watchdog_alert_deliveries_total", "Alerts that were delivered, or were not after all tries.", []string{"outcome"}, nil)
)

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// recoveryBuckets run from a quick restart to a slow model load, in seconds.
var recoveryBuckets = []float64{1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	yes := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	gauge(descUp, yes(c.daemon.EngineUp()))
	services, stats := c.daemon.Figures()
	gauge(descOverloaded, yes(stats.Overloaded))
	for _, s := range services {
		gauge(descHealthy, yes(s.Health == "healthy" || s.Health == "running"), s.Service)
		gauge(descGivenUp, yes(s.Phase == recovery.GivenUp.String()), s.Service)
		gauge(descStopped, yes(s.Phase == recovery.ShutDown.String()), s.Service)
		gauge(descHeld, yes(s.Phase == recovery.Held.String()), s.Service)
		gauge(descAttempts, float64(s.Attempts), s.Service)
	}
	for d, by := range map[*prometheus.Desc]map[string]int{descRestarts: stats.Restarts, descFailures: stats.Failures, descGiveUps: stats.GiveUps} {
		for service, n := range by {
			count(d, float64(n), service)
		}
	}
	for service, figures := range stats.Probes {
		for _, f := range figures {
			gauge(descStatus, float64(slices.Index([]probe.Status{probe.OK, probe.Warn, probe.Fail, probe.Skip}, f.Status)), service, f.Check)
			gauge(descDuration, f.Duration.Seconds(), service, f.Check)
			if f.Value != nil {
				gauge(descValue, *f.Value, service, f.Check)
			}
			if f.Limit != nil {
				gauge(descLimit, *f.Limit, service, f.Check)
			}
		}
	}
	sum, buckets := 0.0, map[float64]uint64{}
	for _, le := range recoveryBuckets {
		buckets[le] = 0
	}
	for _, v := range stats.Recoveries {
		sum += v
		for _, le := range recoveryBuckets {
			if v <= le {
				buckets[le]++
			}
		}
	}
	ch <- prometheus.MustNewConstHistogram(descRecovery, uint64(len(stats.Recoveries)), sum, buckets)
	count(descDeliveries, float64(c.notifier.Delivered.Load()), "delivered")
	count(descDeliveries, float64(c.notifier.Failed.Load()), "failed")
}

// metrics serves Prometheus.
func metrics(daemon *watchdog.Daemon, notifier *alert.Notifier) http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collector{daemon, notifier})
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{Timeout: 10 * time.Second})
}
