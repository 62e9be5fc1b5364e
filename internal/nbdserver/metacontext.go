package nbdserver

import "sango/internal/nbd"

// allocationID names base:allocation in replies.
const allocationID = 1

// metaContext answers OptListMetaContext and OptSetMetaContext. Anything wrong
// with a SET leaves no context chosen.
func (n *negotiation) metaContext(o nbd.Option) {
	set := o == nbd.OptSetMetaContext
	if set {
		n.hasContext = false
	}
	if !n.c.structured {
		n.refuse(o, nbd.RepErrInvalid, "metadata contexts need structured replies: negotiate them first")
		return
	}
	q, err := nbd.ParseMetaQuery(n.data)
	if err != nil {
		n.refuse(o, nbd.RepErrInvalid, err.Error())
		return
	}
	if _, err := n.c.s.Export(q.Export); err != nil {
		n.refuse(o, nbd.RepErrUnknown, err.Error())
		return
	}
	found := !set && len(q.Queries) == 0
	for _, s := range q.Queries {
		found = found || s == nbd.BaseAllocation || !set && s == "base:"
	}
	// Queries for other namespaces, or with none, match nothing; they are no
	// error.
	if found {
		id := uint32(0)
		if set {
			id, n.hasContext, n.context = allocationID, true, q.Export
		}
		n.reply(o, nbd.RepMetaContext, nbd.MetaContext{ID: id, Name: nbd.BaseAllocation})
	}
	n.reply(o, nbd.RepAck, nil)
}
