package gateway

import (
	"context"
	"fmt"
	"time"

	"sango/internal/api"
)

// Status implements api.Node.
func (n *Node) Status(context.Context) (api.Status, error) {
	st := api.Status{
		Gateway: n.cfg.Name, Version: n.cfg.Version, Dir: n.cfg.Dir, Started: n.started,
		Draining: n.draining.Load(), ClockJumps: int(n.clock.jumps.Load()),
	}
	addSpace(&st, n.cfg.Cluster.Volumes)
	addExpiry(&st, &n.cfg, time.Now())
	if st.ClockJumps > 0 {
		st.Problems = append(st.Problems, fmt.Sprintf("the clock jumped %d times since the start; let an NTP service steer it slowly", st.ClockJumps))
	}
	for _, g := range n.gateways() {
		if g.member != nil && !g.member.runtime.Right() {
			st.Waiting = append(st.Waiting, g.cfg.Name)
			st.Problems = append(st.Problems, fmt.Sprintf("gateway %s may not serve now: the metadata does not confirm its heartbeats; it serves again when that does", g.cfg.Name))
		}
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
