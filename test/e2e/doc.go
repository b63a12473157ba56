// Package e2e holds the end-to-end tests: the built covetd, covetctl and example shop, met as a person or a load generator
// meets them. The programs are those of the folder COVET_BIN, or are built once for the run.
package e2e
