// Package gateway puts one node together: it opens the metadata store and the
// volumes in its directory, makes logical units and targets of them, serves
// them on its portals, and follows every change of the metadata while
// sessions are open. It decides nothing itself; it connects the packages that
// do.
//
//	meta ──Watch──► view ──ChangeMap, Resized──► lun.Target, lun.Unit
//	                 │                                 ▲
//	                 ▼                                 │
//	target.Server ──Directory (per login)─────────────┘
//	                                    disks: block devices, opened at first use
//
// One goroutine applies changes, in the order of the store's transactions, and
// waits for no command of a host: the end of what is taken away is waited for by
// itself, and LUN maps that were held up by it are set then. A volume that is
// mapped costs a record and a unit; its files are opened by the first command that
// needs them.
package gateway
