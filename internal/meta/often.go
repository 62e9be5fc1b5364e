package meta

import (
	"sync"
	"time"
)

// oftenEvery is how often a warning of etcd is told. Where a machine is slow for
// a while etcd has some of one kind in each second.
const oftenEvery = time.Minute

// often bounds how often each warning is told.
type often struct {
	mu    sync.Mutex
	kinds map[string]*warned // by text; etcd's do not vary
}

type warned struct {
	last   time.Time // told
	untold int       // since then
	before int       // untold before that
}

func newOften() *often { return &often{kinds: map[string]*warned{}} }

// tells reports whether a warning that comes at a time is to be told; if not, it
// is counted.
func (o *often) tells(text string, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	k := o.kinds[text]
	if k == nil {
		o.kinds[text] = &warned{last: now}
		return true
	}
	if now.Sub(k.last) < oftenEvery {
		k.untold++
		return false
	}
	k.last, k.before, k.untold = now, k.untold, 0
	return true
}

// more returns how many like the one that is being told were not.
func (o *often) more(text string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if k := o.kinds[text]; k != nil {
		return k.before
	}
	return 0
}
