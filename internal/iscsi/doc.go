// Package iscsi is the codec of RFC 7143: PDU headers, text keys, the rules
// of negotiation, digests, CHAP and the target's side of a login, all of it
// without I/O, goroutines or clocks.
//
// A PDU on the wire is
//
//	┌──────────────┬─────────────┬───────────────┬──────────────┬─────┬─────────────┐
//	│ BHS 48 bytes │ AHS 0–1020  │ header digest │ data segment │ pad │ data digest │
//	│              │ bytes       │ 4 bytes, opt. │ 0–2^24−1     │ 0–3 │ 4 bytes,opt.│
//	└──────────────┴─────────────┴───────────────┴──────────────┴─────┴─────────────┘
//
// Each PDU type has a file of its own, with a value type X, ParseX to read it
// from a BHS and X.Put to write the whole BHS. Neither allocates unless it
// fails. Reserved fields are written as zero and ignored when read (RFC 7143
// §11). What a parser refuses is a *ProtocolError, which carries the Reject
// reason to answer with.
package iscsi
