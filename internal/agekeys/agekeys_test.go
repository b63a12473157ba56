package agekeys_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"golang.org/x/crypto/ssh"

	"github.com/covetpy/covet/internal/agekeys"
	"github.com/covetpy/covet/ops/backup"
)

// pairs are public and secret keys of every kind.
func pairs(t *testing.T) map[string][2]string {
	t.Helper()
	x, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	pq, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sshPub, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(priv, "")
	if err != nil {
		t.Fatal(err)
	}
	return map[string][2]string{
		"x25519":       {x.Recipient().String(), x.String()},
		"post-quantum": {pq.Recipient().String(), pq.String()},
		"ssh":          {strings.TrimSpace(string(ssh.MarshalAuthorizedKey(sshPub))), string(pem.EncodeToMemory(block))},
	}
}

func TestWrapAndUnwrap(t *testing.T) {
	t.Parallel()
	all := pairs(t)
	for name, pair := range all {
		k, err := agekeys.Open(agekeys.Options{Recipients: []string{pair[0]}})
		if err != nil {
			t.Fatal(name, err)
		}
		wrapped, err := k.Wrap([]byte("a key of some length"))
		if err != nil {
			t.Fatal(name, err)
		}
		for other, p := range all {
			reader, err := agekeys.Open(agekeys.Options{Recipients: []string{pair[0]}, Identities: p[1]})
			if err != nil {
				t.Fatal(other, err)
			}
			got, err := reader.Unwrap(wrapped)
			if name == other && (err != nil || !bytes.Equal(got, []byte("a key of some length"))) {
				t.Errorf("%s: %q %v", name, got, err)
			} else if name != other && !errors.Is(err, backup.ErrNoIdentity) {
				t.Errorf("%s opens what is for %s: %v", other, name, err)
			}
		}
	}
}

// Who gives an identity alone encrypts for it.
func TestIdentityAloneEncrypts(t *testing.T) {
	t.Parallel()
	all := pairs(t)
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("# created by age-keygen\n"+all["x25519"][1]+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := agekeys.Open(agekeys.Options{IdentityFile: file})
	if err != nil || len(k.Recipients()) != 1 || k.Recipients()[0] != all["x25519"][0] {
		t.Errorf("%v %v", k, err)
	}
	if _, err := agekeys.Open(agekeys.Options{Identities: all["ssh"][1]}); err == nil || !strings.Contains(err.Error(), "--age-recipient") {
		t.Errorf("an SSH key alone: %v", err)
	}
}

func TestOpenRefusesNonsense(t *testing.T) {
	t.Parallel()
	secret := pairs(t)["x25519"][1]
	for name, o := range map[string]agekeys.Options{
		"not a key":      {Recipients: []string{"age1nonsense"}},
		"secret, public": {Recipients: []string{secret}},
		"no file":        {RecipientsFile: "/nonexistent/keys"},
		"no identity":    {IdentityFile: "/nonexistent/key"},
		"bad identity":   {Identities: "AGE-SECRET-KEY-1XYZ"},
		"empty file":     {RecipientsFile: os.DevNull},
	} {
		if _, err := agekeys.Open(o); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
