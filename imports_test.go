// Package covet_test holds the rules that are about the whole tree.
package covet_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/covetpy/covet/"

// layers is which packages of this module each may import, by prefix. A package of no layer here may import everything.
var layers = map[string][]string{
	"ops/journal":  {},
	"ops/health":   {"ops/journal"},
	"ops/rollout":  {"ops/health", "ops/journal"},
	"ops/console":  {"ops/rollout", "ops/recovery", "ops/restore", "ops/backup", "ops/health", "ops/journal"},
	"ops/backup":   {},
	"ops/restore":  {"ops/backup"},
	"ops/recovery": {"ops/restore", "ops/backup", "ops/health", "ops/journal"},
	"server":       {"server"},
	"tui":          {"tui", "ops", "runbooks"},
	"internal":     {"internal", "ops", "server"},
}

// pure are the layers that import nothing of a third party.
var pure = []string{"ops/"}

type listed struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

// TestConsoleStartsQuickly holds that covetctl is built without the runtime: PostgreSQL starts it for each segment of its log, and
// the job queue, traces and metrics of a service took a third of its start and of its memory.
func TestConsoleStartsQuickly(t *testing.T) {
	t.Parallel()
	found := false
	for _, p := range list(t) {
		if p.ImportPath != module+"cmd/covetctl" {
			continue
		}
		found = true
		for _, d := range p.Deps {
			if d == module+"server" || strings.HasPrefix(d, "google.golang.org/grpc") || strings.HasPrefix(d, "go.opentelemetry.io/") {
				t.Errorf("covetctl depends on %s", d)
			}
		}
	}
	if !found {
		t.Error("there is no cmd/covetctl")
	}
}

func TestImportDirections(t *testing.T) {
	t.Parallel()
	for _, p := range list(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		layer, ok := layerOf(name)
		if !ok || testOnly(name) {
			continue
		}
		for _, i := range p.Imports {
			if own, inside := strings.CutPrefix(i, module); inside {
				if !within(own, layers[layer]) && !strings.HasPrefix(own, layer+"/") && !testOnly(own) {
					t.Errorf("%s imports %s: %s may import %v", name, own, layer, layers[layer])
				}
			} else if strings.Contains(strings.Split(i, "/")[0], ".") && strings.HasPrefix(name, pure[0]) {
				t.Errorf("%s imports %s: ops imports the standard library only", name, i)
			}
		}
	}
}

func testOnly(name string) bool { return strings.HasSuffix(name, "test") }

func layerOf(name string) (string, bool) {
	best := ""
	for layer := range layers {
		if (name == layer || strings.HasPrefix(name, layer+"/")) && len(layer) > len(best) {
			best = layer
		}
	}
	return best, best != ""
}

func within(name string, allowed []string) bool {
	for _, a := range allowed {
		if name == a || strings.HasPrefix(name, a+"/") {
			return true
		}
	}
	return false
}

func list(t *testing.T) []listed {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,Deps", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 5 {
		t.Fatalf("only %d packages found: the rule would hold of nothing", len(all))
	}
	return all
}
