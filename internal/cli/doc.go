// Package cli is the command line: one file a noun, cmd_NOUN.go. Each command
// is an options struct with its flags and a run method that can be called
// without the command line library; Run parses arguments, calls one of them
// and returns the exit status.
package cli
