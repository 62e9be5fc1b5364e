package ublk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sango/internal/attach/ublk/uapi"
)

// queue is one of the disk's queues. Its goroutine (serve) owns all but what mu guards.
type queue struct {
	disk     *Disk
	id       uint16
	userCopy bool
	tid      int // of the thread
	ring     *uapi.Ring
	event    *uapi.Event // wakes serve
	descs    *uapi.Descs
	mem      []byte // the buffers of all slots
	slots    []slot
	gone     int // tags that the driver has taken back

	inflight sync.WaitGroup // requests between begin and finish

	mu     sync.Mutex // guards the rest
	asleep bool       // serve waits in the kernel and has to be woken
	quit   bool       // serve is to leave
	done   []uint16   // tags whose requests have ended
	spare  []uint16   // the other buffer of done
}

// userEvent is the user data of the event's read; that of commands is the tag.
const userEvent = ^uint64(0)

// onOwnThread runs f on a thread that ends with it: the driver takes commands of a queue from the thread that began,
// until that is gone.
func onOwnThread(f func()) {
	runtime.LockOSThread() // never undone: a goroutine that ends locked takes its thread with it
	if unix.Gettid() != os.Getpid() {
		f()
		return
	}
	// The main thread stays for ever. While it is locked here the next goroutine gets another one.
	done := make(chan struct{})
	go func() {
		defer close(done)
		onOwnThread(f)
	}()
	<-done
	runtime.UnlockOSThread()
}

// run is the queue's life. It tells ready when all is there that can be had without the disk's file, then waits for
// Disk.begin, and tells ready again when all requests are fetched or can't be. It returns when nothing uses the queue any
// more.
func (q *queue) run(ready chan<- error) (err error) {
	err = q.prepare()
	ready <- err
	if err == nil {
		<-q.disk.begin
		if q.leaving() {
			return q.close()
		}
		err = q.fetch()
		ready <- err
	}
	if err == nil {
		err = q.serve()
	}
	return errors.Join(err, q.close())
}

func (q *queue) prepare() error {
	q.tid = unix.Gettid()
	// Memory that this thread needs in the kernel must not be had by writing to this very disk.
	if err := unix.Prctl(unix.PR_SET_IO_FLUSHER, 1, 0, 0, 0); err != nil {
		q.disk.log.Warn("a queue may wait for its own disk when memory is short: it takes CAP_SYS_RESOURCE to say that it must not", "err", err)
	}
	depth := int(q.disk.info.Depth)
	size := int(q.disk.info.MaxIOBytes)
	var err error
	if q.mem, err = uapi.Map(depth * size); err != nil {
		return err
	}
	if q.disk.opt.Lock {
		if err := unix.Mlock(q.mem); err != nil {
			return fmt.Errorf("lock %d bytes into memory: %w: raise RLIMIT_MEMLOCK, or take fewer queues, less depth or shorter transfers", len(q.mem), err)
		}
	}
	q.slots = make([]slot, depth)
	for i := range q.slots {
		s := &q.slots[i]
		s.q, s.tag, s.buf = q, uint16(i), q.mem[i*size:(i+1)*size:(i+1)*size]
	}
	q.done, q.spare = make([]uint16, 0, depth), make([]uint16, 0, depth)
	q.ring, err = setupRing(uint32(depth) + 1)
	return err
}

// setupRing makes the ring of a queue, in the cheapest way that the kernel knows.
func setupRing(entries uint32) (r *uapi.Ring, err error) {
	for _, flags := range []uint32{
		uapi.SetupCoopTaskrun | uapi.SetupSingleIssuer | uapi.SetupDeferTaskrun, // Linux 6.1
		uapi.SetupCoopTaskrun | uapi.SetupSingleIssuer,                          // 6.0
		0,
	} {
		if r, err = uapi.Setup(entries, flags); !errors.Is(err, unix.EINVAL) {
			return r, err
		}
	}
	return nil, err
}

// fetch asks the driver for a request on each tag.
func (q *queue) fetch() (err error) {
	if q.descs, err = uapi.MapDescs(q.disk.char, q.id, len(q.slots)); err != nil {
		return err
	}
	if err := q.ring.UseFile(q.disk.char); err != nil {
		return err
	}
	if err := q.event.Put(q.ring, userEvent); err != nil {
		return err
	}
	for i := range q.slots {
		if err := q.put(uapi.IOFetch, &q.slots[i]); err != nil {
			return err
		}
	}
	if err := q.ring.Enter(0); err != nil {
		return err
	}
	for { // what is wrong with a command is said at once
		switch user, res, ok := q.ring.Next(); {
		case !ok:
			return nil
		case user != userEvent && res < 0:
			return fmt.Errorf("fetch requests of queue %d: %w", q.id, unix.Errno(-res))
		}
	}
}

func (q *queue) put(op uapi.Command, s *slot) error {
	c := uapi.IO{Queue: q.id, Tag: s.tag, Result: s.res}
	if !q.userCopy {
		c.Addr = uapi.Address(s.buf)
	}
	return q.ring.PutIO(op, c, uint64(s.tag))
}

// serve handles requests until the driver has taken back all tags or it is told to leave.
func (q *queue) serve() error {
	for {
		if err := q.commit(); err != nil {
			return err
		}
		if q.gone == len(q.slots) {
			return nil
		}
		sleep, quit := q.sleep()
		if quit {
			return nil
		}
		if !sleep {
			continue
		}
		err := q.ring.Enter(1)
		q.wake()
		if err != nil {
			return err
		}
		if err := q.reap(); err != nil {
			return err
		}
	}
}

// reap takes what the kernel has completed, and begins the requests among it.
func (q *queue) reap() error {
	for {
		user, res, ok := q.ring.Next()
		switch {
		case !ok:
			return nil
		case user == userEvent:
			if err := q.event.Put(q.ring, userEvent); err != nil {
				return err
			}
		case user >= uint64(len(q.slots)):
			return fmt.Errorf("queue %d: the kernel completed a command of tag %d", q.id, user)
		case res == 0:
			s := &q.slots[user]
			s.begin(q.descs.At(s.tag))
		default:
			q.gone++
			if errno := unix.Errno(-res); errno != unix.ENODEV && errno != unix.ECANCELED {
				return fmt.Errorf("queue %d: the driver refused a command of tag %d: %w", q.id, user, errno)
			}
		}
	}
}

// commit tells the driver of all requests that have ended, and asks for the next ones.
func (q *queue) commit() error {
	q.mu.Lock()
	done := q.done
	q.done, q.spare = q.spare[:0], done
	q.mu.Unlock()
	for _, tag := range done {
		if err := q.put(uapi.IOCommitAndFetch, &q.slots[tag]); err != nil {
			return err
		}
	}
	return nil
}

// sleep notes that serve goes to wait in the kernel, unless there is something to do.
func (q *queue) sleep() (ok, quit bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.asleep = len(q.done) == 0 && !q.quit
	return q.asleep, q.quit
}

func (q *queue) wake() {
	q.mu.Lock()
	q.asleep = false
	q.mu.Unlock()
}

// push notes that a request has ended; true: serve has to be woken.
func (q *queue) push(tag uint16) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.done = append(q.done, tag)
	wake := q.asleep
	q.asleep = false
	return wake
}

// leave makes serve return as it is, with requests under way.
func (q *queue) leave() error {
	q.mu.Lock()
	defer q.mu.Unlock() // the event is there while serve sleeps
	wake := q.asleep
	q.asleep, q.quit = false, true
	if !wake {
		return nil
	}
	return q.event.Wake()
}

func (q *queue) leaving() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.quit
}

// close gives up what only the queue's thread has and waits for requests that are still with the device, for they use
// the buffers.
func (q *queue) close() error {
	var err error
	if q.descs != nil {
		err = q.descs.Unmap()
	}
	q.inflight.Wait()
	return err
}

// release gives up the rest. By the end of the thread the driver learns that nobody serves the queue any more; the ring
// is closed after it, for when both happen at once the driver may miss it (Linux 6.12), and the buffers last.
func (q *queue) release() error {
	var errs []error
	if q.tid != 0 {
		name := fmt.Sprintf("/proc/self/task/%d", q.tid)
		errs = append(errs, poll(context.Background(), 5*time.Second, func() (bool, error) {
			_, err := os.Stat(name)
			return err != nil, nil
		}))
	}
	if q.ring != nil {
		errs = append(errs, q.ring.Close())
	}
	return errors.Join(append(errs, q.event.Close(), uapi.Unmap(q.mem))...)
}

// copyIn and copyOut move the data of a request with user copy.
func (q *queue) copyIn(s *slot) error {
	return q.copy(s, unix.Pread)
}

func (q *queue) copyOut(s *slot) error {
	return q.copy(s, unix.Pwrite)
}

func (q *queue) copy(s *slot, call func(int, []byte, int64) (int, error)) error {
	b := s.vec[0]
	off := uapi.CopyOffset(q.id, s.tag)
	for len(b) > 0 {
		n, err := call(q.disk.char, b, off)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case n == 0:
			return errors.New("the request is shorter than it said")
		default:
			b, off = b[n:], off+int64(n)
		}
	}
	return nil
}
