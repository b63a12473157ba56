package manifests

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

var (
	label     = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`) // RFC 1035, as a Service's name must be
	namespace = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	host      = regexp.MustCompile(`^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	gateway   = regexp.MustCompile(`^([a-z0-9]([-a-z0-9]*[a-z0-9])?/)?[a-z0-9]([-.a-z0-9]*[a-z0-9])?$`)
	image     = regexp.MustCompile(`^[a-zA-Z0-9][-a-zA-Z0-9.]*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$`)
	quantity  = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$`)
)

// Check says what is wrong with the settings, and what is allowed but unwise.
func Check(s Settings) (faults, warnings []string) {
	s = s.filled()
	return slices.Concat(s.nameFaults(), s.sizeFaults(), s.stopFaults()), slices.Concat(s.imageWarnings(), s.sizeWarnings(), s.configWarnings())
}

func (s Settings) nameFaults() []string {
	var out []string
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	bad(!label.MatchString(s.Service) || len(s.Service) > 50, "SERVICE %q is no name for objects of Kubernetes: at most 50 of a-z, 0-9 and -, beginning with a letter", s.Service)
	bad(s.Namespace != "" && (!namespace.MatchString(s.Namespace) || len(s.Namespace) > 63), "--namespace %q is no name of a namespace: a-z, 0-9 and -", s.Namespace)
	switch {
	case s.Image == "":
		bad(true, "no image is named: --image registry.example/shop@sha256:…")
	case !image.MatchString(s.Image):
		bad(true, "--image %q is no reference to an image: registry.example/shop:v1.0.0@sha256:…", s.Image)
	}
	bad(s.Host != "" && (!host.MatchString(s.Host) || len(s.Host) > 253), "--host %q is no host name", s.Host)
	bad(s.Gateway != "" && !gateway.MatchString(s.Gateway), "--gateway %q is no NAME or NAMESPACE/NAME of a Gateway", s.Gateway)
	bad(s.Gateway != "" && s.Host == "", "--gateway needs the --host whose requests the HTTPRoute takes")
	bad(s.Gateway != "" && s.IngressClass != "", "--gateway and --ingress-class are two ways for the same traffic: choose one")
	bad(s.IngressClass != "" && s.Host == "", "--ingress-class needs the --host whose requests the Ingress takes")
	bad(s.IngressClass != "" && !namespace.MatchString(s.IngressClass), "--ingress-class %q is no name", s.IngressClass)
	return out
}

func (s Settings) sizeFaults() []string {
	var out []string
	if s.HPA.Max == 0 && s.Replicas < 1 {
		out = append(out, fmt.Sprintf("--replicas %d: at least 1", s.Replicas))
	}
	if h := s.HPA; h.Max < 0 || h.Max > 0 && (h.Min < 1 || h.Min > h.Max) {
		out = append(out, fmt.Sprintf("--hpa %d:%d: the lower bound is at least 1, and no more than the upper", h.Min, h.Max))
	}
	for name, q := range map[string]string{"--cpu": s.CPU, "--memory": s.Memory, "--memory-limit": s.MemoryLimit} {
		if !quantity.MatchString(q) {
			out = append(out, fmt.Sprintf("%s %q is no quantity of Kubernetes: 250m, 256Mi", name, q))
		}
	}
	if t := s.TLS; t.Cert != "" && (!path.IsAbs(t.Cert) || path.Dir(t.Cert) != path.Dir(t.Key) || t.Cert == t.Key || t.Dir() == "/") {
		out = append(out, fmt.Sprintf("TLS_CERT_FILE %s and TLS_KEY_FILE %s: in a pod they are two files of one folder, where the Secret is mounted: /etc/covet/tls/tls.crt and tls.key", t.Cert, t.Key))
	}
	if s.MetricsPort == s.Port {
		out = append(out, fmt.Sprintf("PROMETHEUS_PORT and PORT are both %d", s.Port))
	}
	slices.Sort(out)
	return out
}

// stopFaults holds the one rule of stopping: what Kubernetes gives a pod must hold all that the pod does with it.
func (s Settings) stopFaults() []string {
	var out []string
	if s.PreStop < 0 || s.PreStop != s.PreStop.Truncate(time.Second) {
		out = append(out, fmt.Sprintf("--pre-stop %s: Kubernetes counts whole seconds", s.PreStop))
	}
	if least := s.PreStop + s.Shutdown; s.Grace <= least {
		out = append(out, fmt.Sprintf("--grace %s is not longer than --pre-stop %s and SHUTDOWN_TIMEOUT %s (of which DRAIN_DELAY is %s): pods would be killed with requests in flight; at least %s",
			s.Grace, s.PreStop, s.Shutdown, s.Drain, least+time.Second))
	}
	return out
}

func (s Settings) imageWarnings() []string {
	if strings.Contains(s.Image, "@sha256:") || s.Image == "" {
		return nil
	}
	name := s.Image[strings.LastIndex(s.Image, "/")+1:]
	if _, tag, tagged := strings.Cut(name, ":"); !tagged || tag == "latest" {
		return []string{fmt.Sprintf("%s names no version: pods of one Deployment may run different programs; name it by digest (NAME@sha256:…)", s.Image)}
	}
	return []string{fmt.Sprintf("%s is named by a tag, which can be moved: name it by digest (NAME:TAG@sha256:…)", s.Image)}
}

func (s Settings) sizeWarnings() []string {
	var out []string
	if least := s.least(); least == 1 {
		out = append(out, "one pod at the least: while its node is drained or lost the service is down; two or more")
	}
	if s.PreStop+s.Drain < 2*time.Second {
		out = append(out, fmt.Sprintf("--pre-stop %s and DRAIN_DELAY %s: requests still come for a second or two after a pod was told to stop, and would be refused; 5s together at least", s.PreStop, s.Drain))
	}
	if s.Port < 1024 {
		out = append(out, fmt.Sprintf("PORT %d: a process that is not root may listen there only where the node allows it; choose one over 1023", s.Port))
	}
	return out
}

func (s Settings) least() int {
	if s.HPA.Max > 0 {
		return s.HPA.Min
	}
	return s.Replicas
}

// configWarnings finds settings that mean something else in a pod than on the machine they were written for.
func (s Settings) configWarnings() []string {
	var out []string
	for name, value := range s.Config {
		u, err := url.Parse(value)
		if err != nil || u.Hostname() == "" {
			continue
		}
		if local(u.Hostname()) {
			out = append(out, fmt.Sprintf("%s points to %s, which in a pod is the pod itself", name, u.Hostname()))
		}
	}
	if s.Config["APP_COMMAND"] != "" && s.Config["APP_WORKERS"] == "" {
		out = append(out, "APP_WORKERS is not set: every pod would run as many workers as its node has processors")
	}
	slices.Sort(out)
	return out
}
