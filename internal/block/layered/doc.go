// Package layered keeps volumes as stacks of sparse files: thin, with
// snapshots, clones and rollback, on any filesystem. It is the default driver
// (DESIGN §6, rules R2 and R7).
//
// # What is on disk
//
//	STORE/store                    "sango-store 1\n": the format of the store
//	STORE/identity                 a UUID: which store it is, on whatever path
//	STORE/lock                     flock(2)ed by the process that makes these two
//	STORE/volumes/VOLUME/          a volume, named by its UUID
//	    manifest                   what it consists of; the one commit point
//	    lock                       flock(2)ed by the process that has it open
//	    atomic                     double-write slot of atomic writes
//	    LAYER.0000, LAYER.0001 …   data of a layer, sparse, 2 TiB a file
//	    LAYER.adopted              instead of data files: the stand-in of a raw
//	                               file or device that stays where it is
//	    LAYER.log                  its allocation log, if it has a layer beneath
//
// A volume's layers form a tree; the live one takes the writes, and a read
// takes the topmost layer from there down that has the cluster (64 KiB). What
// a manifest does not name is left over from a change that was cut short, and
// goes when the volume is opened next. There is no list of volumes to keep
// right: a directory with a manifest is one.
//
// A clone holds its snapshot's layers by hard links. So the filesystem keeps
// the reference counts, correct after any crash: a layer whose first file has
// one name is this volume's alone, and only into such a layer, and only if it
// has one child, a merge may write. Frozen layers never change otherwise.
//
// Names are made stable (fsync of the directory) before a manifest that needs
// them is, and before a process builds on what a dead one renamed.
//
// # Manifest
//
// One line of head, then JSON that people can read and repair:
//
//	sango-volume VERSION LENGTH CRC\n    version 1; length and crc32c (hex) of the rest
//	{"volume": …, "sequence": …, "live": LAYER, "layers": [{"id","parent","size","segment"}…], "snapshots": […]}
//
// It is replaced whole: temporary file, fsync, rename, fsync of the directory.
// Snapshot, clone, rollback, merge and resize each commit with one such
// replacement, and prepare everything before it so that it may also never
// happen. Version 1 is the first.
//
// # Allocation log
//
// Integers are little-endian; checksums are CRC-32C.
//
//	 0  8  "SANGOLOG"
//	 8  4  version, 1
//	12  4  checksum of these 64 bytes, this field as 0
//	16 16  layer
//	32  8  P, pages in the directory
//	40  8  S, pages stored
//	48  8  salt, random: it goes into the checksum of each record, so that bytes
//	       of an earlier generation of the log are never taken for records
//	56  4  checksum of the directory
//	60  4  0
//	64 16×P   directory: for each page (16384 clusters, 1 GiB)
//	       0 4 where: 0, 1, 2: all its clusters are absent, present, zeroed;
//	           3+i: stored as the i-th page
//	       4 4 checksum of the stored page
//	       8 4 clusters present   12 4 clusters zeroed
//	 …  4096×S  stored pages: two bits a cluster, 0 absent (see beneath),
//	       1 present (in this layer), 2 zeroed (reads as zeros, takes nothing)
//	 …  24×n    records, appended
//	       0 1 type   1 3 zero   4 4 checksum of salt, offset in the file, type, a, b
//	       8 8 a     16 8 b
//	       1 present: clusters [a, a+b)      2 zeroed: clusters [a, a+b)
//	       3 mark: all that lies before offset a is on stable storage
//	       4 boot: what follows was written in boot (a, b); (0, 0): a sync failed
//
// The part before the records is written once, when the log is made or
// compacted (at a clean close, beside the old one, renamed over it). It is
// read page by page when first needed and given up again, so that 64 TiB
// (2^30 clusters) need 1 MiB of memory at open.
//
// A record is appended after the data it speaks of is in the page cache, and
// before the write is answered: a process that dies loses nothing. A flush
// notes the log's end, syncs the data, appends a mark with that end, and syncs
// the log: what a concurrent write appended meanwhile is not vouched for. So
// after a power cut, which the boot id shows, exactly what the last mark
// vouches for counts; the rest is punched out of the data files and the log is
// rewritten without it. Records of one boot need no sync to be believed, but
// after a sync that failed, which a boot record of no boot shows, it is as
// after a power cut. A
// reader stops at the first record whose checksum is wrong.
//
// Volumes with one layer have no log, and their reads and writes are plain
// preadv and pwritev.
//
// # First write to a cluster
//
// absent (or zeroed) → copying → present. While it is copying others that want
// to write there wait, and readers still get what was there before. All of the
// cluster is written: from end to end by the request, or copied up from
// beneath (sharing extents where the filesystem can), or punched first where
// there is nothing to copy. What an earlier attempt left there never shows.
//
// # Slot of atomic writes
//
//	 0  8  "SANGOATM"
//	 8  4  checksum of these first 32 bytes, this field as 0
//	12  4  checksum of the data
//	16  8  offset in the volume
//	24  8  length
//	4096   the data
//
// Stable before the first byte changes in place, emptied (stable as well)
// before the write is answered. What is whole in it at open is written again.
//
// # Lock
//
//	 0  8  "SANGOLCK"
//	 8  4  checksum of all of it, this field as 0
//	12  4  pid of the holder
//	16 16  boot id
//	32  8  start time of the process, clock ticks after boot
//	40  8  the highest epoch under which the volume was open
//	48  8  for whom it holds the volume: the incarnation of a gateway; 0: nobody
//	56 16  names the last sync that failed; not there: none did
//
// It tells whom to kill when the next owner fences the holder (R2), and that hosts
// are to be told of a sync that failed, which no later one makes good (R7); the
// lock itself is the kernel's and ends with the process. Who lets go of it
// leaves the epoch alone: whoever has the lock and has not signed yet is waited
// for, and nobody else killed in its stead.
//
// # Several gateways
//
// The processes of several gateways may use a store; of a volume, one at a
// time. Its owner opens it for an epoch, which shuts out lower ones: a process
// of this machine is killed, this very process (which may run several gateways)
// and other machines (where flock reaches them) are waited for. When the owner
// closes it, merges, operations and readers of snapshots end first, and the
// lock is given up. Without a lock the statistics are read, from the manifest;
// an operation on a volume that nobody has open takes it for a moment.
package layered
