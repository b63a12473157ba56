package auth

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
)

// UsersFile is a [UserStore] in a text file, a user a line: name:hash:role,role. Lines that begin with # are comments.
// Its methods are safe for concurrent use.
type UsersFile struct {
	path      string
	passwords *passwords
	users     atomic.Pointer[map[string]stored]
}

// stored is one user of the file.
type stored struct {
	user User
	hash parsedHash
}

// OpenUsersFile reads the file. Every fault of it is in the error.
func OpenUsersFile(path string) (*UsersFile, error) {
	f := &UsersFile{path: path, passwords: newPasswords()}
	return f, f.Reload()
}

// CheckUsersFile says what is wrong with a users file, or nil.
func CheckUsersFile(path string) error {
	_, err := OpenUsersFile(path)
	return err
}

// Reload reads the file again; where it is not right, the users stay as they were.
func (f *UsersFile) Reload() error {
	text, err := os.ReadFile(f.path)
	if err != nil {
		return fmt.Errorf("read the users: %w", err)
	}
	users, err := parseUsers(string(text))
	if err != nil {
		return fmt.Errorf("users file %s: %w", f.path, err)
	}
	f.users.Store(&users)
	return nil
}

func parseUsers(text string) (map[string]stored, error) {
	users, errs, n := map[string]stored{}, []error(nil), 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		parts := strings.Split(line, ":")
		if len(parts) != 3 {
			errs = append(errs, fmt.Errorf("line %d: is not name:hash:roles", n))
			continue
		}
		u := User{Name: parts[0]}
		if parts[2] != "" {
			u.Roles = strings.Split(parts[2], ",")
		}
		hash, err := parseHash(parts[1])
		if err != nil {
			err = fmt.Errorf("hash %w", err)
		}
		if err := errors.Join(u.check(), err); err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", n, err))
			continue
		}
		if _, twice := users[u.Name]; twice {
			errs = append(errs, fmt.Errorf("line %d: %s is there twice", n, u.Name))
		}
		users[u.Name] = stored{u, hash}
	}
	return users, errors.Join(errs...)
}

// check refuses names that the file, a log or a header could not hold as they are.
func (u User) check() error {
	for _, name := range append([]string{u.Name}, u.Roles...) {
		if name == "" || len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.@", r)
		}) {
			return fmt.Errorf("%q is no name: 1 to 64 letters, digits, and -_.@", name)
		}
	}
	return nil
}

// Authenticate returns the user of that name and password. A name that is not there takes as long as a wrong password.
func (f *UsersFile) Authenticate(ctx context.Context, name, password string) (User, error) {
	var hash *parsedHash
	s, ok := (*f.users.Load())[name]
	if ok {
		hash = &s.hash
	}
	match, err := f.passwords.match(ctx, hash, password)
	if err != nil {
		return User{}, err
	}
	if !match {
		return User{}, ErrCredentials
	}
	return s.user, nil
}

// Find returns the user of that name.
func (f *UsersFile) Find(_ context.Context, name string) (User, error) {
	if s, ok := (*f.users.Load())[name]; ok {
		return s.user, nil
	}
	return User{}, ErrCredentials
}

// AddUser writes a user with the hash of the password into a users file, in place of one of the same name. A file that
// is not there is made, readable by its owner alone. A running service takes it up on SIGHUP.
func AddUser(path string, u User, password string) error {
	if err := u.check(); err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the users: %w", err)
	}
	hash, err := HashPassword(password)
	if err != nil {
		return err
	}
	lines := slices.DeleteFunc(strings.Split(strings.TrimRight(string(text), "\n"), "\n"), func(line string) bool {
		return line == "" || strings.HasPrefix(strings.TrimSpace(line), u.Name+":")
	})
	lines = append(lines, u.Name+":"+hash+":"+strings.Join(u.Roles, ","))
	return replace(path, strings.Join(lines, "\n")+"\n")
}

// replace puts a file in the place of another, whole or not at all.
func replace(path, text string) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".users-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write the users: %w", err)
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write the users: %w", err), ignoreMissing(os.Remove(f.Name())))
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("write the users: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
