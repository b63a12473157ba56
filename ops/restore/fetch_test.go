package restore

import (
	"slices"
	"testing"
)

// What is spread is all there, once, and neighbours in time lie far from each other.
func TestSpread(t *testing.T) {
	t.Parallel()
	for n := range 40 {
		all := make([]int, n)
		for i := range all {
			all[i] = i
		}
		for lanes := 1; lanes < 7; lanes++ {
			got := spread(all, lanes)
			if sorted := slices.Sorted(slices.Values(got)); !slices.Equal(sorted, all) {
				t.Fatalf("%d in %d lanes: %v", n, lanes, got)
			}
		}
	}
	if got, want := spread([]int{0, 1, 2, 3, 4, 5, 6}, 3), []int{0, 3, 6, 1, 4, 2, 5}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
