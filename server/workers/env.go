package workers

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// inherited are the variables of covetd's own environment that workers get. Everything else may be a secret of covetd's.
func inherited(name string) bool {
	switch name {
	case "PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "USER", "LOGNAME":
		return true
	}
	return strings.HasPrefix(name, "SSL_CERT_") || strings.HasPrefix(name, "LC_")
}

// environment is what a worker is started with: what it may inherit of base, and the variables given, each map over the ones
// before. It is sorted, so that two starts are alike.
func environment(base []string, over ...map[string]string) []string {
	vars := map[string]string{}
	for _, kv := range base {
		if name, value, ok := strings.Cut(kv, "="); ok && inherited(name) {
			vars[name] = value
		}
	}
	for _, more := range over {
		maps.Copy(vars, more)
	}
	env := make([]string, 0, len(vars))
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		env = append(env, name+"="+vars[name])
	}
	return env
}

// ownVariables are the ones that covetd sets for an instance.
func ownVariables(o owner, release, instance string, port int) map[string]string {
	return map[string]string{
		"PORT":           strconv.Itoa(port),
		"HOST":           "127.0.0.1",
		"COVET_RELEASE":  release,
		"COVET_INSTANCE": instance,
		ownerVariable:    o.String(),
	}
}

// lookup finds a variable in an environment.
func lookup(env []string, name string) string {
	for _, kv := range env {
		if n, v, ok := strings.Cut(kv, "="); ok && n == name {
			return v
		}
	}
	return ""
}
