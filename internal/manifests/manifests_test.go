package manifests_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/covetpy/covet/internal/manifests"
	"github.com/covetpy/covet/server/config"
)

var update = flag.Bool("update", false, "write deploy/kubernetes")

// example is what deploy/kubernetes is made from.
func example(t *testing.T) manifests.Settings {
	t.Helper()
	cfg, report, err := config.Load(config.Sources{File: "../../deploy/shop.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	s, notes, err := manifests.FromConfig(cfg, report)
	if err != nil || len(notes) > 0 {
		t.Fatal(notes, err)
	}
	s.Namespace, s.Image = "shop", "registry.example/shop:v1.0.0@sha256:"+strings.Repeat("0", 64)
	s.HPA, s.PreStop, s.Host, s.IngressClass = manifests.HPA{Min: 3, Max: 10}, 5*time.Second, "shop.example.com", "nginx"
	s.Secrets, s.Template = []string{"SECRET_KEY", "DATABASE_URL", "REDIS_URL", "JWT_SECRET_KEY"}, true
	s.Egress = manifests.WithUsualPorts(s.Egress, s.Secrets)
	return s
}

// What is in deploy/kubernetes is what the command would write.
func TestDeployedManifestsAreTheRendered(t *testing.T) {
	t.Parallel()
	files, err := manifests.Render(example(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		path := filepath.Join("../../deploy/kubernetes", f.Name)
		if *update {
			if err := os.WriteFile(path, f.Text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		there, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(there) != string(f.Text) {
			t.Errorf("%s is not what is rendered: go test ./internal/manifests -update", path)
		}
	}
}

func TestExampleHasNothingToWarnOf(t *testing.T) {
	t.Parallel()
	if faults, warnings := manifests.Check(example(t)); len(faults)+len(warnings) > 0 {
		t.Error(faults, warnings)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*manifests.Settings)
		says   string
	}{
		"no image":         {func(s *manifests.Settings) { s.Image = "" }, "--image"},
		"odd image":        {func(s *manifests.Settings) { s.Image = "shop v1" }, "no reference to an image"},
		"short grace":      {func(s *manifests.Settings) { s.Grace = 35 * time.Second }, "at least 36s"},
		"upper-case name":  {func(s *manifests.Settings) { s.Service = "Shop" }, "SERVICE"},
		"long name":        {func(s *manifests.Settings) { s.Service = strings.Repeat("a", 51) }, "SERVICE"},
		"bounds":           {func(s *manifests.Settings) { s.HPA = manifests.HPA{Min: 5, Max: 3} }, "--hpa 5:3"},
		"zero at least":    {func(s *manifests.Settings) { s.HPA = manifests.HPA{Min: 0, Max: 3} }, "--hpa 0:3"},
		"no pods":          {func(s *manifests.Settings) { s.HPA, s.Replicas = manifests.HPA{}, 0 }, "--replicas 0"},
		"same ports":       {func(s *manifests.Settings) { s.MetricsPort = s.Port }, "both 8000"},
		"odd quantity":     {func(s *manifests.Settings) { s.Memory = "lots" }, `--memory "lots"`},
		"host":             {func(s *manifests.Settings) { s.Host = "shop example" }, "--host"},
		"two ways in":      {func(s *manifests.Settings) { s.Gateway = "public" }, "choose one"},
		"gateway, no host": {func(s *manifests.Settings) { s.Gateway, s.Host, s.IngressClass = "public", "", "" }, "needs the --host"},
		"half seconds":     {func(s *manifests.Settings) { s.PreStop = 1500 * time.Millisecond }, "whole seconds"},
		"namespace":        {func(s *manifests.Settings) { s.Namespace = "a\nb: c" }, "--namespace"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := example(t)
			c.change(&s)
			_, err := manifests.Render(s)
			var faults *manifests.FaultError
			if !errors.As(err, &faults) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("Render: %v, want a fault that says %q", err, c.says)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*manifests.Settings)
		says   string
	}{
		"tag":         {func(s *manifests.Settings) { s.Image = "registry.example:5000/shop:v1" }, "can be moved"},
		"no tag":      {func(s *manifests.Settings) { s.Image = "registry.example:5000/shop" }, "names no version"},
		"latest":      {func(s *manifests.Settings) { s.Image = "shop:latest" }, "names no version"},
		"one pod":     {func(s *manifests.Settings) { s.HPA.Min = 1 }, "two or more"},
		"no waiting":  {func(s *manifests.Settings) { s.PreStop, s.Drain = 0, 0 }, "5s together"},
		"low port":    {func(s *manifests.Settings) { s.Port = 80 }, "over 1023"},
		"itself":      {func(s *manifests.Settings) { s.Config["CDN_URL"] = "http://127.0.0.1:80/" }, "CDN_URL points to 127.0.0.1"},
		"all workers": {func(s *manifests.Settings) { delete(s.Config, "APP_WORKERS") }, "APP_WORKERS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := example(t)
			c.change(&s)
			if _, warnings := manifests.Check(s); !slices.ContainsFunc(warnings, func(w string) bool { return strings.Contains(w, c.says) }) {
				t.Errorf("warnings %q, want one that says %q", warnings, c.says)
			}
		})
	}
}

// A value of the configuration stays one value, whatever is in it.
func TestValuesAreQuoted(t *testing.T) {
	t.Parallel()
	s := example(t)
	for _, odd := range []string{"yes", "0123", "a: b\nkind: Pod", `"'{{ .Service }}` + "\u2028\x00é", "---\n", "# no", "1e3", "null"} {
		s.Config["ODD"] = odd
		files, err := manifests.Render(s)
		if err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(files, func(f manifests.File) bool { return f.Name == "configmap.yaml" })
		var o struct{ Data map[string]string }
		if err := yaml.Unmarshal(files[at].Text, &o); err != nil || o.Data["ODD"] != odd {
			t.Errorf("%q became %q (%v)", odd, o.Data["ODD"], err)
		}
	}
}

func TestConfigurationOfAMachineIsLeftThere(t *testing.T) {
	t.Parallel()
	load := func(environ ...string) (manifests.Settings, []string, error) {
		cfg, report, err := config.Load(config.Sources{Environ: append(environ, "SERVICE=shop", "SECRET_KEY="+strings.Repeat("s", 40))})
		if err != nil {
			t.Fatal(err)
		}
		return manifests.FromConfig(cfg, report)
	}
	s, notes, err := load("LISTEN=:9000", "LOG_FILE=/var/log/shop", "DATA_DIR=/home/me", "DATABASE_URL=postgres://u:hunter2@localhost:5433/shop")
	if err != nil {
		t.Fatal(err)
	}
	s.Image, s.Replicas, s.PreStop, s.Template = "shop:v1", 2, 5*time.Second, true
	files, err := manifests.Render(s)
	if err != nil {
		t.Fatal(err)
	}
	text := string(manifests.YAML(files))
	for _, no := range []string{"hunter2", strings.Repeat("s", 40), "/home/me", "LOG_FILE", "LISTEN"} {
		if strings.Contains(text, no) {
			t.Errorf("the manifests hold %q", no)
		}
	}
	for _, yes := range []string{`PORT: "9000"`, "containerPort: 9000", "DATABASE_URL: \"\"", "port: 5433"} {
		if !strings.Contains(text, yes) {
			t.Errorf("the manifests lack %q", yes)
		}
	}
	said := strings.Join(notes, "\n")
	for _, word := range []string{"LOG_FILE", "localhost", "development", "environment of this command"} {
		if !strings.Contains(said, word) {
			t.Errorf("the notes %q say nothing of %q", notes, word)
		}
	}
	if _, _, err := load("LISTEN=127.0.0.1:8000"); err == nil {
		t.Error("a service that only its own pod can reach was taken")
	}
	if _, _, err := load("PORT=0"); err == nil {
		t.Error("a port that is another every time was taken")
	}
}

// A pod whose Secret is not there never starts: it is only asked for where something is in it.
func TestSecretIsOnlyAskedForWhereThereIsOne(t *testing.T) {
	t.Parallel()
	s := example(t)
	for _, secrets := range [][]string{nil, {"SECRET_KEY"}} {
		s.Secrets = secrets
		files, err := manifests.Render(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(manifests.YAML(files)), "secretRef"); got != (len(secrets) > 0) {
			t.Errorf("with the secrets %q the Deployment asks for the Secret: %v", secrets, got)
		}
	}
}

func TestListHoldsEveryObject(t *testing.T) {
	t.Parallel()
	files, err := manifests.Render(example(t))
	if err != nil {
		t.Fatal(err)
	}
	list, err := manifests.List(files)
	if err != nil {
		t.Fatal(err)
	}
	if items := list["items"].([]any); len(items) != len(files) {
		t.Errorf("%d objects in %d files", len(items), len(files))
	}
}
