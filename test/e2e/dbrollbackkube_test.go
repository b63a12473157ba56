package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// kubeBookshop is the bookshop on a cluster. Who begins the database rollback and who goes on with it are people whose homes
// have nothing in common: what they share is the cluster, and the machine of the database.
type kubeBookshop struct {
	*bookshop
	site   *site
	people int
}

func newKubeBookshop(t *testing.T) *kubeBookshop {
	t.Helper()
	k := &kubeBookshop{bookshop: newBook(t, "file"), site: newSite(t)}
	k.place = newPlace(t)
	k.alive, k.fits = true, func() bool { return fmt.Sprint(k.running()) == "map[v1.0.0:3]" }
	k.where = []string{"--platform", "kubernetes", "--namespace", k.site.namespace, "--deployment", "web"}
	k.site.post("/apis/policy/v1/namespaces/"+k.site.namespace+"/poddisruptionbudgets", `{"metadata":{"name":"web"},"spec":{"minAvailable":2,"selector":{"matchLabels":{"app":"web"}}}}`)
	k.site.post("/apis/autoscaling/v2/namespaces/"+k.site.namespace+"/horizontalpodautoscalers", `{"metadata":{"name":"web"},"spec":{"minReplicas":3,"maxReplicas":6,"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"web"}}}`)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%v\n%v", k.say("status"), k.say("audit"))
		}
	})
	k.site.must("release", "add", "v1.1.0", "--image", "reg.local/web:v1.1.0", "--unpinned")
	k.forward()
	k.another()
	return k
}

func (k *kubeBookshop) forward() {
	k.t.Helper()
	k.write()
	k.site.must("rollout", "start", "v1.1.0", "--strategy", "rolling", "--bake", "0s", "--keep", "0s", "--force")
}

// another person sits down.
func (k *kubeBookshop) another() {
	k.people++
	home := filepath.Join(k.dir, fmt.Sprint("home", k.people))
	k.repo = append(slices.DeleteFunc(k.repo, func(kv string) bool {
		return strings.HasPrefix(kv, "COVET_DATA_DIR=") || strings.HasPrefix(kv, "XDG_STATE_HOME=") || strings.HasPrefix(kv, "KUBECONFIG=")
	}), "XDG_STATE_HOME="+home, "KUBECONFIG="+k.site.kubeconfig)
}

// running counts the pods that aren't ending, by release.
func (k *kubeBookshop) running() map[string]int {
	var list struct {
		Items []struct {
			Metadata struct{ DeletionTimestamp *time.Time }
			Spec     struct{ Containers []struct{ Image string } }
			Status   struct{ Phase string }
		}
	}
	if json.Unmarshal([]byte(k.site.get("/api/v1/namespaces/"+k.site.namespace+"/pods?labelSelector=app%3Dweb")), &list) != nil {
		return nil
	}
	out := map[string]int{}
	for _, p := range list.Items {
		if p.Metadata.DeletionTimestamp == nil {
			image, _, _ := strings.Cut(p.Spec.Containers[0].Image, "@")
			_, tag, _ := strings.Cut(image, ":")
			out[tag]++
		}
	}
	return out
}

// guard looks all the time that nothing runs while the database is neither old nor new, and nothing new once it is old.
func (k *kubeBookshop) guard(ctx context.Context) {
	for ctx.Err() == nil {
		time.Sleep(50 * time.Millisecond)
		before := k.record()
		pods := k.running()
		after := k.record()
		if before == nil || after == nil || before.ID != after.ID {
			continue
		}
		at, then := slices.Index(steps, before.Current().Name), before.Current().Name
		k.mu.Lock()
		switch {
		case at > 0 && at < len(steps)-1 && len(pods) > 0 && then == after.Current().Name:
			k.mixed = append(k.mixed, fmt.Sprintf("at %s there were %v", then, pods))
		case at == len(steps)-1 && pods["v1.1.0"] > 0:
			k.mixed = append(k.mixed, fmt.Sprintf("at %s there were %v", then, pods))
		}
		k.mu.Unlock()
	}
}

// The one command on Kubernetes is killed with -9 in each of its steps and at random moments; each time another person goes on
// with it, from what the cluster knows.
func TestKubernetesDatabaseRollbackKilledEverywhere(t *testing.T) {
	k := newKubeBookshop(t)
	plan := k.say(k.rollback("--plan")...)
	if plan.code != 0 || !plan.says("scaled from 3 to 0", "HorizontalPodAutoscaler web", "PodDisruptionBudget web", "TRAFFIC STOPS HERE", "loses") {
		t.Errorf("the plan: %v", plan)
	}
	ctx, stop := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() { k.guard(ctx) })
	k.next = k.another
	k.killedInEachStep()
	k.forward()
	k.killedAtRandom()
	stop()
	watching.Wait()
	if len(k.mixed) > 0 {
		t.Errorf("%d times something ran that must not: %v", len(k.mixed), k.mixed[:min(len(k.mixed), 5)])
	}
	if d := k.site.get("/apis/apps/v1/namespaces/" + k.site.namespace + "/deployments/web"); strings.Contains(d, "replicas-when-stopped") || !strings.Contains(d, `"replicas":3`) {
		t.Errorf("the Deployment is left as %s", d)
	}
}
