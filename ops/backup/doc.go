// Package backup keeps PostgreSQL's base backups and write-ahead log in a repository, and looks after them there.
//
// A Repository is a Store of immutable objects: a directory or a bucket. A Cluster is the part of it that belongs to one
// database system of one service. Run makes a backup from a Source; PushWAL and FetchWAL are the archive; Verifier reads
// everything back; Expire removes what a Policy no longer wants. The format is described in docs/repository.md.
//
// Whatever changes the world is behind a small interface (Store, Source, WALSource, Codec); what decides is pure.
package backup
