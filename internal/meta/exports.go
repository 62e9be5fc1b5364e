package meta

import (
	"strings"

	"sango/internal/san"
)

// Export is a snapshot that an export reads, and removes when it ends.
type Export struct {
	Volume   san.UUID
	Snapshot string
}

func (e Export) key() string { return "exports/" + e.Volume.String() + "/" + e.Snapshot }

// BeginExport notes that a snapshot is about to be made for an export.
func (tx *Tx) BeginExport(e Export) error { return tx.put(e.key(), struct{}{}) }

// EndExport notes that it is gone.
func (tx *Tx) EndExport(e Export) {
	tx.frees = true
	tx.del(e.key())
}

// Exports lists the exports under way; at the start of a node, those that
// were cut short.
func (tx *Tx) Exports() ([]Export, error) {
	var all []Export
	err := tx.list("exports/", func(rest string, _ []byte) error {
		volume, snapshot, _ := strings.Cut(rest, "/")
		id, err := san.ParseUUID(volume)
		all = append(all, Export{id, snapshot})
		return err
	})
	return all, err
}
