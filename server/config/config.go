package config

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Environments with rules of their own. Any other word is allowed and is treated as staging is.
const (
	Development = "development"
	Staging     = "staging"
	Production  = "production"
)

// Config is everything the runtime can be told. [Load] fills it from flags, environment and files. In a Config made by
// hand, [New] takes a text, number or span of time that is zero for "the default"; switches are as they stand.
type Config struct {
	Service     string // the service being run: shop
	Environment string // development, staging, production
	Version     string // the release, shown by /health/startup
	Debug       bool
	SecretKey   Secret

	Listen      string // address of the public listener
	AdminSocket string // path of the operations socket
	DataDir     string // where state is kept

	LogLevel  slog.Level
	LogFormat string // json, text, or auto: text on a terminal in development, otherwise json
	LogFile   string // empty: standard error

	DrainDelay      time.Duration // between saying "not ready" and closing the listener
	IdleGrace       time.Duration // how long idle keep-alive connections stay open while stopping
	ShutdownTimeout time.Duration // from the signal to the exit, everything included
	HandoverTimeout time.Duration // how long a new process may take to become ready
	HandoverDrain   time.Duration // how long requests of the old process may take after a hand-over

	ReadHeaderTimeout time.Duration
	ReadTimeout       time.Duration // of a whole request; 0: none, for streams
	BodyGrace         time.Duration // how long the sender of a body may be silent, and take for a short one; 0: for ever
	BodyMinRate       int64         // bytes a second that a longer body must come at
	WriteTimeout      time.Duration // of a whole response; 0: none, for streams
	IdleTimeout       time.Duration
	MaxHeaderBytes    int64
	MaxBodyBytes      int64
	TrustedProxies    []netip.Prefix // whose X-Forwarded-For is believed
	GzipEnabled       bool           // compress answers, and give them ETags
	GzipProxied       bool           // those of workers and the upstream too

	PrometheusEnabled bool
	PrometheusPort    string // address of a listener for /metrics alone; empty: on the public one

	Externals       []External    // other services that readiness asks
	ExternalTimeout time.Duration // how long each may take to answer

	Security   SecurityConfig
	Data       DataConfig
	Notices    NoticeConfig
	Assets     AssetsConfig
	Observe    ObserveConfig
	WebSockets WebSocketConfig
	App        AppConfig

	loaded bool // by Load, which has filled in the defaults: a zero is meant
}

// AppConfig says what covetd runs, or what it stands in front of.
type AppConfig struct {
	Command   []string          // run as workers, each given PORT
	Upstream  string            // or an address that is already served, host:port
	Version   string            // the release that Command is
	Workers   int               // how many processes
	ReadyPath string            // what a worker is asked before it gets traffic
	Dir       string            // where Command runs
	Env       map[string]string // added to each worker's environment
}

// Release is what errors and traces are told to come from.
func (c *Config) Release() string {
	if c.Version != "" {
		return c.Version
	}
	return c.App.Version
}

// WithDefaults fills what a Config made by hand left empty.
func (c Config) WithDefaults() Config {
	if c.loaded {
		return c
	}
	def := defaultConfig(os.Getenv)
	orText(&c.Service, def.Service)
	orText(&c.Environment, def.Environment)
	orText(&c.Listen, def.Listen)
	orText(&c.LogFormat, def.LogFormat)
	orText(&c.DataDir, def.DataDir)
	orText(&c.AdminSocket, filepath.Join(c.DataDir, "covetd.sock"))
	orTime(&c.IdleGrace, def.IdleGrace)
	orTime(&c.ShutdownTimeout, def.ShutdownTimeout)
	orTime(&c.HandoverTimeout, def.HandoverTimeout)
	orTime(&c.HandoverDrain, def.HandoverDrain)
	orTime(&c.ReadHeaderTimeout, def.ReadHeaderTimeout)
	orTime(&c.BodyGrace, def.BodyGrace)
	orTime(&c.IdleTimeout, def.IdleTimeout)
	if c.BodyMinRate == 0 {
		c.BodyMinRate = def.BodyMinRate
	}
	if c.MaxHeaderBytes == 0 {
		c.MaxHeaderBytes = def.MaxHeaderBytes
	}
	if c.MaxBodyBytes == 0 {
		c.MaxBodyBytes = def.MaxBodyBytes
	}
	c.Security.fill()
	c.Data.fill()
	orNumber(&c.Notices.SMTPPort, defaultNotices().SMTPPort)
	c.Observe.fill()
	orText(&c.Assets.StaticURL, def.Assets.StaticURL)
	orTime(&c.ExternalTimeout, def.ExternalTimeout)
	return c
}

func orText(dst *string, value string) {
	if *dst == "" {
		*dst = value
	}
}

func orTime(dst *time.Duration, value time.Duration) {
	if *dst == 0 {
		*dst = value
	}
}

// defaultConfig is what holds with nothing set at all.
func defaultConfig(getenv func(string) string) Config {
	return Config{
		Service:           "app",
		Environment:       Development,
		Listen:            ":8000",
		DataDir:           defaultDataDir(getenv, os.Geteuid()),
		LogFormat:         "auto",
		IdleGrace:         time.Second,
		ShutdownTimeout:   30 * time.Second,
		HandoverTimeout:   time.Minute,
		HandoverDrain:     5 * time.Minute,
		ReadHeaderTimeout: 10 * time.Second,
		BodyGrace:         20 * time.Second,
		BodyMinRate:       240,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		MaxBodyBytes:      10 << 20,
		GzipEnabled:       true,
		PrometheusEnabled: true,
		Security:          defaultSecurity(),
		Data:              defaultData(),
		Notices:           defaultNotices(),
		Assets:            defaultAssets(),
		Observe:           defaultObserve(),
		WebSockets:        defaultWebSockets(),
		ExternalTimeout:   2 * time.Second,
		App:               AppConfig{Workers: runtime.GOMAXPROCS(0), ReadyPath: "/health/ready"},
	}
}

// defaultDataDir is systemd's StateDirectory where there is one, /var/lib/covet for root, and the user's state folder
// (XDG base directory specification) for everybody else.
func defaultDataDir(getenv func(string) string, uid int) string {
	if dir, _, _ := strings.Cut(getenv("STATE_DIRECTORY"), ":"); dir != "" {
		return dir
	}
	if uid == 0 {
		return "/var/lib/covet"
	}
	if dir := getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "covet")
	}
	return filepath.Join(getenv("HOME"), ".local", "state", "covet")
}

// settings is the reference of all configuration, bound to the fields of c, which holds the defaults.
func (c *Config) settings() []Setting {
	return slices.Concat(c.serviceSettings(), c.serverSettings(), c.Security.settings(), c.Data.settings(), c.Notices.settings(), c.Assets.settings(),
		c.Observe.settings(), c.externalSettings(), c.WebSockets.settings(), c.appSettings())
}

func (c *Config) serviceSettings() []Setting {
	return []Setting{
		{Name: "SERVICE", Help: "name of the service", Example: "SERVICE=shop", Default: c.Service, Set: Text(&c.Service)},
		{Name: "ENVIRONMENT", Help: "development, staging, production or a word of your own", Example: "ENVIRONMENT=production", Default: c.Environment, Set: Text(&c.Environment)},
		{Name: "API_VERSION", Help: "version shown by /health", Example: "API_VERSION=v1.2.0", Default: c.Version, Set: Text(&c.Version)},
		{Name: "DEBUG", Help: "log everything; refused in production", Example: "DEBUG=false", Default: "false", Set: Switch(&c.Debug)},
		{Name: "SECRET_KEY", Help: "the service's secret, at least 32 characters in production", Example: "SECRET_KEY_FILE=/run/secrets/secret_key", Secret: true, Set: secretValue(&c.SecretKey)},
		{Name: "DATA_DIR", Help: "folder for state", Example: "DATA_DIR=/var/lib/covet", Default: c.DataDir, Set: Text(&c.DataDir)},
		{Name: "LOG_LEVEL", Help: "debug, info, warn or error", Example: "LOG_LEVEL=info", Default: "info", Set: level(&c.LogLevel)},
		{Name: "LOG_FORMAT", Help: "json, text, or auto: text on a terminal in development, else json", Example: "LOG_FORMAT=json", Default: c.LogFormat, Set: OneOf(&c.LogFormat, "json", "text", "auto")},
		{Name: "LOG_FILE", Help: "log file, rotated at 100 MB and reopened on SIGHUP; standard error if unset", Example: "LOG_FILE=/var/log/covet/shop.log", Set: Text(&c.LogFile)},
		{Name: "PROMETHEUS_ENABLED", Help: "serve /metrics", Example: "PROMETHEUS_ENABLED=true", Default: "true", Set: Switch(&c.PrometheusEnabled)},
		{Name: "PROMETHEUS_PORT", Help: "serve /metrics on a port of its own", Example: "PROMETHEUS_PORT=9090", Set: port(&c.PrometheusPort)},
	}
}

func (c *Config) serverSettings() []Setting {
	return []Setting{
		{Name: "PORT", Help: "port of the public listener, instead of the one in LISTEN", Example: "PORT=8000", Set: port(&c.Listen)},
		{Name: "LISTEN", Help: "address of the public listener", Example: "LISTEN=127.0.0.1:8000", Default: c.Listen, Set: address(&c.Listen)},
		{Name: "ADMIN_SOCKET", Help: "operations socket; covetd.sock in DATA_DIR if unset", Example: "ADMIN_SOCKET=/run/covet/covetd.sock", Set: Text(&c.AdminSocket)},
		{Name: "DRAIN_DELAY", Help: "wait for load balancers after turning unready; 5s, or 0 in development", Example: "DRAIN_DELAY=5s", Set: Duration(&c.DrainDelay)},
		{Name: "IDLE_GRACE", Help: "how long idle connections are kept while stopping", Example: "IDLE_GRACE=1s", Default: c.IdleGrace.String(), Set: Duration(&c.IdleGrace)},
		{Name: "SHUTDOWN_TIMEOUT", Help: "from the signal to the exit", Example: "SHUTDOWN_TIMEOUT=30s", Default: c.ShutdownTimeout.String(), Set: Duration(&c.ShutdownTimeout)},
		{Name: "HANDOVER_TIMEOUT", Help: "how long a new process may take to become ready", Example: "HANDOVER_TIMEOUT=1m", Default: c.HandoverTimeout.String(), Set: Duration(&c.HandoverTimeout)},
		{Name: "HANDOVER_DRAIN", Help: "how long requests may go on in the old process after a hand-over", Example: "HANDOVER_DRAIN=5m", Default: c.HandoverDrain.String(), Set: Duration(&c.HandoverDrain)},
		{Name: "READ_HEADER_TIMEOUT", Help: "time a client has to send its headers", Example: "READ_HEADER_TIMEOUT=10s", Default: c.ReadHeaderTimeout.String(), Set: Duration(&c.ReadHeaderTimeout)},
		{Name: "READ_TIMEOUT", Help: "time a client has to send a whole request; 0: no limit", Example: "READ_TIMEOUT=30s", Default: "0s", Set: Duration(&c.ReadTimeout)},
		{Name: "BODY_GRACE", Help: "how long the sender of a body may be silent; 0: no limit", Example: "BODY_GRACE=20s", Default: c.BodyGrace.String(), Set: Duration(&c.BodyGrace)},
		{Name: "BODY_MIN_RATE", Help: "bytes a second that a body must come at after BODY_GRACE; 0: any", Example: "BODY_MIN_RATE=240B", Default: fmt.Sprint(c.BodyMinRate), Set: Bytes(&c.BodyMinRate)},
		{Name: "WRITE_TIMEOUT", Help: "time a whole response may take; 0: no limit", Example: "WRITE_TIMEOUT=1m", Default: "0s", Set: Duration(&c.WriteTimeout)},
		{Name: "IDLE_TIMEOUT", Help: "how long an idle connection is kept", Example: "IDLE_TIMEOUT=2m", Default: c.IdleTimeout.String(), Set: Duration(&c.IdleTimeout)},
		{Name: "MAX_HEADER_BYTES", Help: "largest request header", Example: "MAX_HEADER_BYTES=64KiB", Default: "64KiB", Set: Bytes(&c.MaxHeaderBytes)},
		{Name: "MAX_BODY_BYTES", Help: "largest request body", Example: "MAX_BODY_BYTES=10MiB", Default: "10MiB", Set: Bytes(&c.MaxBodyBytes)},
		{Name: "GZIP_ENABLED", Help: "compress the application's answers and give them ETags", Example: "GZIP_ENABLED=true", Default: "true", Set: Switch(&c.GzipEnabled)},
		{Name: "GZIP_PROXIED", Help: "do so with the answers of workers and the upstream too", Example: "GZIP_PROXIED=true", Default: "false", Set: Switch(&c.GzipProxied)},
		{Name: "TRUSTED_PROXIES", Help: "networks whose X-Forwarded-For is believed", Example: "TRUSTED_PROXIES=10.0.0.0/8,127.0.0.1", Kind: List, Set: prefixes(&c.TrustedProxies)},
	}
}

func (c *Config) appSettings() []Setting {
	return []Setting{
		{Name: "APP_COMMAND", Help: "command run as workers", Example: "APP_COMMAND='uvicorn src.main:app'", Kind: Words, Set: command(&c.App.Command)},
		{Name: "APP_UPSTREAM", Help: "address that is already served, instead of a command", Example: "APP_UPSTREAM=http://127.0.0.1:9000", Set: upstream(&c.App.Upstream)},
		{Name: "APP_VERSION", Help: "release that the command is", Example: "APP_VERSION=v1.0.0", Set: Text(&c.App.Version)},
		{Name: "APP_WORKERS", Help: "how many worker processes", Example: "APP_WORKERS=4", Default: fmt.Sprint(c.App.Workers), Set: Number(&c.App.Workers, 1, 1000)},
		{Name: "APP_READY_PATH", Help: "path that tells whether a worker is ready", Example: "APP_READY_PATH=/health/ready", Default: c.App.ReadyPath, Set: urlPath(&c.App.ReadyPath)},
		{Name: "APP_DIR", Help: "folder the command runs in", Example: "APP_DIR=/srv/shop", Set: Text(&c.App.Dir)},
		{Name: "APP_ENV", Help: "environment added to each worker", Example: "APP_ENV='CURRENCY=EUR REGION=eu'", Kind: Pairs, Set: pairs(&c.App.Env)},
	}
}

// derive fills what depends on other values: given says whether a setting was given a value by any source.
func (c *Config) derive(given func(name string) bool) {
	if !given("DRAIN_DELAY") && c.Environment != Development {
		c.DrainDelay = 5 * time.Second
	}
	if !given("ADMIN_SOCKET") {
		c.AdminSocket = filepath.Join(c.DataDir, "covetd.sock")
	}
	c.Observe.derive()
	if c.Debug {
		c.LogLevel = slog.LevelDebug
	}
}

// maxSocketPath is what fits in sockaddr_un with its final NUL (unix(7)).
const maxSocketPath = 107

// Conflicts finds what no single value shows: combinations, and what production forbids.
func (c *Config) Conflicts() []Fault {
	var out []Fault
	add := func(name, problem, example string) {
		out = append(out, Fault{Name: name, Problem: problem, Example: example})
	}
	if c.Environment == Production {
		if n := len(c.SecretKey); n > 0 && n < 32 {
			add("SECRET_KEY", fmt.Sprintf("has %d characters, production needs at least 32", n), "SECRET_KEY=$(openssl rand -hex 32)")
		}
		if c.Debug {
			add("DEBUG", "is on, which production forbids", "DEBUG=false")
		}
	}
	if len(c.App.Command) > 0 && c.App.Upstream != "" {
		add("APP_UPSTREAM", "is set and so is APP_COMMAND: covetd either runs the application or stands in front of it; unset one", "")
	}
	if c.MaxBodyBytes < 1 {
		add("MAX_BODY_BYTES", "is 0, which would refuse every body", "MAX_BODY_BYTES=10MiB")
	}
	if c.ShutdownTimeout <= c.DrainDelay {
		add("SHUTDOWN_TIMEOUT", fmt.Sprintf("%v leaves nothing after DRAIN_DELAY %v", c.ShutdownTimeout, c.DrainDelay),
			fmt.Sprintf("SHUTDOWN_TIMEOUT=%v", c.DrainDelay+25*time.Second))
	}
	if n := len(c.AdminSocket); n > maxSocketPath {
		add("ADMIN_SOCKET", fmt.Sprintf("path of %d bytes is longer than a unix socket's may be (%d)", n, maxSocketPath), "ADMIN_SOCKET=/run/covet/covetd.sock")
	}
	return slices.Concat(out, c.Security.conflicts(c), c.Data.conflicts(c.Environment), c.Notices.conflicts(), c.Assets.conflicts())
}
