package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"connectrpc.com/connect"

	"sango/internal/api"
	v1 "sango/internal/api/gen/sango/v1"
)

// pathsView is which gateways hosts reach volumes through.
type pathsView struct {
	Sessions map[string]int    `json:"sessions"` // of hosts, by gateway; those that did not tell are left out
	Silent   map[string]string `json:"silent,omitempty"`
	Volumes  []volumePaths     `json:"volumes"` // that are mapped, by name
	Lacking  []lackingView     `json:"lacking"` // hosts without a path to a gateway that serves
}

// volumePaths are the paths to one volume.
type volumePaths struct {
	Volume   string         `json:"volume"`
	Gateways []gatewayPaths `json:"gateways"`
}

// gatewayPaths are the paths to a volume through one gateway. State is
// optimized, non-optimized, transitioning or unavailable.
type gatewayPaths struct {
	Gateway string `json:"gateway"`
	State   string `json:"state"`
	Hosts   int    `json:"hosts"` // with a session there, by initiator name
}

// lackingView is a host, by its initiator name, that has sessions of a target,
// and none with some gateways that serve.
type lackingView struct {
	Initiator string   `json:"initiator"`
	Host      string   `json:"host,omitempty"`
	Target    string   `json:"target"`
	Gateways  []string `json:"gateways"`
}

// askPaths asks which gateways have which sessions. Every one that serves is
// asked at the same time.
func askPaths(ctx context.Context, cl *api.Client, v *statusView) error {
	targets, err := cl.ListTargets(ctx, connect.NewRequest(&v1.ListTargetsRequest{}))
	if err != nil {
		return err
	}
	var asking sync.WaitGroup
	var mu sync.Mutex
	sessions, silent := map[string][]*v1.Session{}, map[string]string{}
	for _, g := range v.Gateways {
		if !lives(g) {
			continue
		}
		asking.Go(func() {
			resp, err := cl.GetGateway(ctx, connect.NewRequest(&v1.GetGatewayRequest{Name: g.Name}))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				silent[g.Name] = api.FromWire(err).Error()
			case resp.Msg.GetGateway().GetSilent() != "":
				silent[g.Name] = resp.Msg.GetGateway().GetSilent()
			default:
				sessions[g.Name] = resp.Msg.GetGateway().GetSessions()
			}
		})
	}
	asking.Wait()
	p := pathsOf(v.Gateways, v.Owners, targets.Msg.GetTargets(), sessions)
	p.Silent = silent
	v.Paths = &p
	return nil
}

// lives reports whether hosts may have sessions with a gateway.
func lives(g gatewayView) bool { return g.State == "serving" || g.State == "draining" }

// pathsOf tells the paths from the sessions of each gateway.
func pathsOf(gateways []gatewayView, owners []ownershipView, targets []*v1.Target, sessions map[string][]*v1.Session) pathsView {
	p := pathsView{Sessions: map[string]int{}, Volumes: []volumePaths{}, Lacking: []lackingView{}}
	type pair struct{ initiator, target string }
	at, hosts := map[pair]map[string]bool{}, map[string]string{}
	for gateway, all := range sessions {
		p.Sessions[gateway] = len(all)
		for _, s := range all {
			k := pair{s.GetInitiator(), s.GetTarget()}
			if at[k] == nil {
				at[k] = map[string]bool{}
			}
			at[k][gateway] = true
			hosts[s.GetInitiator()] = s.GetHost()
		}
	}
	reach := map[string]map[string]map[string]bool{} // volume, gateway, initiator
	for _, t := range targets {
		for _, l := range t.GetLuns() {
			if reach[l.GetVolume()] == nil {
				reach[l.GetVolume()] = map[string]map[string]bool{}
			}
		}
	}
	byTarget := map[string][]pair{}
	for k := range at {
		byTarget[k.target] = append(byTarget[k.target], k)
	}
	for _, t := range targets {
		for _, k := range byTarget[t.GetName()] {
			for _, l := range t.GetLuns() {
				if only := l.GetHosts(); len(only) > 0 && !slices.Contains(only, hosts[k.initiator]) {
					continue
				}
				for gateway := range at[k] {
					r := reach[l.GetVolume()]
					if r[gateway] == nil {
						r[gateway] = map[string]bool{}
					}
					r[gateway][k.initiator] = true
				}
			}
		}
	}
	for i := range owners {
		r, mapped := reach[owners[i].Volume]
		if !mapped {
			continue
		}
		w := volumePaths{Volume: owners[i].Volume}
		for _, g := range gateways {
			w.Gateways = append(w.Gateways, gatewayPaths{g.Name, pathState(g, &owners[i]), len(r[g.Name])})
		}
		p.Volumes = append(p.Volumes, w)
	}
	for k, has := range at {
		l := lackingView{Initiator: k.initiator, Host: hosts[k.initiator], Target: k.target}
		for _, g := range gateways {
			if _, told := sessions[g.Name]; told && g.State == "serving" && !g.Drained && !has[g.Name] {
				l.Gateways = append(l.Gateways, g.Name)
			}
		}
		if len(l.Gateways) > 0 {
			p.Lacking = append(p.Lacking, l)
		}
	}
	slices.SortFunc(p.Lacking, func(a, b lackingView) int { return strings.Compare(a.Initiator+" "+a.Target, b.Initiator+" "+b.Target) })
	return p
}

// pathState is what a gateway tells hosts of its paths to a volume (ALUA).
func pathState(g gatewayView, o *ownershipView) string {
	switch {
	case !lives(g):
		return "unavailable"
	case o.State != "active" && o.State != "moving":
		return "transitioning"
	case o.Owner == g.Name:
		return "optimized"
	}
	return "non-optimized"
}

// pathsTable shows the paths.
func pathsTable(w io.Writer, p *pathsView) {
	fmt.Fprintln(w)
	for _, g := range slices.Sorted(maps.Keys(p.Sessions)) {
		fields(w, "sessions of "+g, strconv.Itoa(p.Sessions[g]))
	}
	shown := p.Volumes
	if len(shown) > manyVolumes {
		shown = slices.DeleteFunc(slices.Clone(shown), func(v volumePaths) bool {
			return !slices.ContainsFunc(v.Gateways, func(g gatewayPaths) bool { return g.State == "transitioning" })
		})
	}
	if len(shown) > 0 {
		rows := make([][]string, 0, len(shown))
		for _, v := range shown {
			by := map[string][]string{}
			for _, g := range v.Gateways {
				by[g.State] = append(by[g.State], fmt.Sprintf("%s (%d)", g.Gateway, g.Hosts))
			}
			row := []string{v.Volume}
			for _, state := range []string{"optimized", "non-optimized", "transitioning", "unavailable"} {
				row = append(row, dash(strings.Join(by[state], " ")))
			}
			rows = append(rows, row)
		}
		fmt.Fprintln(w)
		table(w, []string{"VOLUME", "OPTIMIZED", "NON-OPTIMIZED", "TRANSITIONING", "UNAVAILABLE"}, rows)
	}
	if n := len(p.Volumes) - len(shown); n > 0 {
		fmt.Fprintf(w, "%d volumes more have an optimized path; '-o json' has all of them\n", n)
	}
	for _, g := range slices.Sorted(maps.Keys(p.Silent)) {
		fields(w, "PROBLEM", "the sessions of gateway "+g+" are not known: "+p.Silent[g])
	}
	for _, l := range p.Lacking[:min(len(p.Lacking), manyVolumes)] {
		fields(w, "PROBLEM", fmt.Sprintf("%s has no session of %s with %s", l.Initiator, l.Target, strings.Join(l.Gateways, ", ")))
	}
	if n := len(p.Lacking) - manyVolumes; n > 0 {
		fmt.Fprintf(w, "%d hosts more lack a path; '-o json' has all of them\n", n)
	}
}
