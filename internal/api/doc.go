// Package api is the management interface of a node: the service definition
// in proto, the server that answers it on a unix socket in the node's
// directory, and the client that the command line uses. The server turns calls
// into changes of the metadata and into work on volumes that it asks the node
// for; it keeps nothing itself.
package api
