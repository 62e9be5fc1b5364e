// Package nbd is the wire format of the NBD protocol, as the protocol document
// of the NetworkBlockDevice project (doc/proto.md) has it: the fixed newstyle
// handshake, options and their replies, requests, simple and structured
// replies. It turns bytes into values and back; it does no I/O.
//
// All numbers are big-endian. A ParseX function takes the whole message, or of
// a header exactly its size, and never keeps the slice. An AppendX function
// appends the message to b and returns it.
package nbd
