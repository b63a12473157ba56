// Package storetest holds what every backup.Store must do, as tests that each adapter runs against the real thing.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/covetpy/covet/ops/backup"
)

// Run tests the store that open returns. Each call of open must return an empty one.
func Run(t *testing.T, open func(t *testing.T) backup.Store) {
	t.Run("what was put comes back", func(t *testing.T) { roundTrip(t, open(t)) })
	t.Run("a range", func(t *testing.T) { ranges(t, open(t)) })
	t.Run("an unknown key", func(t *testing.T) { missing(t, open(t)) })
	t.Run("if absent", func(t *testing.T) { ifAbsent(t, open(t)) })
	t.Run("one of many racers wins", func(t *testing.T) { race(t, open(t)) })
	t.Run("a broken reader leaves nothing", func(t *testing.T) { brokenReader(t, open(t)) })
	t.Run("list", func(t *testing.T) { list(t, open(t)) })
	t.Run("list over a thousand", func(t *testing.T) { listMany(t, open(t)) })
	t.Run("delete", func(t *testing.T) { remove(t, open(t)) })
	t.Run("a cancelled put", func(t *testing.T) { cancelled(t, open(t)) })
}

func noise(n int) []byte {
	src := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)})
	b := make([]byte, n)
	_, _ = src.Read(b) // never fails
	return b
}

func get(t *testing.T, s backup.Store, key string, off, n int64) []byte {
	t.Helper()
	r, err := s.Get(t.Context(), key, off, n)
	if err != nil {
		t.Fatalf("Get(%s, %d, %d): %v", key, off, n, err)
	}
	data, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatalf("read %s: %v", key, err)
	}
	return data
}

func put(t *testing.T, s backup.Store, key string, data []byte) {
	t.Helper()
	if err := s.Put(t.Context(), key, bytes.NewReader(data), backup.PutOptions{}); err != nil {
		t.Fatalf("Put(%s): %v", key, err)
	}
}

func roundTrip(t *testing.T, s backup.Store) {
	// Sizes about the part size of a multipart upload, which an adapter may use.
	for _, n := range []int{0, 1, 8<<20 - 1, 8 << 20, 8<<20 + 1, 35 << 20} {
		key, data := fmt.Sprintf("a/b/%d", n), noise(n)
		// Hide the length: a store must not need to know it beforehand.
		if err := s.Put(t.Context(), key, io.MultiReader(bytes.NewReader(data)), backup.PutOptions{}); err != nil {
			t.Fatalf("Put of %d bytes: %v", n, err)
		}
		if got := get(t, s, key, 0, -1); !bytes.Equal(got, data) {
			t.Errorf("%d bytes came back as %d other ones", n, len(got))
		}
	}
	put(t, s, "a/b/1", []byte("second"))
	if got := get(t, s, "a/b/1", 0, -1); string(got) != "second" {
		t.Errorf("after an unconditional second Put: %q", got)
	}
}

func ranges(t *testing.T, s backup.Store) {
	data := noise(100_000)
	put(t, s, "k", data)
	for _, c := range []struct{ off, n, from, to int64 }{
		{0, 10, 0, 10}, {50_000, 1000, 50_000, 51_000}, {99_990, -1, 99_990, 100_000}, {99_990, 500, 99_990, 100_000},
		{0, 0, 0, 0}, {100_000, 5, 0, 0}, {100_000, -1, 0, 0}, {200_000, 5, 0, 0}, {0, 1 << 40, 0, 100_000},
	} {
		if got := get(t, s, "k", c.off, c.n); !bytes.Equal(got, data[c.from:c.to]) {
			t.Errorf("Get(%d, %d) returned %d bytes, not those from %d to %d", c.off, c.n, len(got), c.from, c.to)
		}
	}
}

func missing(t *testing.T, s backup.Store) {
	put(t, s, "dir/there", []byte("x"))
	for _, key := range []string{"not-there", "dir/not-there", "dir/there/below"} {
		if _, err := s.Get(t.Context(), key, 0, -1); !errors.Is(err, backup.ErrNotFound) {
			t.Errorf("Get(%s): %v, want ErrNotFound", key, err)
		}
	}
}

func ifAbsent(t *testing.T, s backup.Store) {
	for _, n := range []int{10, 9 << 20} {
		key, first := fmt.Sprintf("x/%d", n), noise(n)
		only := backup.PutOptions{IfAbsent: true}
		if err := s.Put(t.Context(), key, bytes.NewReader(first), only); err != nil {
			t.Fatalf("first Put of %d bytes: %v", n, err)
		}
		err := s.Put(t.Context(), key, bytes.NewReader(noise(n+1)), only)
		if !errors.Is(err, backup.ErrExists) {
			t.Errorf("second Put of %d bytes: %v, want ErrExists", n, err)
		}
		if got := get(t, s, key, 0, -1); !bytes.Equal(got, first) {
			t.Errorf("the second Put of %d bytes changed the object", n)
		}
	}
}

func race(t *testing.T, s backup.Store) {
	var wg sync.WaitGroup
	results := make([]error, 8)
	for i := range results {
		wg.Go(func() {
			results[i] = s.Put(t.Context(), "contested", bytes.NewReader([]byte{byte(i)}), backup.PutOptions{IfAbsent: true})
		})
	}
	wg.Wait()
	winner := slices.Index(results, nil)
	for i, err := range results {
		if i != winner && !errors.Is(err, backup.ErrExists) {
			t.Errorf("writer %d: %v, want ErrExists (writer %d won)", i, err, winner)
		}
	}
	if winner < 0 {
		t.Fatal("nobody won")
	}
	if got := get(t, s, "contested", 0, -1); !bytes.Equal(got, []byte{byte(winner)}) {
		t.Errorf("writer %d won, but the object holds %v", winner, got)
	}
}

func brokenReader(t *testing.T, s backup.Store) {
	boom := errors.New("boom")
	for _, n := range []int{100, 20 << 20} {
		r := io.MultiReader(bytes.NewReader(noise(n)), iotest.ErrReader(boom))
		if err := s.Put(t.Context(), "broken", r, backup.PutOptions{}); !errors.Is(err, boom) {
			t.Errorf("Put from a reader that breaks after %d bytes: %v", n, err)
		}
		if _, err := s.Get(t.Context(), "broken", 0, -1); !errors.Is(err, backup.ErrNotFound) {
			t.Errorf("after it, Get: %v, want ErrNotFound", err)
		}
	}
}

func keys(t *testing.T, s backup.Store, prefix string) []string {
	t.Helper()
	var out []string
	for o, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatalf("List(%s): %v", prefix, err)
		}
		out = append(out, o.Key)
	}
	return out
}

func list(t *testing.T, s backup.Store) {
	if got := keys(t, s, ""); len(got) != 0 {
		t.Errorf("an empty store lists %v", got)
	}
	all := []string{"a", "b-x/1", "b.d", "b/1", "b/10", "b/2/x", "b/2y", "bc", "c/d/e/f"}
	for _, i := range rand.Perm(len(all)) {
		put(t, s, all[i], []byte(all[i]))
	}
	for prefix, want := range map[string][]string{
		"": all, "b": all[1:8], "b/": all[3:7], "b/1": all[3:5], "b/2": all[5:7], "c/d": all[8:], "c/d/e/f": all[8:],
		"zz": nil, "b/2/x/": nil,
	} {
		if got := keys(t, s, prefix); !slices.Equal(got, want) {
			t.Errorf("List(%q) = %v, want %v", prefix, got, want)
		}
	}
	for o, err := range s.List(t.Context(), "b/10") {
		if err != nil || o.Size != 4 || o.Modified.IsZero() {
			t.Errorf("List gives %+v, %v", o, err)
		}
	}
	n := 0
	for _, err := range s.List(t.Context(), "") {
		if n++; n == 2 || err != nil {
			break
		}
	}
}

func listMany(t *testing.T, s backup.Store) {
	const n = 1050 // more than one page of an S3 listing
	var wg sync.WaitGroup
	var want []string
	limit := make(chan struct{}, 16)
	for i := range n {
		key := fmt.Sprintf("wal/%06d", i)
		want = append(want, key)
		wg.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			if err := s.Put(t.Context(), key, bytes.NewReader(nil), backup.PutOptions{}); err != nil {
				t.Errorf("Put(%s): %v", key, err)
			}
		})
	}
	wg.Wait()
	if got := keys(t, s, "wal/"); !slices.Equal(got, want) {
		t.Errorf("%d of %d keys listed", len(got), n)
	}
}

func remove(t *testing.T, s backup.Store) {
	for _, k := range []string{"d/1", "d/2", "d/3"} {
		put(t, s, k, []byte(k))
	}
	if err := s.Delete(t.Context(), "d/1", "d/3", "never-there"); err != nil {
		t.Fatal(err)
	}
	if got := keys(t, s, ""); !slices.Equal(got, []string{"d/2"}) {
		t.Errorf("left: %v", got)
	}
}

func cancelled(t *testing.T, s backup.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	r := io.MultiReader(bytes.NewReader(noise(10<<20)), readerFunc(func([]byte) (int, error) { cancel(); return 0, nil }), bytes.NewReader(noise(10<<20)))
	if err := s.Put(ctx, "c", r, backup.PutOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Put: %v, want context.Canceled", err)
	}
	if got := keys(t, s, ""); len(got) != 0 {
		t.Errorf("a cancelled put left %v", got)
	}
}

// readerFunc calls itself once and ends.
type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) {
	if _, err := f(p); err != nil {
		return 0, err
	}
	return 0, io.EOF
}
