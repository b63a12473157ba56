package kubetest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	tags    = "selinux,notest,grpcnotrace"
	ldflags = "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3 -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36"
)

// Build returns the program covet-kube, built if this machine has none of these sources yet: some ten minutes of two cores and
// 700 MB of modules the first time, and nothing after it. It is kept in the user's cache, by the hash of what it is made of, so
// that every clone on a machine shares it; $COVET_KUBE names one that is already there. What it waits for it says to say.
func Build(ctx context.Context, say io.Writer) (string, error) {
	if given := os.Getenv("COVET_KUBE"); given != "" {
		_, err := os.Stat(given)
		return given, err
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	dir, err := place(root)
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "covet-kube")
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(dir + ".lock") // packages are tested at the same time: one builds, the others wait
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	_, _ = fmt.Fprintf(say, "building the Kubernetes test cluster into %s: once, about ten minutes on two cores\n", dir)
	began := time.Now()
	if err := build(ctx, filepath.Join(root, "test", "kube"), dir, program); err != nil {
		return "", fmt.Errorf("build the Kubernetes test cluster: %w", err)
	}
	_, _ = fmt.Fprintf(say, "built the Kubernetes test cluster in %s\n", time.Since(began).Round(time.Second))
	return program, nil
}

// place is the folder of what these sources make.
func place(root string) (string, error) {
	kube := filepath.Join(root, "test", "kube")
	files, err := filepath.Glob(filepath.Join(kube, "*.go"))
	if err != nil {
		return "", err
	}
	files = append(files, filepath.Join(kube, "go.sum"), filepath.Join(kube, "crds", "go.sum"))
	slices.Sort(files)
	h := sha256.New()
	_, _ = fmt.Fprintln(h, runtime.Version(), tags, ldflags)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		_, _ = fmt.Fprintln(h, filepath.Base(f), len(b))
		h.Write(b)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = filepath.Join(root, ".cache")
	}
	return filepath.Join(cache, "covet", "kube-"+hex.EncodeToString(h.Sum(nil)[:6])), nil
}

func build(ctx context.Context, kube, dir, program string) error {
	if err := definitions(ctx, filepath.Join(kube, "crds"), filepath.Join(dir, "crds")); err != nil {
		return err
	}
	if _, err := goTool(ctx, kube, "build", "-tags", tags, "-ldflags", ldflags, "-o", program+".new", "."); err != nil {
		return err
	}
	return os.Rename(program+".new", program)
}

// definitions copies the custom resource definitions of the modules that pins pins.
func definitions(ctx context.Context, pins, to string) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for module, files := range map[string]string{
		"istio.io/api": "kubernetes/customresourcedefinitions.gen.yaml", "sigs.k8s.io/gateway-api": "config/crd/standard/*.yaml",
	} {
		out, err := goTool(ctx, pins, "mod", "download", "-json", module)
		if err != nil {
			return err
		}
		var m struct{ Dir string }
		if err := json.Unmarshal(out, &m); err != nil {
			return fmt.Errorf("go mod download %s: %w", module, err)
		}
		found, err := filepath.Glob(filepath.Join(m.Dir, files))
		if err != nil || len(found) == 0 {
			return errors.Join(fmt.Errorf("%s has no %s", m.Dir, files), err)
		}
		for _, f := range found {
			b, err := os.ReadFile(f)
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(to, filepath.Base(f)), b, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

func goTool(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	var stderr strings.Builder
	cmd.Dir, cmd.Stderr = dir, &stderr
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s in %s: %w\n%s", strings.Join(args, " "), dir, err, stderr.String())
	}
	return out, nil
}

func lock(name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// moduleRoot is the folder of the project, in or above the current one.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "test", "kube", "go.mod")); err == nil {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("test/kube/go.mod is in no folder above %s", dir)
		}
	}
}
