// Package server is the production runtime of a service: its configuration, the HTTP stack around its routes, and its
// life from start to exit. covetd is built on it, and an application in Go can be.
//
//	cfg, _, err := config.Load(config.Sources{Environ: os.Environ(), DotEnv: ".env"})
//	if err != nil { … }                              // every fault, in one message
//	srv, err := server.New(cfg)
//	if err != nil { … }
//	srv.Router().Get("/products/{id}", showProduct)  // a chi router
//	srv.Component(server.Component{Name: "pool", Start: pool.Open, Stop: pool.Close})
//	srv.Health().Register(server.Check{Name: "database", Required: true, Run: pool.Ping})
//	return srv.Run(context.Background())
//
// # Configuration
//
// A value is looked for in flags, the environment, a .env file and a YAML file, in this order; [config.Load] says which settings
// there are and [config.Report] where each came from. In the file, SHUTDOWN_TIMEOUT is shutdown_timeout, or timeout under
// shutdown. SECRET_KEY_FILE names a file that holds SECRET_KEY, and so for every secret.
//
// # Life
//
// Start: configuration, listeners, components in the order they were added, ready, READY=1 to systemd. Liveness is answered
// from the moment the port is open; requests for the application wait for the components.
//
// SIGTERM, SIGINT: unready and STOPPING=1; DRAIN_DELAY, so that load balancers notice; no new connections, every answer
// says Connection: close, idle connections are kept for IDLE_GRACE, [Server.OnDrain] is called; requests in flight finish;
// components stop in reverse; logs are flushed. All within SHUTDOWN_TIMEOUT, of which requests may use three quarters; what
// does not fit is cut, and named in the log. A second signal, or SIGQUIT, ends it at once.
//
// SIGHUP opens the log file again and reloads the components.
//
// SIGUSR2 hands the listening sockets to a new process of the program that is now at the path this one was started from.
// The old process and the new one talk over a socket pair:
//
//	new: release        its configuration is valid
//	old: released       components have given up what only one process may hold; the operations socket is quiet
//	new: ready          its components have started and its required checks pass
//	old: go             from now on only the new one accepts
//
// The kernel's sockets are shared, so that a connection that arrives meanwhile waits in the backlog. If the new process
// dies or is not ready within HANDOVER_TIMEOUT, the old one takes everything back and serves on. Afterwards the old one
// finishes its requests within HANDOVER_DRAIN. Under systemd:
//
//	[Service]
//	Type=notify
//	NotifyAccess=all
//	ExecStart=/usr/local/bin/covetd
//	ExecReload=/bin/kill -HUP $MAINPID
//	TimeoutStopSec=35
//	WatchdogSec=30
//	StateDirectory=covet
//
// Sockets that systemd opens (LISTEN_FDS) are taken up: the TCP one as the public listener, the unix one for operations.
//
// # The stack
//
// One middleware with one pooled ResponseWriter does everything that is done to each request: request id, client address
// by trusted proxies, limits, security headers, panic recovery, metrics by route pattern and the access log. Headers are
// added when an answer is sent and only where it has none of that name; one that must not be sent at all is set to nil.
// [http.ResponseController] reaches the connection through it.
package server
