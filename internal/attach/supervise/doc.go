// Package supervise keeps a list of attachments: each is a process of its own
// (sango attach), which is started again, after a pause that grows, when it
// dies, and then takes over the disk that it left.
//
// The supervisor serves no I/O and can go without harm. One that is killed
// leaves the processes of its attachments running; the next one finds them by
// their status sockets and goes on with them. One that is told to end detaches
// all it keeps, unless it is told to leave them (Options.Keep).
//
// When the list is read again, new attachments start, those that are gone are
// detached, and those that changed are started anew. A disk that is in use
// can't be detached: it stays, with its requests waiting. Where the attachment
// changed, the new process takes it over at once; where it is gone from the
// list, the disk waits for 'sango attach' or 'sango detach --force'.
package supervise
