// Package harness is what the programs under test/ share: a sango demo process that can be started, stopped and
// killed, peers from Debian that must be there, and a report of steps. A peer that is missing is an error, never a
// reason to leave a test out.
package harness
