package config

import (
	"fmt"
	"time"
)

// WebSocketConfig says what WebSockets on the application's routes are held to. Those of workers are theirs.
type WebSocketConfig struct {
	PingInterval time.Duration // how often the other side is asked whether it is there
	PingTimeout  time.Duration // how long it may take to answer
	PerUser      int           // open at once
	PerAddress   int
}

func defaultWebSockets() WebSocketConfig {
	return WebSocketConfig{PingInterval: 30 * time.Second, PingTimeout: 10 * time.Second, PerUser: 20, PerAddress: 100}
}

func (c *WebSocketConfig) settings() []Setting {
	return []Setting{
		{Name: "WEBSOCKET_PING_INTERVAL", Help: "how often a WebSocket's other side is pinged", Example: "WEBSOCKET_PING_INTERVAL=30s", Default: c.PingInterval.String(), Set: positive(&c.PingInterval)},
		{Name: "WEBSOCKET_PING_TIMEOUT", Help: "how long it may take to answer", Example: "WEBSOCKET_PING_TIMEOUT=10s", Default: c.PingTimeout.String(), Set: positive(&c.PingTimeout)},
		{Name: "WEBSOCKET_PER_USER", Help: "WebSockets that one user may have open", Example: "WEBSOCKET_PER_USER=20", Default: fmt.Sprint(c.PerUser), Set: Number(&c.PerUser, 1, 1_000_000)},
		{Name: "WEBSOCKET_PER_ADDRESS", Help: "and one address", Example: "WEBSOCKET_PER_ADDRESS=100", Default: fmt.Sprint(c.PerAddress), Set: Number(&c.PerAddress, 1, 1_000_000)},
	}
}
