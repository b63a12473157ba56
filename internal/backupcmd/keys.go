package backupcmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/covetpy/covet/internal/agekeys"
)

// addKeys defines the flags of encryption. An identity itself is never on a command line, where others could see it.
func (f *repoFlags) addKeys(flags *pflag.FlagSet) {
	recipients := strings.FieldsFunc(os.Getenv("COVET_AGE_RECIPIENTS"), func(r rune) bool { return r == ',' || r == '\n' })
	flags.StringArrayVar(&f.keys.Recipients, "age-recipient", recipients, "encrypt for this age or SSH public key (repeatable; COVET_AGE_RECIPIENTS, with commas)")
	flags.StringVar(&f.keys.RecipientsFile, "age-recipients-file", os.Getenv("COVET_AGE_RECIPIENTS_FILE"), "encrypt for the public keys in this file (COVET_AGE_RECIPIENTS_FILE)")
	flags.StringVar(&f.keys.IdentityFile, "age-identity-file", os.Getenv("COVET_AGE_IDENTITY_FILE"), "decrypt with the secret keys in this file (COVET_AGE_IDENTITY_FILE; COVET_AGE_IDENTITY holds keys themselves)")
}

// openKeys reads the keys that the flags and the environment name.
func (f *repoFlags) openKeys() (*agekeys.Keys, error) {
	o := f.keys
	o.Identities = os.Getenv("COVET_AGE_IDENTITY")
	return agekeys.Open(o)
}

// keyArgs repeats the flags of encryption for another process. Secrets stay in their file or in the environment.
func (f *repoFlags) keyArgs() []string {
	var out []string
	for _, r := range f.keys.Recipients {
		out = append(out, "--age-recipient", r)
	}
	for _, o := range []struct{ flag, path string }{{"--age-recipients-file", f.keys.RecipientsFile}, {"--age-identity-file", f.keys.IdentityFile}} {
		if o.path == "" {
			continue
		}
		if abs, err := filepath.Abs(o.path); err == nil { // the other process runs in another directory
			o.path = abs
		}
		out = append(out, o.flag, o.path)
	}
	return out
}

// secretEnv is the value of NAME, or the content of the file that NAME_FILE names.
func secretEnv(name string) (string, error) {
	if v := os.Getenv(name); v != "" {
		return v, nil
	}
	path := os.Getenv(name + "_FILE")
	if path == "" {
		return "", nil
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s_FILE names %s, which isn't there", name, path)
	}
	if err != nil {
		return "", fmt.Errorf("%s_FILE: %w", name, err)
	}
	return strings.TrimSpace(string(b)), nil
}
