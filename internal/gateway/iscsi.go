package gateway

import (
	"time"

	"sango/internal/san"
	"sango/internal/target"
)

// fileISCSI is the iscsi section of the configuration file. What is left out
// is the default of package target.
type fileISCSI struct {
	NopInterval   string `koanf:"nop_interval"`
	NopTimeout    string `koanf:"nop_timeout"`
	MaxAge        string `koanf:"max_age"`
	LoginTimeout  string `koanf:"login_timeout"`
	DrainTime     string `koanf:"drain_time"`
	Window        int    `koanf:"window"`
	MaxRecv       string `koanf:"max_recv_data_segment"`
	FirstBurst    string `koanf:"first_burst"`
	MaxBurst      string `koanf:"max_burst"`
	OutstandingR2 int    `koanf:"outstanding_r2t"`
	ImmediateData *bool  `koanf:"immediate_data"`
	InitialR2T    bool   `koanf:"initial_r2t"`
	DiscoveryCHAP bool   `koanf:"discovery_chap"`
}

// The bounds of what DESIGN R4 rests on: a lost peer is noticed in 3 to 5 s,
// since some initiators stand still for 3 s, and no command is executed that
// its host may have sent again elsewhere.
const (
	minLost = 3 * time.Second
	maxLost = 5 * time.Second
)

// config returns the settings of the section.
func (f *fileISCSI) config() (c target.Config, err error) {
	for _, x := range []struct {
		name, text string
		lo, hi     time.Duration
		to         *time.Duration
	}{
		{"nop_interval", f.NopInterval, 100 * time.Millisecond, maxLost, &c.NopInterval},
		{"nop_timeout", f.NopTimeout, 100 * time.Millisecond, maxLost, &c.NopTimeout},
		{"max_age", f.MaxAge, 500 * time.Millisecond, maxLost, &c.MaxAge},
		{"login_timeout", f.LoginTimeout, time.Second, 5 * time.Minute, &c.LoginTimeout},
		{"drain_time", f.DrainTime, 100 * time.Millisecond, 8 * time.Second, &c.DrainTime},
	} {
		if x.text == "" {
			continue
		}
		d, err := time.ParseDuration(x.text)
		if err != nil || d < x.lo || d > x.hi {
			return c, san.Errorf(san.ErrInvalid, "iscsi: %s is %q; set it between %v and %v", x.name, x.text, x.lo, x.hi)
		}
		*x.to = d
	}
	for _, x := range []struct {
		name, text string
		to         *int
	}{
		{"max_recv_data_segment", f.MaxRecv, &c.MaxRecvDataSegment},
		{"first_burst", f.FirstBurst, &c.FirstBurst},
		{"max_burst", f.MaxBurst, &c.MaxBurst},
	} {
		if x.text == "" {
			continue
		}
		n, err := san.ParseSize(x.text)
		if err != nil || n > 1<<24 {
			return c, san.Errorf(san.ErrInvalid, "iscsi: %s is %q; set it below 16M", x.name, x.text)
		}
		*x.to = int(n)
	}
	c.Window, c.OutstandingR2T, c.InitialR2T = f.Window, f.OutstandingR2, f.InitialR2T
	c.DiscoveryCHAP = f.DiscoveryCHAP
	c.NoImmediateData = f.ImmediateData != nil && !*f.ImmediateData
	return c, nil
}

// iscsi returns the configuration of the target engine.
func (c *Config) iscsi() target.Config {
	t := c.ISCSI
	t.Logger = c.Log
	t.Connections, t.SessionsPerHost = c.Limits.Connections, c.Limits.SessionsPerHost
	t.Logins, t.LoginsPerAddress = c.Limits.Logins, c.Limits.LoginsPerAddress
	t.Memory, t.ConnectionMemory, t.HostMemory = c.Limits.Memory, c.Limits.ConnectionMemory, c.Limits.HostMemory
	return t
}

// checkISCSI checks the configuration of the target engine.
func (c *Config) checkISCSI() error {
	t, err := c.iscsi().Complete()
	if err != nil {
		return san.Errorf(san.ErrInvalid, "%v", err)
	}
	if lost := t.NopInterval + t.NopTimeout; lost < minLost || lost > maxLost {
		return san.Errorf(san.ErrInvalid, "iscsi: nop_interval and nop_timeout are %v together; set them so that a lost host is noticed in %v to %v", lost, minLost, maxLost)
	}
	return nil
}
