package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/covetpy/covet/ops/console"
)

// targetFile is covetctl's own configuration: the services that a person looks after, by names of their own.
type targetFile struct {
	Use      string                 `json:"use,omitempty"` // the one that is meant where nothing is said
	Services map[string]savedTarget `json:"services"`

	path string
}

// savedTarget is where one of them runs.
type savedTarget struct {
	Platform    string `json:"platform,omitempty"`
	Socket      string `json:"socket,omitempty"`
	DataDir     string `json:"dataDir,omitempty"`
	Kubeconfig  string `json:"kubeconfig,omitempty"`
	Context     string `json:"context,omitempty"`
	Namespace   string `json:"namespace,omitempty"`
	Deployment  string `json:"deployment,omitempty"`
	Service     string `json:"service,omitempty"`
	Router      string `json:"router,omitempty"`
	Metrics     string `json:"metrics,omitempty"`
	Environment string `json:"environment,omitempty"`

	KeepReleases int `json:"keepReleases,omitempty"`
}

// targetsPath is where the file is, and whether somebody named it.
func (a *app) targetsPath() (path string, named bool) {
	if path := a.env("COVETCTL_CONFIG"); path != "" {
		return path, true
	}
	dir := a.env("XDG_CONFIG_HOME")
	if home := a.env("HOME"); dir == "" && home != "" {
		dir = filepath.Join(home, ".config")
	}
	if dir == "" {
		return "", false
	}
	return filepath.Join(dir, "covet", "covetctl.yaml"), false
}

// readTargets reads the file. One that is not there, and that nobody named, is an empty one.
func (a *app) readTargets() (targetFile, error) {
	path, named := a.targetsPath()
	f := targetFile{path: path}
	if path == "" {
		return f, nil
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && !named {
		return f, nil
	}
	bad := func(format string, args ...any) error {
		return &console.Error{Code: console.CodeUsage, Message: path + ": " + fmt.Sprintf(format, args...),
			Hint: "it has `use: NAME` and `services: {NAME: {context: …, namespace: …, deployment: …}}`; COVETCTL_CONFIG names another"}
	}
	if err != nil {
		return f, bad("%v", unwrapPath(err))
	}
	if err := yaml.UnmarshalStrict(raw, &f); err != nil {
		return f, bad("%s", strings.TrimPrefix(err.Error(), "error unmarshaling JSON: while decoding JSON: "))
	}
	f.path = path
	for name, t := range f.Services {
		if !slices.Contains([]string{"", "local", "kubernetes"}, t.Platform) {
			return f, bad("service %s: platform %q: choose local or kubernetes", name, t.Platform)
		}
	}
	if _, ok := f.Services[f.Use]; f.Use != "" && !ok {
		return f, bad("use: there is no service %q in it; there are %s", f.Use, strings.Join(sortedKeys(f.Services), ", "))
	}
	return f, nil
}

// saved is the target of the file that is meant: the one that was named, or, where nothing else says what is meant, the file's
// own choice.
func (a *app) saved() (savedTarget, error) {
	name := cmp.Or(a.flags.cluster.target, a.env("COVET_TARGET"))
	if name == "" && a.saysWhere() {
		return savedTarget{}, nil
	}
	f, err := a.readTargets()
	if err != nil {
		return savedTarget{}, err
	}
	if name = cmp.Or(name, f.Use); name == "" {
		return savedTarget{}, nil
	}
	t, ok := f.Services[name]
	if !ok {
		return t, &console.Error{Code: console.CodeUsage, Message: fmt.Sprintf("there is no service %q in %s", name, cmp.Or(f.path, "covetctl.yaml")),
			Hint: "there are: " + cmp.Or(strings.Join(sortedKeys(f.Services), ", "), "none")}
	}
	return t, nil
}

// saysWhere reports whether the command line or the environment name a service themselves.
func (a *app) saysWhere() bool {
	v := a.flags.cluster
	for _, s := range []string{v.platform, v.kubeconfig, v.context, v.namespace, v.deployment, a.flags.socket, a.flags.dataDir, a.env("COVET_PLATFORM"),
		a.env("COVET_CONTEXT"), a.env("COVET_NAMESPACE"), a.env("COVET_DEPLOYMENT"), a.env("COVET_SOCKET"), a.env("COVET_DATA_DIR")} {
		if s != "" {
			return true
		}
	}
	return false
}
