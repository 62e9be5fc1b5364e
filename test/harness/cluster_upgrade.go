package harness

import (
	"context"
	"fmt"
	"path/filepath"
	"syscall"
	"time"
)

// endTime is what a gateway is given to end.
const endTime = time.Minute

// End has gateway i end by itself, as whoever upgrades it does, and waits for that; Start starts it again.
func (c *Cluster) End(ctx context.Context, i int) error {
	m := c.gateways[i]
	m.mu.Lock()
	m.wanted = false
	done := m.done
	m.mu.Unlock()
	if err := m.signal(syscall.SIGTERM); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("gateway %s does not end: %w\n%s", m.name, ctx.Err(), m.out.String())
	}
}

// Use has gateway i run another program from its next start on.
func (c *Cluster) Use(i int, binary string) { c.gateways[i].binary = binary }

// Name returns the name of gateway i.
func (c *Cluster) Name(i int) string { return c.gateways[i].name }

// Said returns the end of what gateway i wrote.
func (c *Cluster) Said(i int) string { return c.gateways[i].out.String() }

// Config returns the configuration file of gateway i.
func (c *Cluster) Config(i int) string { return filepath.Join(c.gateways[i].dir, "config.yaml") }
