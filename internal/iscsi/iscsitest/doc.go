// Package iscsitest is an iSCSI initiator for tests. It can behave: log in,
// run commands one at a time and check everything that the target says about
// sequence numbers. And it can misbehave: send any PDU, or any bytes, at any
// moment, with keys and headers changed at will. It is not meant to be fast.
//
// A Conn belongs to one goroutine.
package iscsitest
