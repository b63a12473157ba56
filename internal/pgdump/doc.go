// Package pgdump makes logical backups with pg_dump and restores them with pg_restore.
//
// pg_dump's custom format is read as it comes, uncompressed, and divided at the borders of its table of contents and of each
// table's data: one table is then restored without reading the others. Put together again in their order, the pieces are
// what pg_dump wrote. Nothing lies on a disk on the way.
package pgdump
