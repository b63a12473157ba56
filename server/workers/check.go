package workers

import "os"

// Check reports why a release cannot be started here: its program is not there, not executable, or not the one that was
// recorded. It is what every start checks, without starting anything.
func (s *Supervisor) Check(spec Spec) error {
	_, _, err := s.Fingerprint(spec)
	return err
}

// Fingerprint finds the release's program as a start would, and returns its file and the sha256 of it in hex. It fails as
// Check does.
func (s *Supervisor) Fingerprint(spec Spec) (path, digest string, err error) {
	spec, err = spec.normalize()
	if err != nil {
		return "", "", err
	}
	env := environment(os.Environ(), s.o.Env, spec.Env)
	path, err = resolve(spec.Command[0], spec.Dir, lookup(env, "PATH"))
	if err != nil {
		return "", "", err
	}
	digest, err = s.sums.digest(path)
	if err != nil {
		return "", "", err
	}
	return path, digest, s.sums.verify(path, spec.Digest)
}
