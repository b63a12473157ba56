package workers

import "slices"

// candidate is what decides whether an instance goes when fewer are wanted.
type candidate struct {
	index int // in the caller's list
	state State
	born  uint64 // instances made later have higher numbers
}

// surplus returns the indexes of those to stop so that n stay: the ones that serve nobody first, then the newest.
func surplus(all []candidate, n int) []int {
	if len(all) <= n {
		return nil
	}
	order := slices.Clone(all)
	slices.SortFunc(order, func(a, b candidate) int {
		if d := usefulness(a.state) - usefulness(b.state); d != 0 {
			return d
		}
		return int(b.born) - int(a.born)
	})
	var leaving []int
	for _, c := range order[:len(all)-n] {
		leaving = append(leaving, c.index)
	}
	return leaving
}

func usefulness(s State) int {
	switch s {
	case StateReady:
		return 4
	case StateUnready:
		return 3
	case StateStarting:
		return 2
	case StateBackoff:
		return 1
	}
	return 0
}
