package rollout

import "testing"

func TestTheLineThatSaysMostIsShown(t *testing.T) {
	t.Parallel()
	for want, lines := range map[string][]string{
		"":                                nil,
		"no database":                     {"starting", "no database", "  "},
		"panic: out of tea":               {"starting", "panic: out of tea", "", "goroutine 7 [running]:", "main.brew()", "\tshop.go:48 +0x191"},
		"ValueError: no such product":     {"Traceback (most recent call last):", `  File "shop.py", line 3`, "ValueError: no such product"},
		`Exception in thread "main" Oops`: {`Exception in thread "main" Oops`, "\tat Shop.main(Shop.java:5)"},
	} {
		if got := telling(lines); got != want {
			t.Errorf("telling(%q) = %q, want %q", lines, got, want)
		}
	}
}
