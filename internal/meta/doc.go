// Package meta is the typed store of everything that a Sango node or cluster
// agrees on: volumes, targets, LUN maps, hosts, gateways, reservations, saved
// mode pages and the counters that ids come from. It lives on etcd, here one
// embedded member that opens no socket; no other package imports etcd.
//
// Three ways in:
//
//   - Update runs a function over one revision of the store and commits its
//     changes in a transaction that is guarded by the mod revision of
//     everything the function read. Where somebody else was first, it runs
//     again on the new state. Nothing is ever written unguarded.
//   - Load reads everything at one revision.
//   - Watch reports every change after a revision, in order.
//
// Keys, below the prefix /sango/v1/ (values are JSON):
//
//	schema                      the version of this layout; a newer one is refused
//	volumes/UUID                san.Volume
//	volume-names/NAME           UUID          unique names
//	naa/HEX                     UUID          unique NAA designators
//	adopted/PATH                UUID          a file or device belongs to one volume
//	pending/UUID                Pending       volumes whose change is under way
//	exports/UUID/SNAPSHOT       {}            snapshots that exports made for themselves
//	targets/IQN                 san.Target without its LUNs
//	luns/IQN/LUN                san.Mapping   one key a LUN: a target may have thousands
//	mapped/UUID/IQN/LUN         {}            the same the other way round
//	hosts/NAME                  san.Host
//	host-iqns/IQN               NAME          unique initiator names
//	gateways/NAME               Gateway
//	portals/GATEWAY/PORTAL      the tag of a portal, kept when the portal goes
//	counters/NAME               uint64        last id handed out
//	units/UUID/KIND             what a logical unit keeps: reservations, mode pages, sanitize
package meta
