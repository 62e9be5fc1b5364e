package nbd

// ListEntry is the data of a RepServer reply: one export in the answer to
// OptList.
type ListEntry struct {
	Name        string
	Description string // for people
}

// ParseListEntry reads the data of a RepServer reply.
func ParseListEntry(b []byte) (ListEntry, error) {
	name, rest, err := cutString("list entry", b)
	if err != nil {
		return ListEntry{}, err
	}
	e := ListEntry{Name: name, Description: string(rest)}
	return e, CheckString(e.Description)
}

// Append appends the message to b.
func (e ListEntry) Append(b []byte) []byte {
	return append(appendString(b, e.Name), e.Description...)
}
