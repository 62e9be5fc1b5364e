// Package api is the management interface of a node: the service definition
// in proto, the server that answers it on a unix socket in the node's
// directory, and the client that the command line uses. The server turns calls
// into changes of the metadata and into work on volumes that it asks the node
// for; it keeps nothing itself.
//
// Where several gateways serve together (Cluster), every one answers every call.
// What needs the bytes of a volume is passed on to the gateway that owns it
// (ownedService), once and no further; what a gateway alone knows, the usage of
// its volumes and its sessions, it tells the others (peerService), which wait for
// it no longer than peerTime. Changes of the metadata are in effect on all gateways
// that live when they are answered (everywhere).
package api
