package backup_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/covetpy/covet/internal/agekeys"
	"github.com/covetpy/covet/internal/codec"
	"github.com/covetpy/covet/ops/backup"
)

// person is somebody with an age key.
type person struct{ public, secret string }

func newPerson(t *testing.T) person {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return person{id.Recipient().String(), id.String()}
}

// with is the same repository, used with other keys.
func with(t *testing.T, r backup.Repository, o agekeys.Options) backup.Repository {
	t.Helper()
	keys, err := agekeys.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	r.Sealer = backup.NewSealer(keys, codec.All())
	r.Codecs = r.Sealer.Codecs()
	return r
}

// stored is the content of all objects.
func stored(t *testing.T, r backup.Repository) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for o, err := range r.Store.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		b, err := backup.ReadAll(t.Context(), r.Store, o.Key, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		out[o.Key] = b
	}
	return out
}

const secretText = "the patient's name is Ann"

func secretSource() (*fakeSource, *rand.ChaCha8) {
	rnd := rand.NewChaCha8([32]byte{6})
	data := make([]byte, 3_000_000)
	_, _ = rnd.Read(data)
	copy(data[1000:], secretText)
	return &fakeSource{files: map[string][]byte{"base/5/secret-file": data, "b": []byte(secretText)}, time: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}, rnd
}

// Nothing that was backed up is in the repository in the clear, unchanged pages are still recognised, and each recipient
// alone can read everything.
func TestEncryptedBackups(t *testing.T) {
	t.Parallel()
	ann, bob := newPerson(t), newPerson(t)
	r := openRepository(t)
	writer := with(t, r, agekeys.Options{Recipients: []string{ann.public, bob.public}, Identities: ann.secret})
	src, rnd := secretSource()
	first := runBackup(t, writer, src)
	want1 := bytes.Clone(src.files["base/5/secret-file"])
	_, _ = rnd.Read(src.files["base/5/secret-file"][100_000:110_000])
	second := runBackup(t, with(t, r, agekeys.Options{Recipients: []string{bob.public}, Identities: ann.secret}), src)
	if second.Previous != first.ID || second.StoredBytes > first.StoredBytes/20 {
		t.Errorf("the second backup stored %d bytes, the first %d", second.StoredBytes, first.StoredBytes)
	}
	for key, b := range stored(t, r) {
		for _, s := range []string{secretText, "secret-file", string(want1[5000:5016])} {
			if bytes.Contains(b, []byte(s)) {
				t.Errorf("%s holds %q in the clear", key, s)
			}
		}
	}
	// The second one refers to packs that were written for Ann too, and yet Bob's identity alone reads it.
	bobs := with(t, r, agekeys.Options{Identities: bob.secret})
	equalFiles(t, readBack(t, bobs, second.ID), src.files)
	if got := readBack(t, bobs, first.ID)["base/5/secret-file"]; !bytes.Equal(got, want1) {
		t.Error("the first backup isn't what it was")
	}
	v, err := backup.NewVerifier(bobs.Cluster("orders", testSystem)).Verify(t.Context(), second.ID, nil)
	if err != nil || len(v.Damage) > 0 {
		t.Errorf("%v %+v", err, v)
	}
}

// Without the identity the list works, the packs that must stay are known, and everything else says who can read it.
func TestWithoutTheIdentity(t *testing.T) {
	t.Parallel()
	ann, eve := newPerson(t), newPerson(t)
	r := openRepository(t)
	src, _ := secretSource()
	h := runBackup(t, with(t, r, agekeys.Options{Identities: ann.secret}), src)
	for name, o := range map[string]agekeys.Options{"no keys": {}, "another's": {Identities: eve.secret}, "public key": {Recipients: []string{ann.public}}} {
		repo := with(t, r, o)
		c := repo.Cluster("orders", testSystem)
		heads, err := c.Backups(t.Context())
		if err != nil || len(heads) != 1 || heads[0].EncryptedFor[0] != ann.public {
			t.Errorf("%s: list: %+v %v", name, heads, err)
		}
		needsAnn := func(what string, err error) {
			var s *backup.SealedError
			if !errors.As(err, &s) || errors.Is(err, backup.ErrDamaged) || !strings.Contains(err.Error(), ann.public) {
				t.Errorf("%s: %s: %v", name, what, err)
			}
		}
		_, err = c.Manifest(t.Context(), h.ID)
		needsAnn("manifest", err)
		_, err = c.FetchWAL(t.Context(), h.FirstSegment().Name(h.SegmentSize))
		needsAnn("WAL", err)
		_, err = backup.NewVerifier(c).Verify(t.Context(), h.ID, nil)
		needsAnn("verify", err)
		if e, err := c.Expire(t.Context(), backup.Policy{Count: 1}, time.Now(), false); err != nil || len(e.Packs) > 0 {
			t.Errorf("%s: expire: %+v %v", name, e, err)
		}
	}
	var warned error
	src.time = src.time.Add(time.Minute)
	h, err := backup.Run(t.Context(), backup.Job{
		Repository: with(t, r, agekeys.Options{Recipients: []string{ann.public}}), Service: "orders", Origin: origin(src), Source: src, WAL: src,
		Codec: codec.Zstd(1), Warn: func(err error) { warned = err },
	})
	if err != nil || h.Previous != "" || warned == nil {
		t.Fatalf("a backup with the public key alone: %+v, %v, warned of %v", h, err, warned)
	}
	equalFiles(t, readBack(t, with(t, r, agekeys.Options{Identities: ann.secret}), h.ID), src.files)
}

// Turning encryption on stores everything anew: nothing in the clear is referred to, and no key gets into a manifest in the
// clear when it is turned off again.
func TestTurningEncryptionOnAndOff(t *testing.T) {
	t.Parallel()
	ann := newPerson(t)
	plain := openRepository(t)
	encrypted := with(t, plain, agekeys.Options{Identities: ann.secret})
	src, _ := secretSource()
	for i, r := range []backup.Repository{plain, encrypted, encrypted, plain} {
		src.time = src.time.Add(time.Minute)
		warned := false
		h, err := backup.Run(t.Context(), backup.Job{Repository: r, Service: "orders", Origin: origin(src), Source: src, WAL: src, Codec: codec.LZ4(), Warn: func(error) { warned = true }})
		if err != nil || warned != (i%2 == 1) || (h.ReusedBytes > 0) != (i == 2) {
			t.Fatalf("backup %d: %+v, %v, warned: %v", i, h, err, warned)
		}
		equalFiles(t, readBack(t, r, h.ID), src.files)
	}
}

// A flipped bit in an encrypted object is found, wherever it is.
func TestEncryptedDamage(t *testing.T) {
	t.Parallel()
	ann := newPerson(t)
	r := with(t, openRepository(t), agekeys.Options{Identities: ann.secret})
	src, _ := secretSource()
	src.files = map[string][]byte{"small": []byte(secretText)}
	h := runBackup(t, r, src)
	for key, b := range stored(t, r) {
		if !strings.Contains(key, "/packs/") && !strings.Contains(key, "/wal/") {
			continue
		}
		for at := 0; at < len(b); at += 1 + len(b)/12 {
			bad := bytes.Clone(b)
			bad[at] ^= 1 << (at % 8)
			if err := r.Store.Put(t.Context(), key, bytes.NewReader(bad), backup.PutOptions{}); err != nil {
				t.Fatal(err)
			}
			fresh := with(t, r, agekeys.Options{Identities: ann.secret})
			v, err := backup.NewVerifier(fresh.Cluster("orders", testSystem)).Verify(t.Context(), h.ID, nil)
			if err == nil && len(v.Damage) == 0 {
				t.Fatalf("a bit of byte %d of %s goes unnoticed", at, key)
			}
		}
		if err := r.Store.Put(t.Context(), key, bytes.NewReader(b), backup.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// Who archives with the public key alone can still tell the same segment from another of its name.
func TestPushAgainWithoutTheIdentity(t *testing.T) {
	t.Parallel()
	ann := newPerson(t)
	r := openRepository(t)
	public := agekeys.Options{Recipients: []string{ann.public}}
	seg := backup.Segment{Timeline: 1, No: 5}
	name, data := seg.Name(1<<20), backup.EmptySegment(seg, testSystem, 1<<20)
	for i, want := range []bool{true, false} {
		c := with(t, r, public).Cluster("orders", testSystem)
		if stored, err := c.PushWAL(t.Context(), name, data, codec.Zstd(1)); err != nil || stored != want {
			t.Fatalf("push %d: stored %v, %v", i+1, stored, err)
		}
	}
	other := bytes.Clone(data)
	other[500_000] ^= 1
	var conflict *backup.ConflictError
	if _, err := with(t, r, public).Cluster("orders", testSystem).PushWAL(t.Context(), name, other, codec.Zstd(1)); !errors.As(err, &conflict) {
		t.Errorf("another segment of the same name: %v", err)
	}
	got, err := with(t, r, agekeys.Options{Identities: ann.secret}).Cluster("orders", testSystem).FetchWAL(t.Context(), name)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%v", err)
	}
	rc, err := r.Store.Get(t.Context(), "orders/"+testSystem.String()+"/wal/00000001/"+name, 0, 4)
	if err != nil {
		t.Fatal(err)
	}
	magic, err := io.ReadAll(rc)
	if err := errors.Join(err, rc.Close()); err != nil || string(magic) != "CVE1" {
		t.Errorf("the segment begins with %q, %v", magic, err)
	}
}
