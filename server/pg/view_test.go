package pg

import (
	"slices"
	"testing"
	"time"
)

func TestWhoIsThePrimary(t *testing.T) {
	p := func(timeline uint32) sighting { return sighting{role: Primary, timeline: timeline} }
	away, replica := sighting{role: Away}, sighting{role: Replica}
	for name, rounds := range map[string]struct {
		seen    [][]sighting
		roles   []Role
		primary int
	}{
		"a primary and its replica":           {[][]sighting{{p(1), replica}}, []Role{Primary, Replica}, 0},
		"the primary is away":                 {[][]sighting{{p(1), replica}, {away, replica}}, []Role{Away, Replica}, -1},
		"the replica was promoted":            {[][]sighting{{p(1), replica}, {away, replica}, {away, p(2)}}, []Role{Away, Primary}, 1},
		"the old primary comes back":          {[][]sighting{{away, p(2)}, {p(1), p(2)}}, []Role{Retired, Primary}, 1},
		"and the new one goes":                {[][]sighting{{p(1), p(2)}, {p(1), away}}, []Role{Retired, Away}, -1},
		"the old one follows the new one":     {[][]sighting{{p(1), p(2)}, {replica, p(2)}}, []Role{Replica, Primary}, 1},
		"a new cluster at the same addresses": {[][]sighting{{away, p(7)}, {replica, p(1)}}, []Role{Replica, Primary}, 1},
		"two on one timeline: the known one":  {[][]sighting{{away, p(1)}, {p(1), p(1)}}, []Role{Retired, Primary}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			v := view{primary: -1}
			for _, seen := range rounds.seen {
				v = v.next(seen)
			}
			if !slices.Equal(v.roles, rounds.roles) || v.primary != rounds.primary {
				t.Errorf("roles %v, primary %d; want %v, %d", v.roles, v.primary, rounds.roles, rounds.primary)
			}
		})
	}
}

func TestWhoMayBeRead(t *testing.T) {
	start := time.Now()
	v := view{primary: -1}
	for i := range 60 { // a second each; the second replica stands still from the 30th on
		at := start.Add(time.Duration(i) * time.Second)
		v = v.next([]sighting{
			{role: Primary, timeline: 1, lsn: LSN(100 * (i + 1)), at: at},
			{role: Replica, lsn: LSN(100 * (i + 1))},
			{role: Replica, lsn: LSN(100 * (min(i, 29) + 1))},
		})
	}
	now := start.Add(60 * time.Second)
	if lag := v.lag(2, now); lag != 30*time.Second {
		t.Errorf("the replica that stands still is %v behind, want 30s", lag)
	}
	for name, c := range map[string]struct {
		need   LSN
		maxLag time.Duration
		turn   uint64
		want   []int
	}{
		"nothing written, both near enough": {0, time.Minute, 0, []int{1, 2, 0}},
		"the next read turns":               {0, time.Minute, 1, []int{2, 1, 0}},
		"one is too far behind":             {0, 10 * time.Second, 1, []int{1, 0}},
		"written what only one has":         {5000, time.Minute, 1, []int{1, 0}},
		"written what no replica has":       {6001, time.Minute, 0, []int{0}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := v.readers(c.need, c.maxLag, c.turn, now); !slices.Equal(got, c.want) {
				t.Errorf("readers %v, want %v", got, c.want)
			}
		})
	}
	alone := v.next([]sighting{{role: Away}, {role: Replica, lsn: 6000}, {role: Replica, lsn: 3000}})
	if got := alone.readers(3000, time.Second, 0, now); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("with the primary away readers are %v, want both replicas", got)
	}
	if got := alone.readers(6001, time.Second, 0, now); len(got) != 0 {
		t.Errorf("with the primary away who has written what no replica has is given %v", got)
	}
}

func FuzzParseLSN(f *testing.F) {
	for _, s := range []string{"0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF", "1/", "/1", "x/y", "100000000/0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		at, err := ParseLSN(s)
		if err != nil {
			return
		}
		if again, err := ParseLSN(at.String()); err != nil || again != at {
			t.Errorf("%q is %v, which reads back as %v, %v", s, at, again, err)
		}
	})
}
