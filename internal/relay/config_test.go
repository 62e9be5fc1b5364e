package relay

import (
	"strings"
	"testing"
	"time"
)

func TestConfig(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"name the cluster":  func(c *Config) { c.Self.Gateway, c.Self.Incarnation = "", 0 },
		"nexuses on a link": func(c *Config) { c.Nexuses = defaultNexuses + 1 },
		"links between":     func(c *Config) { c.Links = maxLinks + 1 },
		"heartbeats":        func(c *Config) { c.Beat, c.Silence = time.Second, time.Second },
	} {
		c := Config{Cluster: testCluster, Self: memberA, Owner: &gateway{}}
		change(&c)
		if n, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", want, n, err)
		}
	}
}
