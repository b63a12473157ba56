package workers

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Spec says how one release is run. The zero value of every duration and threshold means its default.
type Spec struct {
	Release string            // the release's id; part of instance ids and of the log file's name
	Command []string          // argv; Command[0] is found in PATH, or in Dir
	Digest  string            // sha256 in hex of the executable; verified before each start when not empty
	Dir     string            // working directory; covetd's own when empty
	Env     map[string]string // the release's environment, over the one all workers get

	Probe        Probe
	StopGrace    time.Duration // from SIGTERM to SIGKILL; default 10 s
	DrainTimeout time.Duration // how long requests in flight are waited for before SIGTERM; default 30 s
}

// Probe says how an instance is asked whether it is ready: an HTTP GET that must be answered with a 2xx status.
type Probe struct {
	Path             string        // default /health/ready
	Interval         time.Duration // between probes while not ready; default 500 ms. The first ones come faster.
	ReadyInterval    time.Duration // between probes while ready; default 1 s
	Timeout          time.Duration // for one probe; default 2 s, at most half of StartTimeout
	StartTimeout     time.Duration // from start to ready; default 60 s
	SuccessThreshold int           // successes in a row to become ready; default 1
	FailureThreshold int           // failures in a row to become unready; default 3
}

const (
	defaultStopGrace    = 10 * time.Second
	defaultDrainTimeout = 30 * time.Second
	maxReleaseName      = 180 // leaves room for the log file's suffix in a 255-byte file name
)

// normalize returns the spec with its defaults filled in, sharing nothing with the caller's, or all that is wrong with it.
func (s Spec) normalize() (Spec, error) {
	s.Command = slices.Clone(s.Command)
	s.Env = maps.Clone(s.Env)
	s.Digest = strings.ToLower(strings.TrimPrefix(s.Digest, "sha256:"))
	s.Probe = s.Probe.withDefaults()
	orDefault(&s.StopGrace, defaultStopGrace)
	orDefault(&s.DrainTimeout, defaultDrainTimeout)
	if err := errors.Join(s.faults()...); err != nil {
		return Spec{}, fmt.Errorf("release %q: %w", s.Release, err)
	}
	return s, nil
}

func (s Spec) faults() []error {
	var errs []error
	if s.Release == "" || s.Release != filepath.Base(s.Release) || strings.HasPrefix(s.Release, ".") || len(s.Release) > maxReleaseName {
		errs = append(errs, fmt.Errorf("the release's id must be a plain file name of at most %d bytes", maxReleaseName))
	}
	if len(s.Command) == 0 || s.Command[0] == "" {
		errs = append(errs, errors.New("no command given: set the release's command, such as ./shop or uvicorn main:app"))
	}
	if s.Digest != "" && !isSHA256(s.Digest) {
		errs = append(errs, fmt.Errorf("digest %q is not a sha256 in hex (64 digits)", s.Digest))
	}
	if !strings.HasPrefix(s.Probe.Path, "/") || strings.ContainsFunc(s.Probe.Path, func(r rune) bool { return r <= ' ' || r > '~' }) {
		errs = append(errs, fmt.Errorf("probe path %q must begin with / and hold no spaces (escape others than ASCII)", s.Probe.Path))
	}
	for name, value := range s.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(value, 0) {
			errs = append(errs, fmt.Errorf("environment variable %q cannot be passed to a process", name))
		}
	}
	for _, arg := range s.Command {
		if strings.ContainsRune(arg, 0) {
			errs = append(errs, fmt.Errorf("argument %q holds a NUL byte", arg))
		}
	}
	return errs
}

func (p Probe) withDefaults() Probe {
	if p.Path == "" {
		p.Path = "/health/ready"
	}
	orDefault(&p.Interval, 500*time.Millisecond)
	orDefault(&p.ReadyInterval, time.Second)
	orDefault(&p.Timeout, 2*time.Second)
	orDefault(&p.StartTimeout, time.Minute)
	p.Timeout = min(p.Timeout, p.StartTimeout/2) // else a start may be over before any probe has told what is wrong
	orDefault(&p.SuccessThreshold, 1)
	orDefault(&p.FailureThreshold, 3)
	return p
}

// equal compares normalized specs.
func (s Spec) equal(o Spec) bool {
	return s.Release == o.Release && s.Digest == o.Digest && s.Dir == o.Dir && s.Probe == o.Probe &&
		s.StopGrace == o.StopGrace && s.DrainTimeout == o.DrainTimeout &&
		slices.Equal(s.Command, o.Command) && maps.Equal(s.Env, o.Env)
}

func isSHA256(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

func orDefault[T int | int64 | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}
