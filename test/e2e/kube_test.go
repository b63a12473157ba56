package e2e

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/covetpy/covet/ops/console"
	"github.com/covetpy/covet/ops/rollout"
	"github.com/covetpy/covet/test/kubetest"
)

const kubeDeployment = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"replicas":3,
"strategy":{"rollingUpdate":{"maxSurge":1,"maxUnavailable":0}},"selector":{"matchLabels":{"app":"web"}},
"template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"web","image":"reg.local/web:v1.0.0","ports":[{"containerPort":8080}]}]}}}}`

const kubeService = `{"apiVersion":"v1","kind":"Service","metadata":{"name":"web"},"spec":{"selector":{"app":"web"},"ports":[{"port":80,"targetPort":8080}]}}`

// site is a namespace of a real cluster with a service in it, as an engineer with a kubeconfig meets it.
type site struct {
	t          *testing.T
	cluster    *kubetest.Cluster
	namespace  string
	kubeconfig string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, cluster: kubetest.Shared(t)}
	s.namespace, s.kubeconfig = s.cluster.Namespace(t)
	s.post("/apis/apps/v1/namespaces/"+s.namespace+"/deployments", kubeDeployment)
	s.post("/api/v1/namespaces/"+s.namespace+"/services", kubeService)
	s.eventually("the service is ready", func() bool {
		d := s.get("/apis/apps/v1/namespaces/" + s.namespace + "/deployments/web")
		return strings.Contains(d, `"readyReplicas":3`)
	})
	return s
}

func (s *site) post(path, body string) {
	s.t.Helper()
	if _, err := s.cluster.Do(s.t.Context(), http.MethodPost, path, body); err != nil {
		s.t.Fatal(err)
	}
}

// get is what the API server says, or nothing.
func (s *site) get(path string) string {
	raw, err := s.cluster.Do(s.t.Context(), http.MethodGet, path, "")
	if err != nil {
		return ""
	}
	return string(raw)
}

func (s *site) eventually(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(90 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("waited 90 s, and still not: %s", what)
		}
	}
}

// command is covetctl on the service, with nothing but the kubeconfig.
func (s *site) command(args ...string) *exec.Cmd {
	c := exec.CommandContext(s.t.Context(), built.covetctl, append([]string{"--deployment", "web"}, args...)...)
	c.Env = []string{"KUBECONFIG=" + s.kubeconfig, "PATH=" + os.Getenv("PATH"), "HOME=" + s.t.TempDir()}
	return c
}

// ctl runs covetctl and returns what it said, and its exit status.
func (s *site) ctl(args ...string) (string, int) {
	s.t.Helper()
	var both bytes.Buffer
	c := s.command(args...)
	c.Stdout, c.Stderr = &both, &both
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatalf("covetctl %v: %v", args, err)
	}
	return both.String(), c.ProcessState.ExitCode()
}

// must runs covetctl, which must succeed.
func (s *site) must(args ...string) string {
	s.t.Helper()
	out, code := s.ctl(args...)
	if code != 0 {
		s.t.Fatalf("covetctl %v: %d\n%s", args, code, out)
	}
	return out
}

func (s *site) status() console.Status {
	s.t.Helper()
	c := s.command("status", "-o", "json")
	out, err := c.Output()
	var st console.Status
	if err == nil {
		err = json.Unmarshal(out, &st)
	}
	if err != nil {
		s.t.Fatalf("covetctl status: %v", err)
	}
	return st
}

func (s *site) timeline(id string) console.Timeline {
	s.t.Helper()
	out, err := s.command("rollout", "status", id, "-o", "json").Output()
	var tl console.Timeline
	if err == nil {
		err = json.Unmarshal(out, &tl)
	}
	if err != nil {
		s.t.Fatalf("covetctl rollout status: %v", err)
	}
	return tl
}

// once checks that every step was done once, and none twice.
func (s *site) once(tl console.Timeline) {
	s.t.Helper()
	var shifted, ended int
	for _, e := range tl.Events {
		switch e.Kind {
		case rollout.RolloutShifted:
			shifted++
		case rollout.RolloutEnded:
			ended++
		}
	}
	if shifted != len(tl.Rollout.Steps) || ended != 1 {
		s.t.Errorf("of %d steps %d moved the traffic, and it ended %d times", len(tl.Rollout.Steps), shifted, ended)
	}
}

// killsWanted is how many drivers are killed: a few in every run, as many as COVET_KILLS says in a long one.
func killsWanted(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(cmp.Or(os.Getenv("COVET_KILLS"), "10"))
	if err != nil {
		t.Fatalf("COVET_KILLS: %v", err)
	}
	return n
}

// slowly are the flags of a rollout that gives a killer time.
var slowly = []string{"--weights", "10,20,30,40,50,60,70,80,90,100", "--bake", "400ms", "--keep", "0s"}

// driver is a program that carries out the rollout: the covetctl that begins it, one that takes it over, or a controller.
func (s *site) driver(st console.Status) *exec.Cmd {
	switch {
	case st.Rollout == nil:
		to := "v1.1.0"
		if st.Stable == to {
			to = "v1.0.0"
		}
		return s.command(append([]string{"rollout", "start", to}, slowly...)...)
	case rand.IntN(2) == 0:
		return s.command("rollout", "resume", "--watch")
	}
	c := exec.CommandContext(s.t.Context(), built.covetd, "controller", "--kubeconfig", s.kubeconfig, "--namespace", s.namespace, "--metrics-listen", "127.0.0.1:0")
	c.Env = s.command().Env
	return c
}

// Drivers of both kinds are killed again and again in the middle of what they carry out, as by a laptop whose battery is empty. Each
// time the traffic stays, and the next one goes on: no step is done twice, none is left out.
func TestKubernetesDriversKilledAgainAndAgain(t *testing.T) {
	s := newSite(t)
	s.must("release", "add", "v1.1.0", "--image", "reg.local/web:v1.1.0", "--unpinned")
	kills, rollouts, want := 0, 0, killsWanted(t)
	st := s.status()
	for began := time.Now(); kills < want || st.Rollout != nil; {
		if time.Since(began) > time.Duration(want+10)*15*time.Second {
			t.Fatalf("it does not get on: %d kills, %+v", kills, st.Rollout)
		}
		run := s.driver(st)
		longest := 2300
		if st.Rollout == nil || st.Rollout.Phase == rollout.Settling {
			longest = 12_000 // a Deployment must have been without traffic for five seconds before one and the same driver removes it
		}
		if s.runUntilKilled(run, 200*time.Millisecond+time.Duration(rand.IntN(longest))*time.Millisecond) {
			kills++
		}
		before := st.Rollout
		st = s.status()
		if n := st.Weights["v1.0.0"] + st.Weights["v1.1.0"]; n != 100 {
			t.Fatalf("after kill %d the weights are %v", kills, st.Weights)
		}
		if before != nil && (st.Rollout == nil || st.Rollout.ID != before.ID) {
			rollouts++
			tl := s.timeline(before.ID)
			if tl.Rollout.Phase != rollout.Succeeded {
				t.Fatalf("%s ended as %s: %s", before.ID, tl.Rollout.Phase, tl.Rollout.Message)
			}
			s.once(tl)
		}
	}
	t.Logf("%d drivers were killed over %d rollouts", kills, rollouts)
	s.must("rollout", "resume") // puts in order what the last one left
	if svc := s.get("/api/v1/namespaces/" + s.namespace + "/services/web"); strings.Contains(svc, "covet.dev/") {
		t.Errorf("the Service is left as %s", svc)
	}
	if s.get("/apis/apps/v1/namespaces/"+s.namespace+"/deployments/web-covet") != "" {
		t.Error("the second Deployment is still there")
	}
}

// runUntilKilled runs a program, and kills it after a while unless it has ended by itself.
func (s *site) runUntilKilled(run *exec.Cmd, after time.Duration) (killed bool) {
	s.t.Helper()
	if err := run.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- run.Wait() }()
	select {
	case <-ended:
		return false
	case <-time.After(after):
	}
	err := run.Process.Kill()
	<-ended
	return err == nil
}

// Going back takes no time, from nothing running at all.
func TestKubernetesRollbackIsQuick(t *testing.T) {
	s := newSite(t)
	s.must("release", "add", "v1.1.0", "--image", "reg.local/web:v1.1.0", "--unpinned")
	s.must("rollout", "start", "v1.1.0", "--strategy", "blue-green", "--bake", "0s", "--keep", "10m")
	if svc := s.get("/api/v1/namespaces/" + s.namespace + "/services/web"); !strings.Contains(svc, `"covet.dev/slot":"candidate"`) {
		t.Fatalf("the candidate has not the traffic: %s", svc)
	}
	s.rollsBackQuickly(t, func() bool {
		return strings.Contains(s.get("/api/v1/namespaces/"+s.namespace+"/services/web"), `"covet.dev/slot":"candidate"`)
	})
}

// rollsBackQuickly rolls back from the command line, and tells how long the bad release went on serving.
func (s *site) rollsBackQuickly(t *testing.T, badServes func() bool) {
	t.Helper()
	run := s.command("rollback", "--reason", "checkout answers 500")
	began := time.Now()
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	for badServes() {
		if time.Since(began) > 20*time.Second {
			t.Fatal("the traffic did not go back")
		}
	}
	took := time.Since(began)
	t.Logf("from the command to the old release's traffic: %s", took)
	if took > 5*time.Second { // under one second on a quiet machine
		t.Errorf("it took %s", took)
	}
	if err := run.Wait(); err != nil {
		t.Error(err)
	}
}

// The controller has what it needs, and no more; of two one drives, and the other takes over when it is killed.
func TestKubernetesControllersTakeOver(t *testing.T) {
	s := newSite(t)
	s.must("release", "add", "v1.1.0", "--image", "reg.local/web:v1.1.0", "--unpinned")
	account := s.asController()
	var running []*exec.Cmd
	for range 2 {
		c := exec.CommandContext(t.Context(), built.covetd, "controller", "--kubeconfig", account, "--namespace", s.namespace, "--metrics-listen", "127.0.0.1:0")
		var log bytes.Buffer
		c.Stderr = &log
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		running = append(running, c)
		t.Cleanup(func() {
			_ = c.Process.Kill() // it may be dead
			_ = c.Wait()
			if t.Failed() {
				t.Logf("a controller said:\n%s", log.String())
			}
		})
	}
	holder := func() string {
		var l struct {
			Spec struct{ HolderIdentity string }
		}
		if json.Unmarshal([]byte(s.get("/apis/coordination.k8s.io/v1/namespaces/"+s.namespace+"/leases/covet-web-driver")), &l) != nil {
			return ""
		}
		return l.Spec.HolderIdentity
	}
	s.eventually("a controller drives", func() bool { return strings.HasPrefix(holder(), "controller ") })
	out := s.must("rollout", "start", "v1.1.0", "--weights", "20,40,60,80,100", "--bake", "2s", "--keep", "0s")
	if !strings.Contains(out, "carries it out; covetctl only watches") {
		t.Errorf("covetctl said %s", out)
	}
	s.eventually("it is under way", func() bool { r := s.status().Rollout; return r != nil && r.Step >= 1 })
	for _, c := range running {
		if strings.HasSuffix(holder(), fmt.Sprint(" ", c.Process.Pid)) {
			if err := c.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	s.must("rollout", "watch")
	s.once(s.timeline("r-1"))
	s.eventually("everything is put in order", func() bool {
		return s.get("/apis/apps/v1/namespaces/"+s.namespace+"/deployments/web-covet") == "" &&
			!strings.Contains(s.get("/api/v1/namespaces/"+s.namespace+"/services/web"), "covet.dev/slot")
	})
}

// asController is a kubeconfig of the ServiceAccount that deploy/kubernetes/controller-rbac.yaml makes.
func (s *site) asController() string {
	s.t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "deploy", "kubernetes", "controller-rbac.yaml"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, doc := range strings.Split(string(raw), "\n---\n") {
		body, err := yaml.YAMLToJSON([]byte(doc))
		if err != nil {
			s.t.Fatal(err)
		}
		var o struct {
			Kind     string
			Subjects []struct{ Kind string }
		}
		if err := json.Unmarshal(body, &o); err != nil {
			s.t.Fatal(err)
		}
		path := map[string]string{"ServiceAccount": "/api/v1/namespaces/%s/serviceaccounts", "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/%s/roles",
			"RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/%s/rolebindings"}[o.Kind]
		text := strings.Replace(string(body), `"kind":"ServiceAccount","name":"covet-controller"}`, `"kind":"ServiceAccount","name":"covet-controller","namespace":"`+s.namespace+`"}`, 1)
		s.post(fmt.Sprintf(path, s.namespace), text)
	}
	return s.actingAs("system:serviceaccount:" + s.namespace + ":covet-controller")
}

// actingAs is the administrator's kubeconfig, who acts as somebody else.
func (s *site) actingAs(who string) string {
	s.t.Helper()
	raw, err := os.ReadFile(s.kubeconfig)
	if err != nil {
		s.t.Fatal(err)
	}
	var cfg map[string]any
	if err := yaml.Unmarshal(raw, &cfg); err != nil {
		s.t.Fatal(err)
	}
	for _, u := range cfg["users"].([]any) {
		u.(map[string]any)["user"].(map[string]any)["as"] = who
	}
	if raw, err = yaml.Marshal(cfg); err != nil {
		s.t.Fatal(err)
	}
	path := filepath.Join(s.t.TempDir(), "kubeconfig")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// Whoever may not is told what they lack, before anything is touched.
func TestKubernetesPlanListsWhatIsNotPermitted(t *testing.T) {
	s := newSite(t)
	s.must("release", "add", "v1.1.0", "--image", "reg.local/web:v1.1.0", "--unpinned")
	s.post("/apis/rbac.authorization.k8s.io/v1/namespaces/"+s.namespace+"/roles", `{"metadata":{"name":"reader"},"rules":[{"apiGroups":["","apps","discovery.k8s.io","coordination.k8s.io","autoscaling","gateway.networking.k8s.io","networking.istio.io","policy"],"resources":["*"],"verbs":["get","list","watch"]}]}`)
	s.post("/apis/rbac.authorization.k8s.io/v1/namespaces/"+s.namespace+"/rolebindings", `{"metadata":{"name":"reader"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"reader"},"subjects":[{"kind":"User","name":"eve","apiGroup":"rbac.authorization.k8s.io"}]}`)
	s.kubeconfig = s.actingAs("eve")
	if out := s.must("status"); !strings.Contains(out, "v1.0.0") {
		t.Errorf("a reader sees %s", out)
	}
	out, code := s.ctl("rollout", "start", "v1.1.0")
	if code == 0 || !strings.Contains(out, "you may not patch services") || !strings.Contains(out, "you may not create deployments.apps") {
		t.Errorf("%d: %s", code, out)
	}
	if out := s.must("rollout", "plan", "v1.1.0"); !strings.Contains(out, "it cannot begin: you may not patch deployments.apps") {
		t.Errorf("the plan is %s", out)
	}
	if s.get("/apis/apps/v1/namespaces/"+s.namespace+"/deployments/web-covet") != "" {
		t.Error("something was made")
	}
}

// The API server is killed and started again in the middle of a rollout.
func TestKubernetesAPIServerRestarted(t *testing.T) {
	s := newSite(t)
	s.must("release", "add", "v1.1.0", "--image", "reg.local/web:v1.1.0", "--unpinned")
	run := s.command("rollout", "start", "v1.1.0", "--weights", "30,60,100", "--bake", "3s", "--keep", "0s")
	var out bytes.Buffer
	run.Stdout, run.Stderr = &out, &out
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	s.eventually("it is under way", func() bool { r := s.status().Rollout; return r != nil && r.Weight > 0 })
	for _, verb := range []string{"kill", "start"} {
		if err := s.cluster.Tell(verb, "kube-apiserver"); err != nil {
			t.Fatal(err)
		}
	}
	s.cluster.WaitReady(t)
	if err := run.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	s.once(s.timeline("r-1"))
}

// The laptop that drove is dead, and its lease is fresh: going back does not wait for it.
func TestKubernetesRollbackPastADeadDriver(t *testing.T) {
	for _, c := range []struct {
		name  string
		flags []string
	}{
		{"canary", []string{"--strategy", "canary", "--weights", "34,100", "--bake", "10m"}},
		{"blue-green", []string{"--strategy", "blue-green", "--bake", "5s"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			s.must("release", "add", "v1.1.0", "--image", "reg.local/web:v1.1.0", "--unpinned")
			drives := s.command(append([]string{"rollout", "start", "v1.1.0"}, c.flags...)...)
			if err := drives.Start(); err != nil {
				t.Fatal(err)
			}
			s.eventually("traffic has moved", func() bool {
				r := s.status().Rollout
				return r != nil && r.Phase == rollout.Baking && r.Weight > 0
			})
			_ = drives.Process.Kill() // it may have ended
			_ = drives.Wait()
			s.heldElsewhere()
			s.rollsBackQuickly(t, s.candidateServes)
		})
	}
}

// heldElsewhere makes the lease one of a machine that nobody can ask, renewed just now.
func (s *site) heldElsewhere() {
	s.t.Helper()
	body := fmt.Sprintf(`{"spec":{"holderIdentity":"covetctl laptop 4711","renewTime":%q}}`, time.Now().UTC().Format("2006-01-02T15:04:05.000000Z07:00"))
	if _, err := s.cluster.DoAs(s.t.Context(), "application/merge-patch+json", http.MethodPatch, "/apis/coordination.k8s.io/v1/namespaces/"+s.namespace+"/leases/covet-web-driver", body); err != nil {
		s.t.Fatal(err)
	}
}

// candidateServes reports whether the Service's selector lets the candidate have traffic.
func (s *site) candidateServes() bool {
	svc := s.get("/api/v1/namespaces/" + s.namespace + "/services/web")
	return !strings.Contains(svc, `"covet.dev/slot":"primary"`) && strings.Contains(svc, "covet.dev/traffic") || strings.Contains(svc, `"covet.dev/slot":"candidate"`)
}
