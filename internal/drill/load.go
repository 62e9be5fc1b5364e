package drill

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"time"

	"sango/internal/block"
)

// BlockSize is the length of a write, bytes.
const BlockSize = 4096

// Load writes blocks, several at a time, each of which tells what it is, and
// knows what every block must hold. The first write that fails ends it.
type Load struct {
	dev    block.Device
	blocks int
	depth  int
	run    uint64

	wg   sync.WaitGroup
	stop chan struct{}
	once sync.Once

	mu     sync.Mutex // guards what follows
	stamps []stamp    // of the blocks
	err    error      // the first
	writes int64
	ended  time.Time // the last acknowledgement
	// The longest of each since Mark.
	gap, slowest time.Duration
}

// stamp is what a block was given.
type stamp struct {
	acked uint64 // generation that was acknowledged last
	tried uint64 // that was sent last
}

// NewLoad returns a load of depth writes at a time on the first blocks of dev.
// run tells its blocks from those of other loads.
func NewLoad(dev block.Device, blocks, depth int, run uint64) *Load {
	return &Load{dev: dev, blocks: blocks, depth: depth, run: run, stop: make(chan struct{}), stamps: make([]stamp, blocks)}
}

// Start begins to write.
func (l *Load) Start() {
	l.mu.Lock()
	l.ended = time.Now()
	l.mu.Unlock()
	for w := range l.depth {
		l.wg.Go(func() { l.work(w) })
	}
}

// Stop ends the load, and returns when every write was answered, with the error
// of the first that failed.
func (l *Load) Stop() error {
	l.once.Do(func() { close(l.stop) })
	l.wg.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// work writes the blocks of one worker, in an order that jumps about: no two
// writes to a block are under way at a time.
func (l *Load) work(w int) {
	b := make([]byte, BlockSize)
	x := uint64(w)*0x9e3779b97f4a7c15 + l.run
	own := uint64((l.blocks - w + l.depth - 1) / l.depth) // blocks w, w+depth, …
	for {
		select {
		case <-l.stop:
			return
		default:
		}
		x = x*6364136223846793005 + 1442695040888963407
		n := w + int(x>>33%own)*l.depth
		l.mu.Lock()
		gen := l.stamps[n].tried + 1
		l.stamps[n].tried = gen
		l.mu.Unlock()
		l.fill(b, n, gen)
		began := time.Now()
		err := block.WriteAt(l.dev, b, int64(n)*BlockSize, 0)
		if !l.answered(n, gen, began, err) {
			return
		}
	}
}

func (l *Load) answered(n int, gen uint64, began time.Time, err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		if l.err == nil {
			l.err = fmt.Errorf("write of block %d: %w", n, err)
			l.once.Do(func() { close(l.stop) })
		}
		return false
	}
	now := time.Now()
	l.writes++
	l.stamps[n].acked = gen
	l.gap, l.slowest = max(l.gap, now.Sub(l.ended)), max(l.slowest, now.Sub(began))
	l.ended = now
	return true
}

// Counts are what a load has done.
type Counts struct {
	Writes  int64         // that were acknowledged
	Gap     time.Duration // the longest time without an acknowledgement since Mark
	Slowest time.Duration // the longest that a write took since Mark
}

// Counts returns what was done. Writes under way count for the longest times.
func (l *Load) Counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Counts{Writes: l.writes, Gap: max(l.gap, time.Since(l.ended)), Slowest: l.slowest}
}

// Silence is the time since the last acknowledgement.
func (l *Load) Silence() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Since(l.ended)
}

// Mark makes the longest times start anew.
func (l *Load) Mark() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gap, l.slowest = 0, 0
}

// fill makes b the contents of block n in generation gen.
func (l *Load) fill(b []byte, n int, gen uint64) {
	le := binary.LittleEndian
	for i := 0; i < len(b); i += 8 {
		le.PutUint64(b[i:], l.run^uint64(n)<<32^gen*uint64(i+1))
	}
	le.PutUint64(b, l.run)
	le.PutUint64(b[8:], uint64(n))
	le.PutUint64(b[16:], gen)
	le.PutUint32(b[24:], crc32.Checksum(b[32:], crc32.MakeTable(crc32.Castagnoli)))
}

// Verdict is what reading everything back has found.
type Verdict struct {
	Blocks int // that were written
	Lost   int // of those, blocks that do not hold what was acknowledged last
	First  string
}

// Verify reads every block that was written, after Stop. A block whose last
// write was not acknowledged may hold that as well.
func (l *Load) Verify() (v Verdict, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, want := make([]byte, BlockSize), make([]byte, BlockSize)
	for n, s := range l.stamps {
		if s.tried == 0 {
			continue
		}
		v.Blocks++
		if e := block.ReadAt(l.dev, b, int64(n)*BlockSize); e != nil {
			err = errors.Join(err, fmt.Errorf("block %d can't be read: %w", n, e))
			return v, err
		}
		if gen := binary.LittleEndian.Uint64(b[16:]); gen == s.acked || gen == s.tried {
			l.fill(want, n, gen)
			if string(b) == string(want) || gen == 0 && isZero(b) {
				continue
			}
		}
		if v.Lost++; v.Lost == 1 {
			v.First = fmt.Sprintf("block %d: write %d was acknowledged, and write %d is there", n, s.acked, binary.LittleEndian.Uint64(b[16:]))
		}
	}
	return v, nil
}

func isZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
