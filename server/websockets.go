package server

import (
	"net/http"

	"github.com/covetpy/covet/server/auth"
	"github.com/covetpy/covet/server/limit"
	"github.com/covetpy/covet/server/ws"
)

// WebSockets opens WebSockets on routes, and keeps those that are open: pinged each 30 s, so many of a user and of an
// address, and told 1001 when the service stops.
//
//	srv.Router().Handle("/ws/feed", srv.WebSockets().Feed(func(ctx context.Context, c *ws.Conn) error { … }))
func (s *Server) WebSockets() *ws.Registry { return s.sockets }

func (s *Server) openWebSockets() {
	c := s.cfg.WebSockets
	s.sockets = ws.New(ws.Options{
		PingInterval: c.PingInterval, PingTimeout: c.PingTimeout, PerUser: c.PerUser, PerAddress: c.PerAddress,
		Origins: s.cfg.Security.CORSOrigins, Log: s.Logger("websocket"),
		Client: func(r *http.Request) (user, address string) {
			if p := auth.PrincipalFrom(r.Context()); p != nil {
				user = p.User
			}
			return user, limit.Network(ClientIP(r.Context()))
		},
		Refuse: writeProblem, Going: s.Draining,
	})
	s.metrics.registry.MustRegister(s.sockets.Collectors()...)
	s.OnDrain(s.sockets.GoAway)
}
