// Package nbdserver serves block devices over NBD: fixed newstyle handshake,
// TLS, structured replies, block status, and all commands that the protocol
// document standardises. QEMU, libnbd, nbd-client and the kernel's NBD driver
// are its clients.
//
// A connection has one goroutine that reads requests and submits them to the
// device, at most Options.Depth together and with at most
// Options.ConnMemory bytes of data. What the device does at once is replied to
// by that goroutine, in one write for all requests that came together; later
// ends are replied to by a second goroutine. A request that would block its
// submitter goes to a worker. In the steady state a request allocates nothing:
// requests and their buffers are reused, and data is never copied except for
// what came together with a request header.
//
// A reader whose client sends one request at a time polls the socket for a moment
// before it waits; see turn.go for that, and package turns for how readers make
// room for each other. The data of large writes is read right into its buffers,
// what is short comes with the requests around it, many at a time.
//
// The size of an export is that of its device when a client connects. NBD has
// no message for a change; requests are checked against the size of the
// moment.
package nbdserver
