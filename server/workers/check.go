package workers

import "os"

// Check reports why a release cannot be started here: its program is not there, not executable, or not the one that was
// recorded. It is what every start checks, without starting anything.
func (s *Supervisor) Check(spec Spec) error {
	spec, err := spec.normalize()
	if err != nil {
		return err
	}
	env := environment(os.Environ(), s.o.Env, spec.Env)
	path, err := resolve(spec.Command[0], spec.Dir, lookup(env, "PATH"))
	if err != nil {
		return err
	}
	return s.sums.verify(path, spec.Digest)
}
