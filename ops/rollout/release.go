package rollout

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sort"
	"time"

	"github.com/covetpy/covet/ops/journal"
)

// Release is an immutable version of the service: what runs, and the configuration it runs with. It is kept whole in the
// journal, so that rolling back never depends on anything outside.
type Release struct {
	Version  string    `json:"version"`
	Digest   string    `json:"digest"` // sha256 of the manifest, hex
	Manifest Manifest  `json:"manifest"`
	AddedAt  time.Time `json:"added_at"`
	AddedBy  string    `json:"added_by"`
}

// Manifest is everything needed to run a release on this machine.
type Manifest struct {
	Command      []string          `json:"command"`                 // the program and its arguments
	Executable   string            `json:"executable,omitempty"`    // sha256 of the program's file when it was added, hex
	Dir          string            `json:"dir,omitempty"`           // working directory
	Env          map[string]string `json:"env,omitempty"`           // the release's own environment
	Instances    int               `json:"instances"`               // how many copies, where a rollout asks for nothing else
	ReadyPath    string            `json:"ready_path"`              // answers 2xx once the instance may have traffic
	ReadyTimeout journal.Duration  `json:"ready_timeout,omitempty"` // how long a start may take
	DrainTimeout journal.Duration  `json:"drain_timeout,omitempty"` // how long requests in flight may take to finish
	StopGrace    journal.Duration  `json:"stop_grace,omitempty"`    // from SIGTERM to SIGKILL

	// Workload is what runs on a platform of containers. There the fields above it mean nothing, but Instances (0 for as many
	// as there are) and ReadyTimeout.
	Workload *Workload `json:"workload,omitempty"`
}

// Defaults of a manifest's optional fields.
const (
	DefaultReadyPath    = "/health/ready"
	DefaultReadyTimeout = journal.Duration(60 * time.Second)
	DefaultDrainTimeout = journal.Duration(30 * time.Second)
	DefaultStopGrace    = journal.Duration(10 * time.Second)
)

// WithDefaults fills what was left empty.
func (m Manifest) WithDefaults() Manifest {
	if m.Workload != nil {
		if m.ReadyTimeout == 0 {
			m.ReadyTimeout = DefaultReadyTimeout
		}
		return m
	}
	if m.Instances == 0 {
		m.Instances = 1
	}
	if m.ReadyPath == "" {
		m.ReadyPath = DefaultReadyPath
	}
	if m.ReadyTimeout == 0 {
		m.ReadyTimeout = DefaultReadyTimeout
	}
	if m.DrainTimeout == 0 {
		m.DrainTimeout = DefaultDrainTimeout
	}
	if m.StopGrace == 0 {
		m.StopGrace = DefaultStopGrace
	}
	return m
}

// Digest identifies the manifest by its content. Two manifests that differ in anything differ in their digest.
func (m Manifest) Digest() string {
	raw, err := json.Marshal(m) // maps are written in key order
	if err != nil {
		panic("rollout: a manifest is always JSON: " + err.Error())
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

var versionForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$`)

// MaxInstances bounds how many copies of a release may be asked for on one machine.
const MaxInstances = 2000

// NewRelease checks the version and the manifest and makes the immutable record. Every fault is named at once.
func NewRelease(version string, m Manifest, at time.Time, by string) (Release, error) {
	m = m.WithDefaults()
	var faults []error
	if !versionForm.MatchString(version) {
		faults = append(faults, fmt.Errorf("version %q: use letters, digits, dot, dash, plus and underscore, at most 64, for example v1.2.0", version))
	}
	if m.Workload != nil {
		faults = append(faults, m.Workload.faults(m.Instances)...)
	} else {
		faults = append(faults, m.processFaults()...)
	}
	if len(faults) > 0 {
		return Release{}, errors.Join(faults...)
	}
	return Release{Version: version, Digest: m.Digest(), Manifest: m, AddedAt: at.UTC(), AddedBy: by}, nil
}

// processFaults is what is wrong with a manifest of a process.
func (m Manifest) processFaults() []error {
	var faults []error
	if len(m.Command) == 0 || m.Command[0] == "" {
		faults = append(faults, errors.New("command: none was given; say what to run after --, for example -- ./shop --quiet"))
	}
	if m.Instances < 1 || m.Instances > MaxInstances {
		faults = append(faults, fmt.Errorf("instances: %d is not between 1 and %d", m.Instances, MaxInstances))
	}
	if m.ReadyPath[0] != '/' {
		faults = append(faults, fmt.Errorf("ready path %q: must begin with /, for example %s", m.ReadyPath, DefaultReadyPath))
	}
	for name, d := range map[string]journal.Duration{"ready timeout": m.ReadyTimeout, "drain timeout": m.DrainTimeout, "stop grace": m.StopGrace} {
		if d < 0 {
			faults = append(faults, fmt.Errorf("%s %s: must not be negative", name, d))
		}
	}
	if _, own := m.Env["PORT"]; own {
		faults = append(faults, errors.New("env PORT: covetd gives every instance a port of its own; remove it"))
	}
	return faults
}

// Change is one difference between two releases' manifests.
type Change struct {
	Field string `json:"field"`
	From  string `json:"from"`
	To    string `json:"to"`
}

// Changes lists what differs between two manifests, by field name. Values of environment variables whose names look
// secret are not shown, only that they differ.
func Changes(from, to Manifest) []Change {
	a, b := fields(from), fields(to)
	names := slices.Collect(maps.Keys(a))
	for n := range b {
		if _, ok := a[n]; !ok {
			names = append(names, n)
		}
	}
	sort.Strings(names)
	var out []Change
	for _, n := range names {
		if a[n] == b[n] {
			continue
		}
		c := Change{Field: n, From: a[n], To: b[n]}
		if secretName.MatchString(n) {
			c.From, c.To = masked(a[n]), masked(b[n])
		}
		out = append(out, c)
	}
	return out
}

var secretName = regexp.MustCompile(`(?i)(secret|passw|token|key|credential|dsn|_url$)`)

// LooksSecret reports whether a name is one of something that people do not show each other.
func LooksSecret(name string) bool { return secretName.MatchString(name) }

func masked(v string) string {
	if v == "" {
		return ""
	}
	return "••••"
}

// Masked is the manifest with the values of secret-looking environment variables hidden, for showing to people.
func (m Manifest) Masked() Manifest {
	env := make(map[string]string, len(m.Env))
	for k, v := range m.Env {
		if secretName.MatchString(k) {
			v = masked(v)
		}
		env[k] = v
	}
	m.Env = env
	return m
}

func fields(m Manifest) map[string]string {
	if m.Workload != nil {
		return m.Workload.fields(m.Instances)
	}
	command, err := json.Marshal(m.Command)
	if err != nil {
		panic("rollout: strings are always JSON: " + err.Error())
	}
	out := map[string]string{
		"command":       string(command),
		"executable":    m.Executable[:min(12, len(m.Executable))],
		"dir":           m.Dir,
		"instances":     fmt.Sprint(m.Instances),
		"ready path":    m.ReadyPath,
		"ready timeout": m.ReadyTimeout.String(),
		"drain timeout": m.DrainTimeout.String(),
		"stop grace":    m.StopGrace.String(),
	}
	for k, v := range m.Env {
		out["env "+k] = v
	}
	return out
}
