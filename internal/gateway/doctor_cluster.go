package gateway

import (
	"context"
	"strings"
	"time"

	"sango/internal/certs"
)

// dialLook bounds the look whether somebody answers at an address.
const dialLook = 2 * time.Second

// ExamineCluster looks at what a configuration that is good says of others: above
// all whether somebody listens where the metadata is.
func ExamineCluster(ctx context.Context, cfg *Config) (out []Finding) {
	if f := cfg.Cluster.Fence; len(f) > 0 {
		out = append(out, fine("fence", "%s can be run", f[0])) // or the configuration would be refused
	}
	out = append(out, expiryFindings(cfg)...)
	if m := cfg.Meta.Member; m != nil {
		for _, s := range m.Members {
			if name, addr, _ := strings.Cut(s, "="); name != m.Name {
				out = append(out, answers(ctx, "metadata member "+name, addr, "start it, if it is to run; else look at its address and the network", m.Answers))
			}
		}
	}
	if x := cfg.Meta.External; x != nil {
		for _, e := range x.Endpoints {
			out = append(out, answers(ctx, "etcd "+e, e, "look whether it runs, at its address and at the network; most of its servers have to answer", x.Answers))
		}
	}
	return out
}

// answers tells whether who is at addr answers, and takes the certificate of this
// node. That it does not answer is no fault of this machine: it may not have been
// started yet.
func answers(ctx context.Context, check, addr, advice string, ask func(context.Context, string) error) Finding {
	ctx, cancel := context.WithTimeout(ctx, dialLook)
	defer cancel()
	err := ask(ctx, addr)
	switch {
	case err == nil:
		return fine(check, "%s answers", addr)
	case certs.Refusal(err.Error()):
		return Finding{check, FindingFailed, addr + " does not get on with the certificates of this node: " + err.Error(), "compare the files ca of both, and the certificates: docs/cluster.md says what they need"}
	}
	return Finding{check, FindingWarning, "it does not answer: " + err.Error(), advice}
}
