// Package recovery keeps a database recoverable: the schedule of backups, verifications, expiries and drills, the
// objectives for what may be lost (RPO) and how long getting it back may take (RTO), and what is so of both at any moment.
package recovery
