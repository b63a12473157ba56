package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/journal"
	"github.com/covetpy/covet/ops/rollout"
)

const addLong = `Record a release: the command that runs one instance, and the environment it runs with. covetd gives each instance PORT.

The program is looked up now, as a shell would, and recorded by its absolute path and the SHA-256 of its file: a release
whose program has changed since is not started. Keep each version's program in a file of its own.

On Kubernetes a release is the stable one's pod template with other images or environment, each image pinned by its digest,
and copies of the ConfigMaps and Secrets it refers to, as they are now.`

// addition is what the command line says about a release to add.
type addition struct {
	artifact, dir, readyPath string
	env, envFiles            []string
	images                   []string // kubernetes
	template                 string   // likewise: a file
	unpinned                 bool     // likewise
	instances                int
	ready, drain, stop       time.Duration
}

func (a *app) releaseAdd() *cobra.Command {
	var add addition
	c := &cobra.Command{
		Use: "add VERSION [-- COMMAND ARGS…]", Short: "Record a release", Long: addLong,
		Example: `covetctl release add v1.1.0 --instances 4 -- ./shop-v1.1.0 --quiet
covetctl release add v1.1.0 --artifact ./shop-v1.1.0 --env LOG_LEVEL=info --env-file shop.env
covetctl release add v1.1.0 --deployment shop --image registry.example.com/shop:v1.1.0
covetctl release add v2.0.0 --dir /srv/shop -- uvicorn src.main:app --host 127.0.0.1`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := notZero(c, "instances", "ready-timeout", "drain-timeout", "stop-grace"); err != nil {
				return err
			}
			if _, ok, err := a.target(); ok || err != nil || add.onCluster() {
				return a.addToCluster(c, args, &add, ok, err)
			}
			words, err := add.split(c, args)
			if err != nil {
				return err
			}
			m, err := add.manifest(words)
			if err != nil {
				return err
			}
			return a.addRelease(c, args[0], m)
		},
	}
	f := c.Flags()
	f.StringArrayVar(&add.images, "image", nil, "kubernetes: an image, or CONTAINER=IMAGE; may be given again")
	f.StringVar(&add.template, "manifest", "", "kubernetes: a file with a Deployment, instead of the stable release's")
	f.BoolVar(&add.unpinned, "unpinned", false, "kubernetes: even though no digest can be found for an image's tag")
	f.StringVar(&add.artifact, "artifact", "", "the program, where it takes no arguments and no command is given")
	f.StringArrayVarP(&add.env, "env", "e", nil, "a NAME=VALUE for its environment; may be given again")
	f.StringArrayVar(&add.envFiles, "env-file", nil, "a file of NAME=VALUE lines; --env wins over it")
	f.IntVar(&add.instances, "instances", 0, "how many copies run (default 1)")
	f.StringVar(&add.readyPath, "ready-path", "", "answers 2xx once an instance may have traffic (default "+rollout.DefaultReadyPath+")")
	optionalDuration(c, &add.ready, "ready-timeout", "how long a start may take (default "+rollout.DefaultReadyTimeout.String()+")")
	f.StringVar(&add.dir, "dir", "", "working directory (default the current one)")
	optionalDuration(c, &add.drain, "drain-timeout", "how long requests in flight may take to finish (default "+rollout.DefaultDrainTimeout.String()+")")
	optionalDuration(c, &add.stop, "stop-grace", "from SIGTERM to SIGKILL (default "+rollout.DefaultStopGrace.String()+")")
	return c
}

func (a *app) addRelease(c *cobra.Command, version string, m rollout.Manifest) error {
	if _, err := rollout.NewRelease(version, m, a.now(), ""); err != nil {
		return usage("release %s: %v", version, err)
	}
	port, err := a.connect(c.Context())
	if err != nil {
		return err
	}
	r, err := command[rollout.Release](c.Context(), a, port, console.AddRelease, console.AddReleaseRequest{Version: version, Manifest: m})
	if err != nil {
		return err
	}
	return a.showRelease(r)
}

// split finds the command that runs the release.
func (add *addition) split(c *cobra.Command, args []string) ([]string, error) {
	words := []string(nil)
	if at := c.ArgsLenAtDash(); at >= 0 {
		args, words = args[:at], args[at:]
	}
	switch {
	case len(args) != 1:
		e := usage("release add: name one version, and the command after --")
		e.Hint = "for example: covetctl release add v1.1.0 -- ./shop --quiet"
		return nil, e
	case len(words) > 0 && add.artifact != "":
		e := usage("release %s: give either --artifact or a command, not both", args[0])
		e.Hint = fmt.Sprintf("for arguments, put the program first: -- %s %s", quote(add.artifact), commandLine(words))
		return nil, e
	case len(words) == 0 && add.artifact == "":
		e := usage("release %s: no command to run was given", args[0])
		e.Hint = fmt.Sprintf("say it after --, for example: covetctl release add %s -- ./shop --quiet", args[0])
		return nil, e
	case len(words) == 0:
		return []string{add.artifact}, nil
	}
	return words, nil
}

func (add *addition) manifest(words []string) (rollout.Manifest, error) {
	m := rollout.Manifest{
		Instances: add.instances, ReadyPath: add.readyPath, ReadyTimeout: journal.Duration(add.ready),
		DrainTimeout: journal.Duration(add.drain), StopGrace: journal.Duration(add.stop),
	}
	var err error
	if m.Env, err = add.environment(); err != nil {
		return m, err
	}
	if m.Dir, err = workingDir(add.dir); err != nil {
		return m, err
	}
	program, err := findProgram(words[0], add.artifact != "")
	if err != nil {
		return m, err
	}
	m.Command = append([]string{program}, words[1:]...)
	m.Executable, err = fileDigest(program)
	return m, err
}

func (add *addition) environment() (map[string]string, error) {
	out := make(map[string]string)
	for _, name := range add.envFiles {
		f, err := os.Open(name)
		if err != nil {
			return nil, unreadable("--env-file", name, err)
		}
		more, err := readEnv(f)
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return nil, usage("--env-file %s: %v", name, err)
		}
		maps.Copy(out, more)
	}
	for _, s := range add.env {
		name, value, err := splitEnv(s)
		if err != nil {
			return nil, usage("--env: %v", err)
		}
		out[name] = value
	}
	return out, nil
}

func workingDir(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", unreadable("--dir", dir, err)
	}
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return "", unreadable("--dir", dir, err)
	case !info.IsDir():
		return "", usage("--dir %s is not a directory", dir)
	}
	return dir, nil
}

// findProgram finds the program's file as a shell would; an artifact is a file as it is named.
func findProgram(name string, artifact bool) (string, error) {
	if artifact && filepath.Base(name) == name {
		name = "." + string(filepath.Separator) + name
	}
	path, err := exec.LookPath(name)
	switch {
	case errors.Is(err, exec.ErrDot): // found in the current directory by way of PATH: the absolute path says which
	case errors.Is(err, exec.ErrNotFound):
		e := usage("there is no program %q in PATH", name)
		e.Hint = "name its file, for example ./" + name
		return "", e
	case errors.Is(err, fs.ErrPermission):
		e := usage("%s cannot be run: it is not executable", name)
		e.Hint = "chmod +x " + quote(name)
		return "", e
	case err != nil:
		return "", unreadable("the program", name, err)
	}
	path, err = filepath.Abs(path)
	if err != nil {
		return "", unreadable("the program", name, err)
	}
	return path, nil
}

// fileDigest is the SHA-256 of a file, hex.
func fileDigest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", unreadable("the program", path, err)
	}
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return "", unreadable("the program", path, err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func unreadable(what, name string, err error) error {
	return usage("%s %s: %v", what, name, unwrapPath(err))
}

// unwrapPath leaves out of an error the operation and the path, which the message around it names.
func unwrapPath(err error) error {
	var pe *fs.PathError
	var xe *exec.Error
	switch {
	case errors.As(err, &pe):
		return pe.Err
	case errors.As(err, &xe):
		return xe.Err
	}
	return err
}
