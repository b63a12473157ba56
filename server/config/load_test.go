package config

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadWithNothingSet(t *testing.T) {
	t.Parallel()
	cfg, report, err := Load(Sources{})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Service != "app" || cfg.Listen != ":8000" || cfg.MaxBodyBytes != 10<<20 || cfg.DrainDelay != 0 ||
		cfg.ShutdownTimeout != 30*time.Second || cfg.App.ReadyPath != "/health/ready" || !cfg.PrometheusEnabled {
		t.Errorf("defaults: %+v", cfg)
	}
	for _, v := range report {
		if v.Source != "default" {
			t.Errorf("%s comes from %s", v.Name, v.Source)
		}
	}
}

func TestLoadPrecedence(t *testing.T) {
	t.Parallel()
	src := Sources{
		Overrides: map[string]string{"SERVICE": "flag"},
		Environ:   []string{"SERVICE=env", "ENVIRONMENT=env", "LOG_LEVEL="},
		DotEnv:    writeFile(t, ".env", "SERVICE=dot\nENVIRONMENT=dot\nAPP_VERSION=dot\n"),
		File:      writeFile(t, "covet.yaml", "service: file\nenvironment: file\napp:\n  version: file\n  dir: file\nlog_level: error\n"),
		Defaults:  map[string]string{"APP_DIR": "default", "READ_TIMEOUT": "9s"},
	}
	cfg, report, err := Load(src)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{cfg.Service, cfg.Environment, cfg.App.Version, cfg.App.Dir, cfg.ReadTimeout.String(), cfg.LogLevel.String()}
	want := []string{"flag", "env", "dot", "file", "9s", "ERROR"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	sources := map[string]string{"SERVICE": "flag", "ENVIRONMENT": "environment", "APP_VERSION": src.DotEnv + ":3", "APP_DIR": src.File + ":5", "READ_TIMEOUT": "default"}
	for _, v := range report {
		if want, ok := sources[v.Name]; ok && v.Source != want {
			t.Errorf("%s is said to come from %s, want %s", v.Name, v.Source, want)
		}
	}
	if cfg.DrainDelay != 5*time.Second {
		t.Errorf("outside development the drain delay is %v", cfg.DrainDelay)
	}
}

func TestLoadShapesOfTheFile(t *testing.T) {
	t.Parallel()
	cfg, _, err := Load(Sources{File: writeFile(t, "covet.yaml", `
trusted_proxies: [10.0.0.0/8, 192.0.2.1]
max_body_bytes: 2MiB
shutdown: {timeout: 1m}
debug: true
log:
  format: text
app:
  command: [python3, -m, "my app", "it's"]
  workers: 3
  env:
    CURRENCY: EUR
    GREETING: hello "you"
    EMPTY: ""
`)})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"python3", "-m", "my app", "it's"}; !reflect.DeepEqual(cfg.App.Command, want) {
		t.Errorf("command %q", cfg.App.Command)
	}
	if want := map[string]string{"CURRENCY": "EUR", "GREETING": `hello "you"`, "EMPTY": ""}; !reflect.DeepEqual(cfg.App.Env, want) {
		t.Errorf("env %q", cfg.App.Env)
	}
	if len(cfg.TrustedProxies) != 2 || cfg.TrustedProxies[1].String() != "192.0.2.1/32" {
		t.Errorf("proxies %v", cfg.TrustedProxies)
	}
	if cfg.App.Workers != 3 || cfg.MaxBodyBytes != 2<<20 || cfg.ShutdownTimeout != time.Minute || cfg.LogFormat != "text" || cfg.LogLevel != slog.LevelDebug {
		t.Errorf("%+v", cfg)
	}
}

func TestLoadNamesAllFaultsAtOnce(t *testing.T) {
	t.Parallel()
	const secret = "hunter2-short"
	src := Sources{
		Overrides: map[string]string{"LISTN": ":1"},
		Environ: []string{
			"ENVIRONMENT=production", "SECRET_KEY=" + secret, "DEBUG=true", "LOG_LEVEL=loud", "SHUTDOWN_TIMEOUT=soon",
			"MAX_BODY_BYTES=many", "TRUSTED_PROXIES=10.0.0.0/8,nowhere", "APP_COMMAND=run 'this", "APP_WORKERS=0", "LISTEN=8000",
		},
		File:   writeFile(t, "covet.yaml", "log_levl: info\napp:\n  upstream: ftp://there\n  comand: x\n"),
		DotEnv: writeFile(t, "shop.env", "this is nothing\n"),
	}
	_, report, err := Load(src)
	var config *Error
	if !errors.As(err, &config) {
		t.Fatalf("error %v", err)
	}
	text := err.Error()
	for _, want := range []string{
		"configuration: 14 faults",
		"LISTN (flag): is no setting; did you mean LISTEN?",
		`SECRET_KEY (environment): has 13 characters, production needs at least 32`,
		"DEBUG (environment): is on, which production forbids; for example DEBUG=false",
		`LOG_LEVEL (environment): "loud" is none of debug, info, warn, error; for example LOG_LEVEL=info`,
		`SHUTDOWN_TIMEOUT (environment): "soon" is not a duration; for example SHUTDOWN_TIMEOUT=30s`,
		`MAX_BODY_BYTES (environment): "many" is not a size in bytes`,
		`TRUSTED_PROXIES (environment): "10.0.0.0/8,nowhere" holds "nowhere", which is neither an address nor a network`,
		`APP_COMMAND (environment): "run 'this" has a single quote that is never closed`,
		`APP_WORKERS (environment): "0" is not between 1 and 1000`,
		`LISTEN (environment): "8000" has no port; for example LISTEN=127.0.0.1:8000`,
		fmt.Sprintf("log_levl (%s:1): is no setting; did you mean log_level?", src.File),
		fmt.Sprintf(`APP_UPSTREAM (%s:3): "ftp://there" does not begin with http://`, src.File),
		fmt.Sprintf("app_comand (%s:4): is no setting; did you mean app_command?", src.File),
		fmt.Sprintf("line 1 (%s): is not NAME=value", src.DotEnv),
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the error lacks %q", want)
		}
	}
	if strings.Contains(text, secret) || strings.Contains(report.String(), secret) {
		t.Error("the secret is shown")
	}
	if t.Failed() {
		t.Log(text)
	}
}

func TestLoadConflicts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		env  []string
		says string
	}{
		"command and upstream": {[]string{"APP_COMMAND=x", "APP_UPSTREAM=http://127.0.0.1:1"}, "unset one"},
		"no time to drain":     {[]string{"DRAIN_DELAY=30s"}, "leaves nothing after DRAIN_DELAY"},
		"socket path":          {[]string{"ADMIN_SOCKET=/" + strings.Repeat("x", 120)}, "longer than a unix socket's may be"},
		"shell syntax":         {[]string{"APP_COMMAND=cd /srv && ./run"}, "write sh -c '…'"},
		"bad pairs":            {[]string{"APP_ENV=A=1 nonsense"}, "something other than NAME=value"},
		"bare IPv6":            {[]string{"LISTEN=::1:8000"}, "without brackets"},
	} {
		_, _, err := Load(Sources{Environ: c.env})
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLoadSecrets(t *testing.T) {
	t.Parallel()
	secret := strings.Repeat("k", 40)
	path := writeFile(t, "key", secret+"\n")
	cfg, report, err := Load(Sources{Environ: []string{"SECRET_KEY_FILE=" + path}})
	if err != nil || cfg.SecretKey.Reveal() != secret {
		t.Fatalf("%v, %d characters", err, len(cfg.SecretKey))
	}
	for _, shown := range []string{report.String(), fmt.Sprintf("%v %+v %#v %s", cfg, cfg, cfg, cfg.SecretKey)} {
		if strings.Contains(shown, secret) {
			t.Errorf("shown: %s", shown)
		}
	}
	for name, c := range map[string]struct {
		env  []string
		says string
	}{
		"both":    {[]string{"SECRET_KEY=a", "SECRET_KEY_FILE=" + path}, "unset one"},
		"missing": {[]string{"SECRET_KEY_FILE=" + path + ".gone"}, "no such file"},
		"empty":   {[]string{"SECRET_KEY_FILE=" + writeFile(t, "empty", "\n")}, "is empty"},
	} {
		if _, _, err := Load(Sources{Environ: c.env}); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLoadFileFaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, says string }{
		"broken":        {"log_level: [", "is not YAML"},
		"no mapping":    {"- a\n", "does not hold a mapping"},
		"twice":         {"log_level: info\nlog: {level: warn}\n", "is set twice, first on line 1"},
		"wrong shape":   {"service: [a, b]\n", "where one value belongs"},
		"nested unsure": {"logs:\n  level: info\n", "logs ("},
	} {
		if _, _, err := Load(Sources{File: writeFile(t, "c.yaml", c.text)}); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := Load(Sources{File: writeFile(t, "c.yaml", "# nothing\n")}); err != nil {
		t.Errorf("an empty file: %v", err)
	}
	missing := filepath.Join(t.TempDir(), "nowhere")
	if _, _, err := Load(Sources{File: missing}); err == nil {
		t.Error("a missing file passes")
	}
	if _, _, err := Load(Sources{DotEnv: filepath.Join(missing, ".env")}); err != nil {
		t.Errorf("a missing .env: %v", err)
	}
	if _, _, err := Load(Sources{DotEnv: missing}); err == nil {
		t.Error("a missing file of another name passes for a .env")
	}
}

func TestLoadPortAndListen(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		src  Sources
		want string
	}{
		"port alone":         {Sources{Environ: []string{"PORT=9000"}}, ":9000"},
		"beside listen":      {Sources{Environ: []string{"PORT=9000", "LISTEN=127.0.0.1:8000"}}, "127.0.0.1:9000"},
		"under a flag":       {Sources{Environ: []string{"PORT=9000"}, Overrides: map[string]string{"LISTEN": "127.0.0.1:1"}}, "127.0.0.1:1"},
		"over a default":     {Sources{Environ: []string{"PORT=9000"}, Defaults: map[string]string{"LISTEN": "[::1]:1"}}, "[::1]:9000"},
		"listen alone":       {Sources{Environ: []string{"LISTEN=10.0.0.1:80"}}, "10.0.0.1:80"},
		"flag over env port": {Sources{Environ: []string{"LISTEN=10.0.0.1:80"}, Overrides: map[string]string{"PORT": "81"}}, "10.0.0.1:81"},
	} {
		cfg, _, err := Load(c.src)
		if err != nil || cfg.Listen != c.want {
			t.Errorf("%s: %q, %v, want %q", name, cfg.Listen, err, c.want)
		}
	}
}

func TestDefaultDataDir(t *testing.T) {
	t.Parallel()
	env := func(m map[string]string) func(string) string { return func(k string) string { return m[k] } }
	for _, c := range []struct {
		env  map[string]string
		uid  int
		want string
	}{
		{map[string]string{"STATE_DIRECTORY": "/var/lib/shop:/var/lib/two"}, 5, "/var/lib/shop"},
		{nil, 0, "/var/lib/covet"},
		{map[string]string{"HOME": "/home/a"}, 5, "/home/a/.local/state/covet"},
		{map[string]string{"HOME": "/home/a", "XDG_STATE_HOME": "/s"}, 5, "/s/covet"},
	} {
		if got := defaultDataDir(env(c.env), c.uid); got != c.want {
			t.Errorf("%v: %s, want %s", c.env, got, c.want)
		}
	}
}

// The region is the backups' too, whose bucket is named elsewhere.
func TestRegionNeedsNoBucket(t *testing.T) {
	t.Parallel()
	if _, _, err := Load(Sources{Environ: []string{"S3_REGION=eu-central-1"}}); err != nil {
		t.Error(err)
	}
}
