package kube

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/covetpy/covet/ops/rollout"
)

func rawPod(name, version string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: "shop", ResourceVersion: version, UID: "u-1", Labels: map[string]string{labelSlot: candidate, podHash: "6c9f"},
			Annotations: map[string]string{annVersion: "v1.1.0"}, OwnerReferences: []metav1.OwnerReference{{Kind: "ReplicaSet", Name: "web-6c9f"}},
		},
		Spec: corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{Name: "web", Image: "reg.local/web:v1.1.0"}}},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: "10.0.0.1", Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "web", Ready: true, RestartCount: 2, ImageID: "reg.local/web@sha256:1", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}},
		},
	}
}

func TestSlimPodKeepsWhatIsShownAndDecidedBy(t *testing.T) {
	t.Parallel()
	p := slimPod(&words{}, rawPod("web-6c9f-x", "7"))
	if !p.ready || p.owner != "web-6c9f" || slotOf(p) != candidate || p.hash != "6c9f" || p.named != "v1.1.0" || p.speaker != "web" || p.node != "node-1" {
		t.Errorf("kept %+v", p)
	}
	if i := p.instance("v1.1.0"); i.ID != "web-6c9f-x" || i.State != rollout.Ready || i.Restarts != 2 || i.Release != "v1.1.0" {
		t.Errorf("as an instance it is %+v", i)
	}
	v := p.in("v1.1.0", "web-covet", true)
	if v.Ready != 1 || len(v.Containers) != 1 || v.Containers[0].ImageID != "reg.local/web@sha256:1" || !v.Traffic || v.Phase != "Running" {
		t.Errorf("shown is %+v", v)
	}
	if p.in("v1.1.0", "web-covet", true) != v {
		t.Error("a pod that has not changed was made anew")
	}
	if other := p.in("v1.1.0", "web-covet", false); other == v || !v.Traffic || other.Traffic {
		t.Error("what was shown before has changed")
	}
}

func TestFailingContainerIsTheOneWithSomethingToTell(t *testing.T) {
	t.Parallel()
	raw := rawPod("web-1", "1")
	raw.Status.ContainerStatuses[0] = corev1.ContainerStatus{Name: "web", RestartCount: 3, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}},
		LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1}}}
	if name, previous, count := failing(slimPod(&words{}, raw)); name != "web" || !previous || count != 3 {
		t.Errorf("%s, previous %v, %d", name, previous, count)
	}
	raw.Status.ContainerStatuses[0] = corev1.ContainerStatus{Name: "web", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}}
	if name, _, _ := failing(slimPod(&words{}, raw)); name != "" {
		t.Errorf("%s was never made, and has nothing to tell", name)
	}
}

func podShelf(rings *int) *shelf[*pod] {
	s, w := newShelf[*pod]("pods", func() { *rings++ }), &words{}
	s.slim = func(o any) *pod { return slimPod(w, o.(*corev1.Pod)) }
	return s
}

func TestShelfListsByNameWhateverChanges(t *testing.T) {
	t.Parallel()
	rings := 0
	s := podShelf(&rings)
	if err := s.Replace([]any{rawPod("c", "1"), s.take(rawPod("a", "2"))}, "2"); err != nil {
		t.Fatal(err)
	}
	before := s.all()
	for _, p := range []*corev1.Pod{rawPod("b", "3"), rawPod("c", "4"), rawPod("a", "1")} { // the last is from before
		if err := s.Update(p); err != nil {
			t.Fatal(err)
		}
	}
	got := ""
	for _, p := range s.all() {
		got += fmt.Sprint(p.name, p.version, " ")
	}
	if got != "a2 b3 c4 " || rings != 3 {
		t.Errorf("listed %s after %d rings", got, rings)
	}
	if len(before) != 2 || before[1].version != "1" {
		t.Error("a list that was handed out has changed")
	}
	version := s.seen()
	if err := s.Delete(rawPod("nobody", "9")); err != nil || s.seen() != version || rings != 3 {
		t.Error("what was never there went")
	}
}

func TestShelfLetsTheOldestGo(t *testing.T) {
	t.Parallel()
	rings := 0
	s := podShelf(&rings)
	s.limit = 10
	for i := range 25 {
		if err := s.Add(rawPod(fmt.Sprintf("p%02d", i), fmt.Sprint(100+i))); err != nil {
			t.Fatal(err)
		}
	}
	all := s.all()
	if len(all) > 11 || all[len(all)-1].name != "p24" || all[0].name < "p13" {
		t.Errorf("%d are kept, from %s", len(all), all[0].name)
	}
}

func TestWhatNobodySeesRingsNoBell(t *testing.T) {
	t.Parallel()
	rings := 0
	s := newShelf[*node]("nodes", func() { rings++ })
	s.slim = func(o any) *node {
		n := o.(*corev1.Node)
		return &node{meta: meta{name: n.Name, version: n.ResourceVersion}, view: nodeView(n)}
	}
	s.alike = func(a, b *node) bool { return a.view.Cordoned == b.view.Cordoned }
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", ResourceVersion: "1"}}
	for i, beat := range []bool{false, false, true} {
		n = n.DeepCopy()
		n.ResourceVersion, n.Spec.Unschedulable = fmt.Sprint(i+1), beat
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, LastHeartbeatTime: metav1.NewTime(time.Unix(int64(i), 0))}}
		if err := s.Update(n); err != nil {
			t.Fatal(err)
		}
	}
	if rings != 2 {
		t.Errorf("%d rings for one node that came and was cordoned", rings)
	}
}

func TestEnvironmentIsCalledProductionByAnyOfItsNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ context, cluster, namespace, want string }{
		{"staging", "one", "shop", "staging"}, {"eu", "prod-eu", "shop", "eu/prod-eu"}, {"eu", "one", "shop-prod", "eu/shop-prod"}, {"prod", "prod-eu", "live", "prod"},
	} {
		if got := environment(c.context, c.cluster, c.namespace); got != c.want {
			t.Errorf("%v is called %s", c, got)
		}
	}
}
