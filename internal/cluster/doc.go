// Package cluster runs the machines of cluster/model: a gateway's, and the
// coordinator's where this one is elected. It brings them the time, the stream
// of changes of the metadata and the answers to their transactions, and has
// done what they say, by a Driver and a Fencer, which the composition of a node
// implements. docs/cluster-model.md tells the protocol.
//
// A Runtime is for one process. It registers a member, serves as long as that
// lives, and where it was declared dead begins again as another one. Nothing
// here decides who may write: that is in the model, and in the guards of its
// transactions.
package cluster
