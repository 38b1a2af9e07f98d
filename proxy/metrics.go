package proxy

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// statusClasses is the number of classes of HTTP status: 1xx to 5xx.
const statusClasses = 5

// metrics counts what the server does. All label values come from closed sets:
// rows of the route table, classes of status, reasons of the gate. Counters are
// looked up once, at the start, so that counting costs an addition.
type metrics struct {
	registry *prometheus.Registry
	requests [][statusClasses]prometheus.Counter // by row; the last is for requests that no row took
	latency  []prometheus.Observer               // likewise
	gate     [refusalCount]prometheus.Counter
	surplus  [connRefusals]prometheus.Counter
	panics   prometheus.Counter
	inFlight atomic.Int64
}

func newMetrics(s *Server, rows []endpoint) *metrics {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "entrepot_http_requests_total", Help: "Requests answered, by operation and class of status.",
	}, []string{"op", "class"})
	latency := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "entrepot_http_request_seconds", Help: "From the request's head to its answer being ready to be sent.",
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
	}, []string{"op"})
	gate := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "entrepot_http_refused_total", Help: "Requests refused before routing, by reason.",
	}, []string{"reason"})
	surplus := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "entrepot_http_connections_refused_total", Help: "Connections turned away, by the cap that was reached.",
	}, []string{"cap"})
	m := &metrics{
		registry: prometheus.NewRegistry(),
		panics:   prometheus.NewCounter(prometheus.CounterOpts{Name: "entrepot_http_panics_total", Help: "Requests that caused a panic."}),
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	m.registry.MustRegister(requests, latency, gate, surplus, m.panics,
		gauge("entrepot_http_in_flight", "Requests that are being answered.", func() float64 { return float64(m.running()) }),
		gauge("entrepot_http_connections", "Open connections.", func() float64 { return float64(s.connections()) }),
		gauge("entrepot_http_body_memory_bytes", "Memory taken by request bodies.", func() float64 { return float64(s.memory.used()) }),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for i := range rows {
		m.addRow(requests, latency, rows[i].Name)
	}
	m.addRow(requests, latency, "none")
	for why := range refusalCount {
		m.gate[why] = gate.WithLabelValues(why.String())
	}
	for why := range connRefusals {
		m.surplus[why] = surplus.WithLabelValues(why.String())
	}
	return m
}

func (m *metrics) addRow(requests *prometheus.CounterVec, latency *prometheus.HistogramVec, op string) {
	var row [statusClasses]prometheus.Counter
	for i := range row {
		row[i] = requests.WithLabelValues(op, string(rune('1'+i))+"xx")
	}
	m.requests = append(m.requests, row)
	m.latency = append(m.latency, latency.WithLabelValues(op))
}

// answered counts an answer.
func (m *metrics) answered(r *route, status int, took time.Duration) {
	row := len(m.requests) - 1
	if r != nil {
		row = r.index
	}
	m.requests[row][min(max(status/100, 1), statusClasses)-1].Inc()
	m.latency[row].Observe(took.Seconds())
}

// running returns how many requests are being answered.
func (m *metrics) running() int64 { return m.inFlight.Load() }

// refused counts a refusal of the gate.
func (m *metrics) refused(why refusal) { m.gate[why].Inc() }

// turnedAway counts a connection beyond a cap.
func (m *metrics) turnedAway(why connRefusal) { m.surplus[why].Inc() }
