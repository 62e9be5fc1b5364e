// Package drill tells the story of a fail-over: three gateways serve a volume
// together, a host writes through the multipath device, the gateway that owns
// the volume is killed, and at the end everything is read back.
package drill
