package manifests

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/covetpy/covet/server/config"
)

// dataDir is where the pods' volume for state is.
const dataDir = "/var/lib/covet"

// machine are the settings that are about one machine, and are the manifests' to say.
var machine = []string{"LISTEN", "PORT", "DATA_DIR", "ADMIN_SOCKET", "LOG_FILE"}

// FromConfig takes from a service's configuration what its manifests need. What it leaves out or finds odd it says in notes.
func FromConfig(cfg config.Config, report config.Report) (Settings, []string, error) {
	s := Settings{
		Service: cfg.Service, Version: cmp.Or(cfg.App.Version, cfg.Version), Drain: cfg.DrainDelay, Shutdown: cfg.ShutdownTimeout, Egress: ports(cfg),
		Config: map[string]string{
			"SERVICE": cfg.Service, "ENVIRONMENT": cfg.Environment, "DATA_DIR": dataDir, "LOG_FORMAT": "json",
			"DRAIN_DELAY": cfg.DrainDelay.String(), "SHUTDOWN_TIMEOUT": cfg.ShutdownTimeout.String(),
		},
	}
	var err error
	if s.Port, err = publicPort(cfg.Listen); err != nil {
		return s, nil, err
	}
	s.Config["PORT"] = strconv.Itoa(s.Port)
	if cfg.PrometheusEnabled && cfg.PrometheusPort != "" {
		if s.MetricsPort, err = publicPort(cfg.PrometheusPort); err != nil {
			return s, nil, err
		}
	}
	notes := s.take(report)
	s.Egress = withPorts(s.Egress, s.Config["COVET_S3_ENDPOINT"])
	for _, v := range []config.Secret{cfg.Data.DatabaseURL, cfg.Security.RedisURL, cfg.Data.RedisCacheURL, cfg.Data.RedisSessionURL} {
		if u, err := url.Parse(v.Reveal()); err == nil && local(u.Hostname()) {
			notes = append(notes, fmt.Sprintf("a secret address of this configuration points to %s, which in a pod is the pod itself", u.Hostname()))
		}
	}
	if cfg.Environment == config.Development {
		notes = append(notes, "ENVIRONMENT is development: production checks its secrets, and waits for load balancers before it stops")
	}
	return s, notes, nil
}

// take sorts the settings that were given into the ConfigMap and the names of the Secret.
func (s *Settings) take(report config.Report) (notes []string) {
	var around []string
	for _, v := range report {
		switch {
		case v.Source == "default" || v.Value == "":
			continue
		case v.Secret:
			s.Secrets = append(s.Secrets, v.Name)
		case v.Name == "LOG_FILE":
			notes = append(notes, "LOG_FILE is left out: in a pod the log goes to standard error")
			continue
		case slices.Contains(machine, v.Name):
			continue
		default:
			s.Config[v.Name] = v.Value
		}
		if v.Source == "environment" {
			around = append(around, v.Name)
		}
	}
	if len(around) > 0 {
		notes = append(notes, "taken from the environment of this command: "+strings.Join(around, ", "))
	}
	return notes
}

// publicPort is the port of an address at which other machines can reach a pod.
func publicPort(address string) (int, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return 0, fmt.Errorf("the address %q: %w", address, err)
	}
	if local(host) {
		return 0, &FaultError{Faults: []string{fmt.Sprintf("LISTEN %s: the probes and the Service of a pod could not reach it; set PORT alone", address)}}
	}
	n, err := strconv.Atoi(port)
	if err != nil || n < 1 {
		return 0, &FaultError{Faults: []string{fmt.Sprintf("LISTEN %s: the Service needs a port that is always the same, from 1 to 65535", address)}}
	}
	return n, nil
}

func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// ports are those that the service calls by its configuration; and always HTTPS.
func ports(cfg config.Config) []int {
	out := []int{443}
	if cfg.Notices.SMTPHost != "" {
		out = append(out, cfg.Notices.SMTPPort)
	}
	all := []string{
		cfg.Data.DatabaseURL.Reveal(), cfg.Security.RedisURL.Reveal(), cfg.Data.RedisCacheURL.Reveal(), cfg.Data.RedisSessionURL.Reveal(),
		cfg.Notices.WebhookURL.Reveal(), cfg.Observe.TracesEndpoint,
	}
	for _, r := range cfg.Data.ReplicaURLs {
		all = append(all, r.Reveal())
	}
	return withPorts(out, all...)
}

// withPorts adds the ports of addresses.
func withPorts(out []int, all ...string) []int {
	usual := map[string]int{"postgres": 5432, "postgresql": 5432, "redis": 6379, "rediss": 6379, "http": 80, "https": 443}
	for _, a := range all {
		u, err := url.Parse(a)
		if err != nil || u.Hostname() == "" {
			continue
		}
		n, err := strconv.Atoi(u.Port())
		if err != nil {
			n = usual[u.Scheme]
		}
		if n > 0 {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// WithUsualPorts adds to the ports that a service calls those of the addresses that are only known to its Secret.
func WithUsualPorts(to []int, secrets []string) []int {
	for _, name := range secrets {
		switch {
		case strings.HasPrefix(name, "DATABASE_") && strings.HasSuffix(name, "_URL"):
			to = append(to, 5432)
		case strings.HasPrefix(name, "REDIS_") && strings.HasSuffix(name, "URL"):
			to = append(to, 6379)
		}
	}
	slices.Sort(to)
	return slices.Compact(to)
}
