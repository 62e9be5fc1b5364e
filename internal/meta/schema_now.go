//go:build !nextversion

package meta

// later adds the versions that come after those of this program.
func later(s schemas) schemas { return s }

// laterGateway is what these add to the registration of a gateway.
type laterGateway struct{}
