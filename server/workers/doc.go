// Package workers runs an application's releases as supervised worker processes.
//
// A Supervisor is told how many instances of which release are wanted (Ensure) and works towards it in the background: it
// gives each instance a port, starts it, probes it, hands it to the Traffic when it is ready, takes it out when it is not,
// restarts it with back-off when it dies, and keeps its output. Stopping an instance is drain → SIGTERM → SIGKILL.
//
// # No orphan
//
// No process of a release outlives its worker, and none outlives covetd, whatever kills it. Every worker carries three marks
// that its descendants inherit:
//
//   - COVETD_OWNER and COVET_INSTANCE in its environment, lost when a descendant clears its environment;
//   - its own session, left when a descendant calls setsid;
//   - a soft RLIMIT_LOCKS, a limit that Linux has ignored since 2.4.25, holding owner and instance as a number. It is
//     inherited through everything, costs one system call to read, and nothing else sets it. It is set
//     before the worker's first instruction, while the kernel holds it for a tracer (where tracing is forbidden, right after).
//
// Four mechanisms use them. Workers are started from one locked thread with a parent-death signal, so the kernel kills them
// with covetd. covetd is a child subreaper, so daemonised descendants come back to it, and when a worker ends whatever still
// carries its marks is killed and reaped; children that covetd started for other purposes carry none and are left alone. A
// guardian process (RunGuardian) holds a pipe from covetd and hunts down what is marked when the pipe breaks. And New sweeps
// what a dead covetd with the same state folder left, for the case that the guardian was killed too.
//
// Linux 5.4 or newer is needed, for pidfds: a signal never reaches a process that merely inherited a number.
package workers
