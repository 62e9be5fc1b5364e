package meta

import "slices"

// FenceCommand is among the capabilities of a gateway that has a command to turn
// others off.
const FenceCommand = "fence-command"

// Fences reports whether the gateway has a command to turn others off.
func (g *Gateway) Fences() bool { return slices.Contains(g.Capabilities, FenceCommand) }
