package meta

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"

	"sango/internal/pause"
)

// Current is a linearizable read of the store's revision: that of the last
// transaction that was committed before the call, or a later one. Whoever has
// been told of it by Watch has seen everything that was committed before.
func (s *Store) Current(ctx context.Context) (int64, error) {
	resp, err := s.read(ctx, prefix+"schema", clientv3.WithKeysOnly())
	if err != nil {
		return 0, err
	}
	s.asked.want(resp.Header.Revision)
	return resp.Header.Revision, nil
}

// leading makes a watch fail whose member has lost its leader, instead of
// being told nothing. In the own process there is nobody to ask for that;
// there the heartbeat of a gateway finds it out.
func (s *Store) leading(ctx context.Context) context.Context {
	if s.opts.External != nil {
		return clientv3.WithRequireLeader(ctx)
	}
	return ctx
}

// streams numbers the streams of watches.
var streams atomic.Uint64

// ownStream gives a watch a stream of its own, among all of the client: watches
// whose contexts have the same metadata share one. How far a stream is, is told
// to all watches of it, and the answer may be older than one of them: that would
// hear of a revision before it was told what had changed up to it. ctx is that of
// the watch and of RequestProgress.
func ownStream(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "sango-watch", strconv.FormatUint(streams.Add(1), 10))
}

// asked sees to it that watches tell a revision that somebody waits for. The
// last revision may hold nothing that a watch would be told of, but other keys
// (what the gateways of one process or of several say of themselves, or what
// another program writes); the store is then asked to tell how far it is.
type asked struct {
	mu      sync.Mutex // guards what follows, and told of the watches
	wanted  int64
	watches map[*asking]struct{}
}

// asking is what one watch knows of it.
type asking struct {
	a    *asked
	told int64
	wake chan struct{} // something is wanted
}

// want asks the watches to tell rev.
func (a *asked) want(rev int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wanted = max(a.wanted, rev)
	for w := range a.watches {
		if w.told < a.wanted {
			select {
			case w.wake <- struct{}{}:
			default:
			}
		}
	}
}

// seen notes that the watch was told rev.
func (w *asking) seen(rev int64) {
	w.a.mu.Lock()
	w.told = max(w.told, rev)
	w.a.mu.Unlock()
}

func (w *asking) behind() bool {
	w.a.mu.Lock()
	defer w.a.mu.Unlock()
	return w.told < w.a.wanted
}

// progressAgain is the wait before the store is asked again: it does not answer
// while a watch has still to catch up.
const progressAgain = 20 * time.Millisecond

// watch asks for progress of the watch that has ctx (of ownStream) and was told
// rev, whenever that is wanted. stop ends that.
func (a *asked) watch(ctx context.Context, cli *clientv3.Client, rev int64) (w *asking, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	w = &asking{a: a, told: rev, wake: make(chan struct{}, 1)}
	a.mu.Lock()
	if a.watches == nil {
		a.watches = map[*asking]struct{}{}
	}
	a.watches[w] = struct{}{}
	if rev < a.wanted {
		w.wake <- struct{}{}
	}
	a.mu.Unlock()
	var running sync.WaitGroup
	running.Go(func() {
		for {
			select {
			case <-w.wake:
			case <-ctx.Done():
				return
			}
			for w.behind() && ctx.Err() == nil {
				if err := cli.RequestProgress(ctx); err != nil {
					break // the watch ends too, and tells why
				}
				pause.For(ctx, progressAgain)
			}
		}
	})
	return w, func() {
		cancel()
		running.Wait()
		a.mu.Lock()
		delete(a.watches, w)
		a.mu.Unlock()
	}
}
