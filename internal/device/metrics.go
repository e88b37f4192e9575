package device

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// counts is the accounting of samples at the gateway.
type counts struct {
	kept, notConsented, undeclared, invalid int
}

func (c *counts) add(n counts) {
	c.kept += n.kept
	c.notConsented += n.notConsented
	c.undeclared += n.undeclared
	c.invalid += n.invalid
}

type metrics struct {
	samples   *prometheus.CounterVec
	messages  *prometheus.CounterVec
	malformed *prometheus.CounterVec
	unrouted  *prometheus.CounterVec
	commits   *prometheus.CounterVec
	limited   *prometheus.CounterVec
	often     *prometheus.CounterVec
	full      prometheus.Gauge
	took      prometheus.Histogram
	sessions  *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		samples: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fettle_ingest_samples_total",
			Help: "Samples acknowledged, by what became of them at the gateway; history tells duplicates from stored.",
		}, []string{"product", "result"}),
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fettle_ingest_submissions_total",
			Help: "Messages and marks that were made durable, or failed and were not acknowledged.",
		}, []string{"result"}),
		malformed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fettle_ingest_malformed_total",
			Help: "Messages that could not be read, by protocol.",
		}, []string{"protocol"}),
		unrouted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fettle_ingest_unrouted_total",
			Help: "Messages on topics that no mapping reads for the unit, by protocol: refused, or acknowledged and ignored.",
		}, []string{"protocol", "result"}),
		commits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fettle_ingest_commits_total",
			Help: "Group commits to the stream.",
		}, []string{"result"}),
		limited: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fettle_ingest_limited_total",
			Help: "Submissions that waited, or were asked to come again, because of a limit of samples a second: the unit's or its product's.",
		}, []string{"limit"}),
		often: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fettle_polls_limited_total",
			Help: "Polls that were asked to come later, by whose limit it was: the unit's, its address's, or that of failed attempts from the address.",
		}, []string{"limit"}),
		full: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "fettle_ingest_full",
			Help: "1 while the stream has no room and units wait.",
		}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "fettle_ingest_commit_seconds",
			Help:    "Time until a group commit was durable.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		sessions: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "fettle_ingest_connections",
			Help: "Units' connections that are open.",
		}, []string{"protocol"}),
	}
	if reg != nil {
		reg.MustRegister(m.samples, m.messages, m.malformed, m.unrouted, m.commits, m.limited, m.often, m.full, m.took, m.sessions)
	}
	return m
}

func (m *metrics) commitTook(d time.Duration) { m.took.Observe(d.Seconds()) }

func (m *metrics) committed(cm *commit, err error) {
	result := "durable"
	if err != nil {
		result = "failed"
	}
	m.commits.WithLabelValues(result).Inc()
	m.messages.WithLabelValues(result).Add(float64(len(cm.waiting)))
	if err != nil {
		return
	}
	for _, p := range cm.parts {
		for _, c := range []struct {
			result string
			n      int
		}{{"kept", p.count.kept}, {"not_consented", p.count.notConsented}, {"undeclared", p.count.undeclared}, {"invalid", p.count.invalid}} {
			if c.n > 0 {
				m.samples.WithLabelValues(p.batch.Product, c.result).Add(float64(c.n))
			}
		}
	}
}
