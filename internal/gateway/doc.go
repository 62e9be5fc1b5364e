// Package gateway puts one node together: it opens the metadata store and the
// volumes in its directory, makes logical units and targets of them, serves
// them on its portals, and follows every change of the metadata while
// sessions are open. It decides nothing itself; it connects the packages that
// do.
//
//	meta ──Watch──► view ──SetMap, Resized──► lun.Target, lun.Unit
//	                 │                              ▲
//	                 ▼                              │
//	target.Server ──Directory (per login)──────────┘
//	                                    disks: block devices, opened at first use
//
// One goroutine applies changes, in the order of the store's transactions;
// nothing else touches LUN maps. A volume that is mapped costs a record and a
// unit; its files are opened by the first command that needs them.
package gateway
