// Package layered keeps volumes as stacks of sparse files: thin, with
// snapshots, clones and rollback, on any filesystem. It is the default driver
// (DESIGN §6, rules R2 and R7).
package layered
