package cli

import (
	"context"
	"fmt"

	"connectrpc.com/connect"

	"sango/internal/api"
	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/gateway"
)

// clusterFindings looks at what a node has to do with others, c being what they
// agree on; nil: it serves alone. old: why it is only what the node knew last.
func clusterFindings(ctx context.Context, cl *api.Client, c *v1.Cluster, old string) (out []gateway.Finding) {
	if c == nil {
		return nil
	}
	if old != "" {
		return []gateway.Finding{{Check: "metadata", State: gateway.FindingFailed, Detail: old, Advice: majority}}
	}
	if name := c.GetCoordinator(); name != "" {
		out = append(out, gateway.Finding{Check: "coordinator", State: gateway.FindingOK, Detail: "gateway " + name})
	} else {
		out = append(out, gateway.Finding{
			Check: "coordinator", State: gateway.FindingFailed, Detail: "there is none, so that volumes of a gateway that dies go to nobody",
			Advice: "that ends by itself within seconds; if it does not, look into the logs of the gateways",
		})
	}
	for _, g := range c.GetGateways() {
		out = append(out, gatewayFinding(g))
	}
	out = append(out, unopened(c)...)
	return append(out, memberFindings(ctx, cl)...)
}

// gatewayFinding says what the state of a gateway means.
func gatewayFinding(g *v1.Gateway) gateway.Finding {
	check := "gateway " + g.GetName()
	switch state := g.GetState(); {
	case state == "dead" && !g.GetHarmless() && g.GetVolumes() > 0: // else nothing waits for it
		return gateway.Finding{
			Check: check, State: gateway.FindingWarning, Detail: fmt.Sprintf("it is dead, and may not be off; it has %d volumes", g.GetVolumes()),
			Advice: "start it; or look at its machine, and say that it is off with 'sango gateway confirm-dead " + g.GetName() + "'",
		}
	case state == "dead":
		return gateway.Finding{Check: check, State: gateway.FindingWarning, Detail: "it is dead", Advice: "start it, or take it away with 'sango gateway remove " + g.GetName() + "'"}
	case state == "waiting":
		return gateway.Finding{Check: check, State: gateway.FindingFailed, Detail: "it may not serve now: the metadata does not confirm its heartbeats", Advice: majority}
	case state == "joining":
		return gateway.Finding{Check: check, State: gateway.FindingWarning, Detail: "it has registered, and is no member: it is starting, or has not run since a restore", Advice: "start it, or take it away with 'sango gateway remove " + g.GetName() + "'"}
	default:
		return gateway.Finding{Check: check, State: gateway.FindingOK, Detail: state}
	}
}

// majority is what to do where the metadata does not answer.
const majority = "most of its members have to run and to reach each other: start them"

// unopened are the volumes that no gateway has, since they can't be opened.
func unopened(c *v1.Cluster) (out []gateway.Finding) {
	for _, o := range c.GetVolumes() {
		w := viewOwnership(o)
		if why := trouble(w); why != "" && w.State != "active" && w.State != "lost" {
			out = append(out, gateway.Finding{
				Check: "volume " + w.Volume, State: gateway.FindingFailed, Detail: why,
				Advice: fmt.Sprintf("put that right: the gateways try again, with pauses of up to a minute; 'sango volume move %s GATEWAY' has one try at once. Where the bytes are lost, 'sango volume delete %s' takes it away", w.Volume, w.Volume),
			})
		}
	}
	return out
}

// memberFindings looks at the members that keep the metadata.
func memberFindings(ctx context.Context, cl *api.Client) []gateway.Finding {
	const check = "metadata"
	resp, err := cl.GetCluster(ctx, connect.NewRequest(&v1.GetClusterRequest{}))
	if err != nil {
		return []gateway.Finding{{Check: check, State: gateway.FindingFailed, Detail: err.Error(), Advice: majority}}
	}
	return membersFound(resp.Msg.GetMembers())
}

// membersFound says what members that are in these states mean.
func membersFound(all []*v1.Member) (out []gateway.Finding) {
	votes, silent, unasked := 0, 0, 0
	for _, m := range all {
		switch m.GetState() {
		case "new", "learner":
			out = append(out, gateway.Finding{
				Check: "metadata member " + m.GetName(), State: gateway.FindingWarning, Detail: "it was added, and has no vote yet", Advice: "start it, or take it out with 'sango cluster remove'",
			})
		case "silent":
			votes, silent = votes+1, silent+1
			out = append(out, gateway.Finding{Check: "metadata member " + m.GetName(), State: gateway.FindingWarning, Detail: "it does not answer at " + m.GetPeer(), Advice: "start it, or look at the network and at its certificate"})
		case "unasked":
			votes, unasked = votes+1, unasked+1
			out = append(out, gateway.Finding{
				Check: "metadata member " + m.GetName(), State: gateway.FindingWarning, Detail: "it has no client address, so that this node neither asks it nor uses it",
				Advice: "set client: in its configuration, and list it in endpoints: of this node",
			})
		default:
			votes++
		}
	}
	f := gateway.Finding{Check: "metadata", State: gateway.FindingOK, Detail: fmt.Sprintf("%d of %d members answer", votes-silent-unasked, votes)}
	if unasked > 0 {
		f.Detail += fmt.Sprintf(", %d were not asked", unasked)
	}
	if spare := (votes-1)/2 - silent; spare <= 0 {
		f.State, f.Advice = gateway.FindingWarning, "have three members or more, and all of them running: 'sango cluster members' shows them"
		f.Detail += ", and none of them may be lost"
	}
	return append(out, f)
}
