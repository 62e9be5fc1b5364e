package nbd

import "testing"

func TestListEntry(t *testing.T) {
	vector(t, `00000002 'db' 'a disk'`, ListEntry{Name: "db", Description: "a disk"}, ParseListEntry)
	vector(t, `00000000`, ListEntry{}, ParseListEntry)
	refused(t, `000000`, ParseListEntry)
	refused(t, `00000003 'db'`, ParseListEntry)
	refused(t, `00001001 'db'`, ParseListEntry)
	refused(t, `00000002 ff ff`, ParseListEntry)
	refused(t, `00000002 '0' 00`, ParseListEntry)
}
