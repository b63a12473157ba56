package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Sources says where configuration comes from. A value is taken from the first source that has it: Overrides, Environ,
// DotEnv, File, Defaults, and last the setting's own default.
type Sources struct {
	Overrides map[string]string // from flags, by setting name: LOG_LEVEL
	Environ   []string          // NAME=value, as os.Environ gives it
	DotEnv    string            // path of a .env file; a file named just .env may be missing
	File      string            // path of a YAML file
	Defaults  map[string]string // an application's own defaults for the runtime's settings
	Settings  []Setting         // an application's own settings, read and checked with the runtime's
}

// layer is one source, read.
type layer struct {
	name   string
	values map[string]entry
}

func (l layer) where(e entry) string {
	if e.line > 0 {
		return fmt.Sprintf("%s:%d", l.name, e.line)
	}
	return l.name
}

// Load reads the configuration from all its sources. Every fault is in the one error it returns, a *[Error];
// the report is complete even then. Secrets are in neither.
func Load(src Sources) (Config, Report, error) {
	env := environ(src.Environ)
	cfg := defaultConfig(func(name string) string { return env[name].value })
	settings := append(cfg.settings(), src.Settings...)
	l := loader{settings: settings, given: map[string]found{}}
	l.read(src, env)
	for _, s := range settings {
		l.apply(s)
	}
	l.settlePort(&cfg)
	cfg.derive(func(name string) bool { return l.given[name].source != "" })
	for _, f := range cfg.Conflicts() {
		f.Source = l.given[f.Name].source
		l.faults = append(l.faults, f)
	}
	report := l.report(cfg)
	if len(l.faults) > 0 {
		return Config{}, report, &Error{Faults: l.faults}
	}
	cfg.loaded = true
	return cfg, report, nil
}

// found is the value a setting got, before it is parsed.
type found struct {
	value, source string
	rank          int // of the source: the lower wins
}

type loader struct {
	settings []Setting
	layers   []layer
	given    map[string]found
	faults   []Fault
}

// read opens all sources, in order of precedence.
func (l *loader) read(src Sources, env map[string]entry) {
	l.layers = append(l.layers, layer{"flag", plain(src.Overrides)}, layer{"environment", env})
	if src.DotEnv != "" {
		text, err := os.ReadFile(src.DotEnv)
		switch {
		case errors.Is(err, fs.ErrNotExist) && filepath.Base(src.DotEnv) == ".env":
		case err != nil:
			l.fault(Fault{Name: src.DotEnv, Problem: "cannot be read: " + reason(err)})
		default:
			values, faults := parseDotEnv(string(text))
			for _, f := range faults {
				f.Source = src.DotEnv
				l.fault(f)
			}
			l.layers = append(l.layers, layer{src.DotEnv, values})
		}
	}
	if src.File != "" {
		text, err := os.ReadFile(src.File)
		if err != nil {
			l.fault(Fault{Name: src.File, Problem: "cannot be read: " + reason(err)})
		} else {
			values, faults := parseFile(src.File, text, l.settings)
			l.faults = append(l.faults, faults...)
			l.layers = append(l.layers, layer{src.File, values})
		}
	}
	l.layers = append(l.layers, layer{"default", plain(src.Defaults)})
	l.rejectUnknown(src.Overrides, "flag")
	l.rejectUnknown(src.Defaults, "default")
}

// rejectUnknown refuses values for settings that do not exist, where the source holds nothing else.
func (l *loader) rejectUnknown(values map[string]string, source string) {
	known := names(l.settings)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(known, name) {
			l.fault(unknown(name, nearest(name, known), source))
		}
	}
}

func (l *loader) fault(f Fault) { l.faults = append(l.faults, f) }

// apply finds a setting's value in the layers and hands it over.
func (l *loader) apply(s Setting) {
	f, ok := l.lookup(s)
	if !ok {
		if s.Default == "" {
			return
		}
		f = found{value: s.Default, source: "default"}
	} else {
		l.given[s.Name] = f
	}
	err := s.Set(f.value)
	if err == nil {
		return
	}
	problem := err.Error()
	if !s.Secret {
		problem = quoteValue(f.value) + " " + problem
	}
	l.fault(Fault{Name: s.Name, Problem: problem, Example: s.Example, Source: f.source})
}

// lookup returns the first value that a layer has. An empty value counts as none.
func (l *loader) lookup(s Setting) (found, bool) {
	for rank, layer := range l.layers {
		direct := layer.values[s.Name]
		file := layer.values[s.Name+"_FILE"]
		switch {
		case !s.Secret || file.value == "":
			if direct.value != "" {
				return found{direct.value, layer.where(direct), rank}, true
			}
		case direct.value != "":
			l.fault(Fault{Name: s.Name, Problem: "is set and so is " + s.Name + "_FILE; unset one", Source: layer.where(file)})
			return found{}, false
		default:
			return l.secretFile(s, file, layer.where(file), rank)
		}
	}
	return found{}, false
}

func (l *loader) secretFile(s Setting, file entry, where string, rank int) (found, bool) {
	name := s.Name + "_FILE"
	text, err := os.ReadFile(file.value)
	value := strings.TrimRight(string(text), "\r\n")
	switch {
	case err != nil:
		l.fault(Fault{Name: name, Problem: fmt.Sprintf("%s cannot be read: %s", quoteValue(file.value), reason(err)), Example: name + "=/run/secrets/" + strings.ToLower(s.Name), Source: where})
		return found{}, false
	case value == "":
		l.fault(Fault{Name: name, Problem: quoteValue(file.value) + " is empty", Source: where})
		return found{}, false
	}
	return found{value, fmt.Sprintf("%s, by %s", file.value, name), rank}, true
}

// settlePort settles PORT against LISTEN: PORT replaces the port in LISTEN, because whoever starts a process and gives it
// a port (a platform, covetd) adds it to an environment that may hold a LISTEN of somebody else's. Only a LISTEN from a
// source that comes before PORT's is left as it is.
func (l *loader) settlePort(cfg *Config) {
	listen, isSet := l.given["LISTEN"]
	port, isPort := l.given["PORT"]
	if !isPort || portText(port.value) != nil || (isSet && listen.rank < port.rank) {
		return
	}
	if host, _, err := net.SplitHostPort(cfg.Listen); err == nil {
		cfg.Listen = net.JoinHostPort(host, port.value)
	}
}

// report lists every setting with the value in force.
func (l *loader) report(cfg Config) Report {
	out := make(Report, 0, len(l.settings))
	for _, s := range l.settings {
		v := Value{Name: s.Name, Value: s.Default, Source: "default", Help: s.Help, Secret: s.Secret}
		if f, ok := l.given[s.Name]; ok {
			v.Value, v.Source = f.value, f.source
		}
		switch {
		case s.Secret && v.Value != "":
			v.Value = masked
		case s.Name == "DRAIN_DELAY":
			v.Value = cfg.DrainDelay.String()
		case s.Name == "ADMIN_SOCKET":
			v.Value = cfg.AdminSocket
		case s.Name == "LISTEN":
			v.Value = cfg.Listen
		}
		out = append(out, v)
	}
	return out
}

// environ indexes NAME=value pairs; the last one of a name holds, as for the C library.
func environ(pairs []string) map[string]entry {
	out := make(map[string]entry, len(pairs))
	for _, p := range pairs {
		if name, value, ok := strings.Cut(p, "="); ok {
			out[name] = entry{value: value}
		}
	}
	return out
}

func plain(values map[string]string) map[string]entry {
	out := make(map[string]entry, len(values))
	for name, v := range values {
		out[name] = entry{value: v}
	}
	return out
}

func names(settings []Setting) []string {
	out := make([]string, 0, len(settings))
	for _, s := range settings {
		out = append(out, s.Name)
		if s.Secret {
			out = append(out, s.Name+"_FILE")
		}
	}
	return out
}

func unknown(name, meant, source string) Fault {
	f := Fault{Name: name, Problem: "is no setting", Source: source}
	if meant != "" {
		f.Problem += "; did you mean " + meant + "?"
	}
	return f
}

// quoteValue shows a value in a fault, shortened.
func quoteValue(v string) string {
	if r := []rune(v); len(r) > 60 {
		v = string(r[:57]) + "…"
	}
	return fmt.Sprintf("%q", v)
}

// reason strips the path that os errors repeat.
func reason(err error) string {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err.Error()
	}
	return err.Error()
}
