package nbd

import "encoding/binary"

// BaseAllocation is the metadata context that tells where an export holds data.
const BaseAllocation = "base:allocation"

// MetaQuery is the data of OptListMetaContext and OptSetMetaContext.
type MetaQuery struct {
	Export  string
	Queries []string // of contexts, as "namespace:leaf"
}

// ParseMetaQuery reads the data of OptListMetaContext or OptSetMetaContext.
func ParseMetaQuery(b []byte) (MetaQuery, error) {
	const what = "metadata query"
	name, rest, err := cutString(what, b)
	if err != nil {
		return MetaQuery{}, err
	}
	if len(rest) < 4 {
		return MetaQuery{}, protocolErrorf("%s ends before the number of its contexts", what)
	}
	n := binary.BigEndian.Uint32(rest)
	rest = rest[4:]
	if uint64(n)*4 > uint64(len(rest)) {
		return MetaQuery{}, protocolErrorf("%s of %d contexts in %d bytes", what, n, len(rest))
	}
	q := MetaQuery{Export: name}
	for range n {
		var s string
		if s, rest, err = cutString(what, rest); err != nil {
			return MetaQuery{}, err
		}
		q.Queries = append(q.Queries, s)
	}
	if len(rest) > 0 {
		return MetaQuery{}, protocolErrorf("%s with %d bytes too many", what, len(rest))
	}
	return q, nil
}

// Append appends the message to b.
func (q MetaQuery) Append(b []byte) []byte {
	b = appendString(b, q.Export)
	b = binary.BigEndian.AppendUint32(b, uint32(len(q.Queries)))
	for _, s := range q.Queries {
		b = appendString(b, s)
	}
	return b
}

// MetaContext is the data of a RepMetaContext reply.
type MetaContext struct {
	ID   uint32 // goes before block status; meaningless in answers to OptListMetaContext
	Name string
}

// ParseMetaContext reads the data of a RepMetaContext reply.
func ParseMetaContext(b []byte) (MetaContext, error) {
	if len(b) < 4 {
		return MetaContext{}, protocolErrorf("metadata context ends within its id")
	}
	c := MetaContext{ID: binary.BigEndian.Uint32(b), Name: string(b[4:])}
	return c, CheckString(c.Name)
}

// Append appends the message to b.
func (c MetaContext) Append(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(b, c.ID), c.Name...)
}
