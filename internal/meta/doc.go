// Package meta is the typed store of everything that a Sango node or cluster
// agrees on: volumes, targets, LUN maps, hosts, gateways, reservations, saved
// mode pages and the counters that ids come from. It lives on etcd: one embedded
// member that opens no socket, an embedded member of a cluster, or a cluster
// that others run (Options). No other package imports etcd.
//
// Three ways in:
//
//   - Update runs a function over one revision of the store and commits its
//     changes in a transaction that is guarded by the mod revision of
//     everything the function read. Where somebody else was first, it runs
//     again on the new state. Nothing is ever written unguarded.
//   - Load reads everything at one revision.
//   - Watch reports every change after a revision, in order. Current is the
//     linearizable read of the revision that a watch has to reach.
//
// Updates fail in three ways that callers tell apart, see errors.go. Ensure
// repeats what may be made twice.
//
// Keys, below the prefix /sango/v1/ (values are JSON):
//
//	schema                      the version of this layout; a newer one is refused
//	store                       UUID          identity, the same in a backup and where that is restored
//	shared-volumes              UUID          identity of the directory of layered volumes that gateways share
//	ttl/TIME                    {}            how long heartbeats of all gateways count
//	restoring                   a backup is being put back: the store does not open
//	claim                       Claim: the one node that serves, guards all its changes
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
//	gateways/NAME               Gateway: what it serves on
//	owners/UUID                 Owner: who executes the commands of a volume
//	portals/GATEWAY/PORTAL      the tag of a portal, kept when the portal goes
//	counters/NAME               uint64        last id handed out
//	units/UUID/KIND             what a logical unit keeps: reservations, mode pages, sanitize
//
// Below /sango/live/, what gateways that serve together know of each other:
//
//	incarnations/NAME           Incarnation: guards all that this start of a gateway does
//	drains/NAME                 Drain
//	harmless/NAME               Harmless
//	coordinator                 Coordinator, under a lease; its revision is the term
//	beats/NAME                  Beat, guarded by the incarnation
//	asks/UUID                   Ask, under a lease
//	busy/NAME                   Busy
//
// Ownership and life are records (RecordKind): Follow tells them all in one
// stream, Change changes them with the guards that docs/cluster-model.md asks
// for. Beats, asks and busy come first in the order of keys, so that who does
// not need them need not be told.
package meta
