package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Roles are given out by a ConfigMap, to the groups that the API server knows.
func TestKubernetesRoles(t *testing.T) {
	s := newSite(t)
	s.must("release", "add", "v1.1.0", "--image", "reg.local/web:v1.1.0", "--unpinned")
	s.must("rollout", "start", "v1.1.0", "--strategy", "rolling", "--bake", "0s")
	s.must("incident", "open", "--severity", "P1", "--reason", "checkout answers 500")
	s.post("/api/v1/namespaces/"+s.namespace+"/configmaps", `{"metadata":{"name":"covet-roles"},"data":{"engineer":"system:authenticated","on-call-lead":"oncall"}}`)
	out, code := s.ctl("rollback")
	if code != 1 || !strings.Contains(out, "on-call-lead (oncall)") || !strings.Contains(out, "--break-glass") {
		t.Fatalf("%d: %s", code, out)
	}
	if out := s.must("config", "check"); !strings.Contains(out, "engineer") {
		t.Errorf("config check says %s", out)
	}
	s.must("rollback", "--break-glass", "--reason", "the lead sleeps")
	if out := s.must("audit"); !strings.Contains(out, "BREAK GLASS") {
		t.Errorf("the audit log says %s", out)
	}
}

// Old releases go, with what only they are configured by; what a rollback may need stays.
func TestKubernetesPrune(t *testing.T) {
	s := newSite(t)
	for _, v := range []string{"v1.1.0", "v1.2.0", "v1.3.0", "v1.4.0"} {
		s.must("release", "add", v, "--image", "reg.local/web:"+v, "--unpinned")
	}
	s.must("rollout", "start", "v1.1.0", "--strategy", "rolling", "--bake", "0s")
	if out := s.must("release", "prune", "--keep", "1", "--plan"); !strings.Contains(out, "forget release v1.2.0") || strings.Contains(out, "forget release v1.0.0") {
		t.Errorf("the plan is %s", out)
	}
	if out, code := s.ctl("release", "prune", "--keep", "1"); code != 2 {
		t.Errorf("without --yes: %d, %s", code, out)
	}
	s.must("release", "prune", "--keep", "1", "--yes")
	if out := s.must("release", "list", "-q"); strings.Join(strings.Fields(out), " ") != "v1.4.0 v1.1.0 v1.0.0" {
		t.Errorf("left are %s", out)
	}
	s.must("rollback", "--to", "v1.0.0")
}

// covetctl.yaml names services, so that nobody has to type where they are.
func TestKubernetesServiceByItsName(t *testing.T) {
	s := newSite(t)
	file := filepath.Join(t.TempDir(), "covetctl.yaml")
	ask := func(text string, args ...string) (string, int) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var both bytes.Buffer
		c := exec.CommandContext(t.Context(), built.covetctl, args...)
		c.Env = []string{"COVETCTL_CONFIG=" + file, "PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
		c.Stdout, c.Stderr = &both, &both
		_ = c.Run() // the exit status tells
		return both.String(), c.ProcessState.ExitCode()
	}
	sound := fmt.Sprintf("use: shop\nservices:\n  shop: {platform: kubernetes, kubeconfig: %q, namespace: %s, deployment: web, environment: staging}\n", s.kubeconfig, s.namespace)
	for _, args := range [][]string{{"status"}, {"status", "--target", "shop"}} {
		if out, code := ask(sound, args...); code != 0 || !strings.Contains(out, "v1.0.0") {
			t.Errorf("%v: %d, %s", args, code, out)
		}
	}
	if out, code := ask(sound, "status", "--target", "shpo"); code != 2 || !strings.Contains(out, `there is no service "shpo"`) {
		t.Errorf("%d, %s", code, out)
	}
	if out, code := ask("services: {shop: {namespce: x}}", "status"); code != 2 || !strings.Contains(out, "namespce") {
		t.Errorf("%d, %s", code, out)
	}
	if out, code := ask(strings.Replace(sound, "environment: staging", "router: carrier-pigeon", 1), "status"); code != 2 || !strings.Contains(out, "carrier-pigeon") {
		t.Errorf("%d, %s", code, out)
	}
}
