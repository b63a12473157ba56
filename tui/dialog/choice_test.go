package dialog

import "testing"

func TestFuzzy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		query, better, worse string
	}{
		{"ab", "abort: back", "dashboard"}, {"rb", "roll back", "rollout abort"}, {"aud", "audit log", "a quiet land"},
	} {
		a, ok := Fuzzy(c.query, c.better)
		b, _ := Fuzzy(c.query, c.worse)
		if !ok || a <= b {
			t.Errorf("%q: %q has %d, %q has %d", c.query, c.better, a, c.worse, b)
		}
	}
	if _, ok := Fuzzy("xyz", "audit"); ok {
		t.Error("xyz is not in audit")
	}
	if _, ok := Fuzzy("", "anything"); !ok {
		t.Error("nothing is in everything")
	}
}
