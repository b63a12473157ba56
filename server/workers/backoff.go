package workers

import "time"

// Backoff says how long a dying instance waits before it is started again: Min, doubled with each death up to Max, spread by
// a fifth either way so that instances that died together do not start together.
type Backoff struct {
	Min   time.Duration // default 200 ms
	Max   time.Duration // default 30 s
	Reset time.Duration // being ready this long forgets earlier deaths; default 60 s
}

func (b Backoff) withDefaults() Backoff {
	orDefault(&b.Min, 200*time.Millisecond)
	orDefault(&b.Max, 30*time.Second)
	orDefault(&b.Reset, time.Minute)
	return b
}

// next returns how many deaths count after one more, of a process that had been ready for so long.
func (b Backoff) next(deaths int, ready time.Duration) int {
	if ready >= b.Reset {
		return 1
	}
	return deaths + 1
}

// delay is the wait after so many deaths (1 or more); spread is a random number in [0,1).
func (b Backoff) delay(deaths int, spread float64) time.Duration {
	d := b.Max
	if shift := deaths - 1; shift < 30 && b.Min<<shift < b.Max {
		d = b.Min << shift
	}
	return min(b.Max, time.Duration(float64(d)*(0.8+0.4*spread)))
}
