package multipath

import (
	"fmt"
	"strings"
)

// Policy is how a request chooses among the paths of the group in use.
type Policy uint8

// The policies.
const (
	// ServiceTime takes the path with the least work in flight, weighted with
	// the latency that it shows. The default.
	ServiceTime Policy = iota
	// QueueLength takes the path with the fewest commands in flight.
	QueueLength
	// RoundRobin takes one path after the other.
	RoundRobin
	// Failover takes the same path as long as it serves.
	Failover
)

var policyNames = [...]string{"service-time", "queue-length", "round-robin", "failover"}

// ParsePolicy reads the name of a policy; the empty name is the default.
func ParsePolicy(s string) (Policy, error) {
	if s == "" {
		return ServiceTime, nil
	}
	for i, n := range policyNames {
		if s == n {
			return Policy(i), nil
		}
	}
	return 0, fmt.Errorf("policy %q: want one of %s", s, strings.Join(policyNames[:], ", "))
}

// String returns the name of the policy.
func (p Policy) String() string {
	if int(p) < len(policyNames) {
		return policyNames[p]
	}
	return "invalid"
}

// MarshalText implements encoding.TextMarshaler.
func (p Policy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Policy) UnmarshalText(b []byte) (err error) {
	*p, err = ParsePolicy(string(b))
	return err
}
