package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/covetpy/covet/internal/kube"
	"github.com/covetpy/covet/ops/console"
)

const twoContexts = `
apiVersion: v1
kind: Config
current-context: staging
clusters:
- {name: one, cluster: {server: "https://127.0.0.1:1"}}
- {name: prod-eu, cluster: {server: "https://127.0.0.1:1"}}
users: [{name: ada, user: {token: x}}]
contexts:
- {name: staging, context: {cluster: one, user: ada, namespace: shop}}
- {name: staging-tools, context: {cluster: one, user: ada, namespace: tools}}
- {name: eu, context: {cluster: prod-eu, user: ada, namespace: shop}}
`

func kubeconfig(t *testing.T, text string) kube.Target {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return kube.Target{Kubeconfig: path}
}

// Nobody listens at either address, and the console must be able to leave all the same.
func TestDeadClusterCanBeLeft(t *testing.T) {
	t.Parallel()
	p := newLatePort(kubeconfig(t, twoContexts), func(ctx context.Context, to kube.Target) (console.Port, error) {
		return openCluster(ctx, to, true)
	})
	defer func() { _ = p.Close() }()
	began := time.Now()
	if _, err := p.reach(t.Context()); err == nil || time.Since(began) > 5*time.Second {
		t.Fatalf("a dead cluster: %v after %v", err, time.Since(began))
	}
	near, err := p.Nearby()
	if err != nil || near.Context != "staging" || near.Namespace != "shop" || !slices.Equal(near.Namespaces, []string{"shop", "tools"}) {
		t.Errorf("near are %+v, %v", near, err)
	}
	if at := slices.IndexFunc(near.Contexts, func(c console.TargetContext) bool { return c.Name == "eu" }); at < 0 || !near.Contexts[at].Production {
		t.Errorf("a context of a production cluster is not called that: %+v", near.Contexts)
	}
	began = time.Now()
	far, err := p.Targets(t.Context())
	if err != nil || len(far.Contexts) != 3 || !strings.Contains(far.Hidden, "connection refused") {
		t.Errorf("the cluster's own places: %+v, %v", far, err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("that nobody listens was said after %v", took)
	}
	next, err := p.Switch(t.Context(), console.TargetRef{Context: "eu"})
	if err != nil {
		t.Fatal(err)
	}
	if got := next.(*latePort).Where(); !strings.HasPrefix(got, "kubernetes:eu/") {
		t.Errorf("it went to %s", got)
	}
	if err := closePort(next); err != nil {
		t.Error(err)
	}
}

// What the current context is may change under an open console. It stays where it is.
func TestTargetStaysWhenTheCurrentContextChanges(t *testing.T) {
	t.Parallel()
	target := kubeconfig(t, twoContexts)
	p := newLatePort(target, func(context.Context, kube.Target) (console.Port, error) { return nil, errors.New("away") })
	if _, err := p.reach(t.Context()); err == nil {
		t.Fatal("it was reached")
	}
	changed := strings.Replace(twoContexts, "current-context: staging", "current-context: eu", 1)
	if err := os.WriteFile(target.Kubeconfig, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := p.Where(); got != "kubernetes:staging/shop/its service" {
		t.Errorf("it is at %s now", got)
	}
	next, err := p.Switch(t.Context(), console.TargetRef{Namespace: "other"})
	if err != nil {
		t.Fatal(err)
	}
	if got := next.(*latePort).Where(); got != "kubernetes:staging/other/its service" {
		t.Errorf("another namespace is at %s", got)
	}
}

// An attempt that hangs ends when the console is left.
func TestLeavingEndsTheAttempt(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	p := newLatePort(kubeconfig(t, twoContexts), func(ctx context.Context, _ kube.Target) (console.Port, error) {
		<-ctx.Done()
		close(ended)
		return nil, ctx.Err()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.reach(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a cluster that hangs: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("the attempt goes on")
	}
}

// The backups that the console knows are those of where it began: it must know when it is there again, with all that was said of it.
func TestSwitchingBackIsHome(t *testing.T) {
	t.Parallel()
	target := kubeconfig(t, twoContexts)
	target.Deployment, target.Service, target.Metrics = "shop", "front", "9090"
	var opened []kube.Target
	home := newLatePort(target, func(_ context.Context, to kube.Target) (console.Port, error) {
		opened = append(opened, to)
		return nil, errors.New("away")
	})
	goTo := func(from console.Port, to console.TargetRef) *latePort {
		next, err := from.(*latePort).Switch(t.Context(), to)
		if err != nil {
			t.Fatal(err)
		}
		return next.(*latePort)
	}
	away := goTo(home, console.TargetRef{Namespace: "tools"})
	further := goTo(away, console.TargetRef{Context: "eu"})
	if !home.AtHome() || away.AtHome() || further.AtHome() {
		t.Error("it does not know where it is")
	}
	if got := strings.Join(further.Flags()[2:], " "); got != "--context eu --namespace shop" {
		t.Errorf("the flags of another context are %q", got)
	}
	for _, back := range []*latePort{goTo(further, console.TargetRef{Context: "staging"}), goTo(away, console.TargetRef{Namespace: "shop"})} {
		if _, err := back.reach(t.Context()); err == nil || !back.AtHome() {
			t.Fatal("it is not back")
		}
		if got := opened[len(opened)-1]; got.Service != "front" || got.Metrics != "9090" || got.Deployment != "shop" {
			t.Errorf("back home it is %+v", got)
		}
	}
}
