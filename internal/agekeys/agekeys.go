// Package agekeys wraps the keys of an encrypted repository with age (https://age-encryption.org): for recipients
// ("age1…", "age1pq1…" or an SSH public key), to be unwrapped with one of their identities.
package agekeys

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"

	"github.com/covetpy/covet/ops/backup"
)

// Options say for whom to encrypt, and who is reading. All may be empty: nothing is encrypted, and nothing encrypted can
// be read.
type Options struct {
	Recipients     []string // public keys
	RecipientsFile string   // with one a line
	Identities     string   // secret keys, one a line, or one SSH private key
	IdentityFile   string   // that holds such
}

// Keys implements backup.KeyWrapper.
type Keys struct {
	names      []string
	recipients []age.Recipient
	identities []age.Identity
}

// Open reads the keys. Where there are identities and no recipients, what is written is for the identities' own
// recipients: who can decrypt a repository never adds to it in the clear by mistake.
func Open(o Options) (*Keys, error) {
	k := &Keys{}
	if err := k.addRecipients(o); err != nil {
		return nil, err
	}
	text := o.Identities
	if o.IdentityFile != "" {
		b, err := os.ReadFile(o.IdentityFile)
		if err != nil {
			return nil, fmt.Errorf("age identity: %w", err)
		}
		text += "\n" + string(b)
	}
	if strings.TrimSpace(text) == "" {
		return k, nil
	}
	var err error
	if k.identities, err = parseIdentities(text); err != nil {
		return nil, fmt.Errorf("age identity: %w", err)
	}
	if len(k.recipients) == 0 {
		return k, k.ownRecipients()
	}
	return k, nil
}

func (k *Keys) addRecipients(o Options) error {
	lines := o.Recipients
	if o.RecipientsFile != "" {
		b, err := os.ReadFile(o.RecipientsFile)
		if err != nil {
			return fmt.Errorf("age recipients: %w", err)
		}
		lines = append(lines, strings.Split(string(b), "\n")...)
	}
	for _, line := range lines {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if strings.HasPrefix(line, "AGE-SECRET-KEY-") { // not to be shown
			return errors.New("age recipient: this is an identity, which is secret: a recipient begins with age1")
		}
		r, err := parseRecipient(line)
		if err != nil {
			return fmt.Errorf("age recipient %q: %w", line, err)
		}
		k.names, k.recipients = append(k.names, line), append(k.recipients, r)
	}
	if o.RecipientsFile != "" && len(k.recipients) == 0 {
		return fmt.Errorf("age recipients: %s names none", o.RecipientsFile)
	}
	return nil
}

func parseRecipient(s string) (age.Recipient, error) {
	if strings.HasPrefix(s, "ssh-") {
		return agessh.ParseRecipient(s)
	}
	rs, err := age.ParseRecipients(strings.NewReader(s))
	if err != nil {
		return nil, err
	}
	return rs[0], nil
}

func parseIdentities(text string) ([]age.Identity, error) {
	if strings.HasPrefix(strings.TrimSpace(text), "-----BEGIN ") {
		id, err := agessh.ParseIdentity([]byte(strings.TrimSpace(text) + "\n"))
		if err != nil {
			return nil, err
		}
		return []age.Identity{id}, nil
	}
	return age.ParseIdentities(strings.NewReader(text))
}

// ownRecipients makes the identities' recipients those to encrypt for.
func (k *Keys) ownRecipients() error {
	for _, id := range k.identities {
		switch id := id.(type) {
		case *age.X25519Identity:
			k.add(id.Recipient().String(), id.Recipient())
		case *age.HybridIdentity:
			k.add(id.Recipient().String(), id.Recipient())
		}
	}
	if len(k.recipients) == 0 {
		return errors.New("age recipients: name the recipient of the identity with --age-recipient or COVET_AGE_RECIPIENTS")
	}
	return nil
}

func (k *Keys) add(name string, r age.Recipient) {
	k.names, k.recipients = append(k.names, name), append(k.recipients, r)
}

// Recipients implements backup.KeyWrapper.
func (k *Keys) Recipients() []string { return k.names }

// Wrap implements backup.KeyWrapper.
func (k *Keys) Wrap(key []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := age.Encrypt(&out, k.recipients...)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(key)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// Unwrap implements backup.KeyWrapper.
func (k *Keys) Unwrap(wrapped []byte) ([]byte, error) {
	if len(k.identities) == 0 {
		return nil, backup.ErrNoIdentity
	}
	r, err := age.Decrypt(bytes.NewReader(wrapped), k.identities...)
	var none *age.NoIdentityMatchError
	if errors.As(err, &none) {
		return nil, fmt.Errorf("%w: %w", backup.ErrNoIdentity, err)
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, 1<<10))
}
