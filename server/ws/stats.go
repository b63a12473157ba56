package ws

import "github.com/prometheus/client_golang/prometheus"

// stats count what becomes of WebSockets.
type stats struct {
	opened   prometheus.Counter
	refused  *prometheus.CounterVec
	closed   *prometheus.CounterVec
	messages *prometheus.CounterVec
}

func newStats() stats {
	return stats{
		opened: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "covetpy_websocket_opened_total", Help: "WebSockets opened.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "covetpy_websocket_refused_total", Help: "WebSockets not opened, by reason.",
		}, []string{"reason"}),
		closed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "covetpy_websocket_closed_total", Help: "WebSockets closed, by who ended them: client, service, error, silent (no answer to a ping), going_away.",
		}, []string{"reason"}),
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "covetpy_websocket_messages_total", Help: "Messages, in and out.",
		}, []string{"direction"}),
	}
}

// Collectors are the registry's metrics.
func (g *Registry) Collectors() []prometheus.Collector {
	return []prometheus.Collector{g.stats.opened, g.stats.refused, g.stats.closed, g.stats.messages,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "covetpy_websocket_connections", Help: "WebSockets open.",
		}, func() float64 { return float64(g.Count()) })}
}
