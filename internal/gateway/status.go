package gateway

import (
	"context"
	"fmt"
	"syscall"

	"sango/internal/api"
	"sango/internal/san"
)

// Space below which a node complains.
const (
	lowSpace        = 1 << 30 // bytes
	lowSpacePercent = 3
)

// space returns the free and total bytes of the filesystem that holds dir.
func space(dir string) (free, total int64, err error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, 0, err
	}
	return int64(st.Bavail) * st.Bsize, int64(st.Blocks) * st.Bsize, nil
}

// spaceProblem says what is wrong with the free space, "" if nothing is.
func spaceProblem(dir string, free, total int64) string {
	if free >= lowSpace && free >= total/100*lowSpacePercent {
		return ""
	}
	return fmt.Sprintf("the disk that holds %s has only %s of %s free; volumes stop taking writes when it is full: free space, delete snapshots or move the directory", dir, san.FormatSize(free), san.FormatSize(total))
}

// Status implements api.Node.
func (n *Node) Status(context.Context) (api.Status, error) {
	st := api.Status{
		Gateway: n.cfg.Name, Version: n.cfg.Version, Dir: n.cfg.Dir, Started: n.started,
		Draining: n.draining.Load(), ClockJumps: int(n.clock.jumps.Load()),
	}
	free, total, err := space(n.cfg.Dir)
	if err != nil {
		st.Problems = append(st.Problems, fmt.Sprintf("the directory %s can't be looked at: %v", n.cfg.Dir, err))
	} else {
		st.StoreFree, st.StoreSize = free, total
		if p := spaceProblem(n.cfg.Dir, free, total); p != "" {
			st.Problems = append(st.Problems, p)
		}
	}
	if st.ClockJumps > 0 {
		st.Problems = append(st.Problems, fmt.Sprintf("the clock jumped %d times since the start; let an NTP service steer it slowly", st.ClockJumps))
	}
	n.view.mu.RLock()
	defer n.view.mu.RUnlock()
	if n.view.failed != nil {
		st.Problems = append(st.Problems, fmt.Sprintf("changes are not put into effect any more: %v; restart the node", n.view.failed))
	}
	for _, u := range n.view.units {
		if err := u.dev.problem(); err != nil {
			st.Problems = append(st.Problems, fmt.Sprintf("volume %s does not open: %v; 'sango volume check' looks for damage", u.unit.Volume().Name, err))
		}
	}
	return st, nil
}
