//go:build nextversion

package meta

// later adds a version that programs without it can't read, as that of a program
// which comes after this one: test/upgrade has both in one cluster. Each
// registration gets a field; a gateway that follows them and does not know it
// puts changes into effect no more.
func later(s schemas) schemas {
	s.steps[s.newest] = migration{"a test", func(tx *Tx) (bool, error) {
		all, err := tx.Gateways()
		if err != nil {
			return false, err
		}
		for _, g := range all {
			if err := tx.put("gateways/"+g.Name, struct {
				*Gateway
				laterGateway
			}{g, laterGateway{true}}); err != nil {
				return false, err
			}
		}
		return true, nil
	}}
	s.newest++
	return s
}

// laterGateway is what it adds to the registration of a gateway.
type laterGateway struct {
	Later bool `json:"later"`
}
