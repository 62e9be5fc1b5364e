// Package history keeps what hosts did and saw in a run of the fault tests, in
// a file that can be read again, and tells whether a correct SAN could have
// answered so.
//
// Each block is checked as a register of its own, and each volume with
// reservations as one machine, by porcupine. A command that was not answered
// may have taken effect once, or not. When it may not any more is what the
// gateways promise (DESIGN R4), and what Op.Bound tells.
package history
