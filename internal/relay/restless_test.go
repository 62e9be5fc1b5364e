package relay

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"sango/internal/lun"
	"sango/internal/scsi"
)

// restless is a host that has many commands and functions under way, in
// sessions that come and go in the middle of them.
type restless struct {
	m  *member
	id byte
	r  *rand.Rand
	// ended is closed when TaskDone was called for the task.
	mu    sync.Mutex
	ended map[*lun.Task]chan struct{}
}

// TaskDone implements lun.Transport.
func (h *restless) TaskDone(t *lun.Task) {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.ended[t])
}

// Drop implements lun.Transport: the session ends soon anyhow.
func (h *restless) Drop(string) {}

func (h *restless) task(n int) *lun.Task {
	t := &lun.Task{Tag: uint32(n), Arrival: time.Now()}
	lba := uint32(h.r.IntN(64))
	switch h.r.IntN(6) {
	case 0: // TEST UNIT READY
	case 1:
		t.CDB[0] = []byte{0x16, 0x17}[h.r.IntN(2)] // RESERVE(6), RELEASE(6)
	case 2, 3:
		t.CDB[0], t.CDB[8] = byte(scsi.OpRead10), 8
		t.Read, t.Expected = true, 4096
	default:
		t.CDB[0], t.CDB[7] = byte(scsi.OpWrite10), 1
		t.Write, t.Expected = true, 256*512
	}
	if t.Expected > 0 {
		binary.BigEndian.PutUint32(t.CDB[2:], lba)
	}
	if k := h.r.IntN(12); k < 2 {
		t.Attr = []scsi.TaskAttr{scsi.Ordered, scsi.HeadOfQueue}[k]
	}
	h.mu.Lock()
	h.ended[t] = make(chan struct{})
	h.mu.Unlock()
	return t
}

// session issues commands and functions and ends.
func (h *restless) session(t *testing.T) {
	id := testNexus(h.id, 1)
	if h.m.name.Gateway != "a" {
		id.Target.TPG = 100
	}
	n, err := h.m.target.Attach(id, "", h)
	if err != nil {
		t.Error(err)
		return
	}
	h.ended = map[*lun.Task]chan struct{}{}
	var functions sync.WaitGroup
	var open []*lun.Task
	for k := range 30 {
		x := h.task(k)
		open = append(open, x)
		n.Admit(x)
		if x.Write && !h.done(x) && x.OutLen > 0 && h.r.IntN(10) > 0 {
			x.Out.Append(buf(make([]byte, x.OutLen)))
			x.Ready()
		}
		switch k := h.r.IntN(12); {
		case k == 0:
			f := []lun.Function{lun.AbortTask, lun.AbortTaskSet, lun.ClearTaskSet, lun.LogicalUnitReset, lun.NexusReset}[h.r.IntN(5)]
			functions.Add(1)
			n.Manage(lun.TMF{Function: f, RefTag: x.Tag}, func(lun.TMFResponse) { functions.Done() })
		case k < 4:
			<-time.After(time.Duration(h.r.IntN(4)) * time.Millisecond)
		}
	}
	n.Detach()
	for _, x := range open {
		h.mu.Lock()
		end := h.ended[x]
		h.mu.Unlock()
		<-end
	}
	functions.Wait()
}

func (h *restless) done(t *lun.Task) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.ended[t]:
		return true
	default:
		return false
	}
}

// Whatever hosts do while the volume moves every few milliseconds and
// connections break, nothing waits for ever, ends twice or is left over.
func TestRestlessHosts(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			w := newTwins(t, connected(t), nil)
			var hosts sync.WaitGroup
			for n := range 6 {
				hosts.Go(func() {
					h := &restless{m: w.members[n%2], id: byte(n), r: rand.New(rand.NewPCG(seed, uint64(n)+2))}
					for range 12 {
						h.session(t)
					}
				})
			}
			over := make(chan struct{})
			go func() {
				hosts.Wait()
				close(over)
			}()
			r := rand.New(rand.NewPCG(seed, 1))
			moves, cuts := 0, 0
			for running := true; running; {
				select {
				case <-over:
					running = false
				case <-time.After(time.Duration(r.IntN(6)) * time.Millisecond):
				}
				if r.IntN(4) > 0 {
					w.move()
					moves++
					continue
				}
				i := r.IntN(2)
				l := w.members[i].node.peer(w.members[1-i].name).lines[r.IntN(2)]
				l.mu.Lock()
				if l.conn != nil {
					l.conn.pipe.kill()
					cuts++
				}
				l.mu.Unlock()
			}
			t.Logf("%d moves, %d cuts", moves, cuts)
			for i, m := range w.members {
				for _, p := range m.node.peers {
					for _, l := range p.lines {
						l.mu.Lock()
						if l.limbo.n > 0 || l.out > 0 || l.bytes > 0 || len(l.manages) > 0 {
							t.Errorf("gateway %d has left: %d unknown, %d outstanding, %d bytes, %d functions", i, l.limbo.n, l.out, l.bytes, len(l.manages))
						}
						l.mu.Unlock()
					}
				}
			}
		})
	}
}
