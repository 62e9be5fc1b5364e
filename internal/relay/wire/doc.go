// Package wire is the protocol between gateways as bytes ↔ values
// (docs/relay.md): frames, and nothing that acts.
//
// A frame is a Header, a body of fixed fields that the frame's type gives, and
// data. All numbers are big-endian. A body may be longer than its type says: a
// later version appends fields, which an earlier one passes over; so the
// functions that parse look at the front of a body only, and refuse a shorter
// one. Strings are a length in 16 bits and that many bytes.
package wire
