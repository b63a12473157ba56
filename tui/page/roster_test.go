package page

import (
	"fmt"
	"strings"
	"testing"

	"github.com/covetpy/covet/ops/console"
)

func somePods() []*console.Pod {
	var out []*console.Pod
	for i := range 40 {
		p := &console.Pod{Name: fmt.Sprintf("shop-%02d", i), Phase: "Running", Ready: 1, Containers: []console.Container{{}}, Node: fmt.Sprintf("Node-%d", i%4)}
		if i%10 == 3 {
			p.Phase, p.Ready, p.Restarts = "CrashLoopBackOff", 0, i
		}
		out = append(out, p)
	}
	return out
}

func names(p *roster[console.Pod]) string {
	var out []string
	for _, pod := range p.rows {
		out = append(out, strings.TrimPrefix(pod.Name, "shop-"))
	}
	return strings.Join(out, " ")
}

func TestRosterPutsTroubleFirstAndTheRestAsItCame(t *testing.T) {
	t.Parallel()
	p := &roster[console.Pod]{kind: podKind()}
	p.arrange(1, somePods())
	if got := names(p); !strings.HasPrefix(got, "03 13 23 33 00 01 02 04") {
		t.Errorf("rows are %s", got)
	}
	p.key("s")
	p.arrange(1, somePods())
	if got := names(p); !strings.HasPrefix(got, "00 01 02 03") {
		t.Errorf("by name they are %s", got)
	}
}

// A filter that grows, shrinks and is taken away shows the same as one that was typed at once.
func TestRosterFilterIsTheSameHoweverItIsTyped(t *testing.T) {
	t.Parallel()
	all := somePods()
	p := &roster[console.Pod]{kind: podKind()}
	for _, typed := range []string{"", "n", "no", "node-3", "node", "crash", "", "shop-1"} {
		p.Filter(typed)
		p.arrange(1, all)
		fresh := &roster[console.Pod]{kind: podKind()}
		fresh.Filter(typed)
		fresh.arrange(1, all)
		if names(p) != names(fresh) || len(fresh.rows) == 0 {
			t.Errorf("after %q: %s, and at once %s", typed, names(p), names(fresh))
		}
	}
}

func TestRosterCursorStaysOnItsRow(t *testing.T) {
	t.Parallel()
	all := somePods()
	p := &roster[console.Pod]{kind: podKind()}
	p.arrange(1, all)
	p.key("j")
	at := p.current().Name
	changed := *all[39]
	changed.Phase, changed.Ready = "CrashLoopBackOff", 0
	all[0] = &changed
	p.arrange(2, all)
	if p.current().Name != at {
		t.Errorf("the cursor went from %s to %s", at, p.current().Name)
	}
}

func TestHoldsFindsWordsInAnyCase(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text, word string
		want       bool
	}{{"CrashLoopBackOff", "loopb", true}, {"shop-1", "shop-12", false}, {"Ärger", "ärg", true}, {"a", "a", true}, {"", "a", false}, {"[x", "{x", false}} {
		if got := holds(c.text, c.word); got != c.want {
			t.Errorf("holds(%q, %q) = %v", c.text, c.word, got)
		}
	}
}
