package meta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/server/v3/embed"

	"sango/internal/san"
)

// peerTime bounds the question who the members are, to one of them.
const peerTime = 3 * time.Second

// maxPeers bounds the answer, in bytes.
const maxPeers = 1 << 20

// peer is another member, and where it is reached.
type peer struct{ name, addr string }

// peerInfo is a member as others tell of it on their peer addresses.
type peerInfo struct {
	Name       string   `json:"name"`
	PeerURLs   []string `json:"peerURLs"`
	ClientURLs []string `json:"clientURLs"`
}

// others are the other members that the configuration lists.
func (m *Member) others() (all []peer) {
	for _, s := range m.Members {
		if name, addr, _ := strings.Cut(s, "="); name != m.Name && addr != m.Peer {
			all = append(all, peer{name, addr})
		}
	}
	return all
}

// ask asks another member who the members are.
func (m *Member) ask(ctx context.Context, p peer) (all []peerInfo, err error) {
	t := &http.Transport{DisableKeepAlives: true}
	if t.TLSClientConfig, err = m.TLS.config(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, peerTime)
	defer cancel()
	u := m.url(p.addr)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String()+"/members", http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := t.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s", resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxPeers)).Decode(&all); err != nil {
		return nil, fmt.Errorf("what answers is no member: %w", err)
	}
	return all, nil
}

// Answers asks another member, at its address, whether it is there and accepts
// the certificate of this one.
func (m *Member) Answers(ctx context.Context, addr string) error {
	_, err := m.ask(ctx, peer{addr: addr})
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err
	}
	return err
}

// checkJoin refuses the start of a member in dir, which holds nothing of it, that
// the others know as one that has run. It has confirmed what it does not know
// any more: etcd would end the process as soon as the leader says how much.
func (m *Member) checkJoin(ctx context.Context, dir string) error {
	if !m.Join {
		return nil // etcd looks by itself
	}
	if has, err := holdsStore(dir); has || err != nil {
		return err
	}
	own := m.url(m.Peer)
	for _, p := range m.others() {
		all, err := m.ask(ctx, p)
		if err != nil {
			continue // where none answers, etcd says so
		}
		for _, x := range all {
			if !slices.Contains(x.PeerURLs, own.String()) {
				continue
			}
			if x.Name == "" && len(x.ClientURLs) == 0 {
				return nil // it was added, and has not run
			}
			return san.Errorf(san.ErrRefused, "metadata member %s can't join: the cluster knows it as one that has run, and %s holds nothing of it (any more): run 'sango cluster remove %s' and then 'sango cluster add %s %s' on another node, and start it again", m.Name, dir, x.Name, m.Name, m.Peer)
		}
	}
	return nil
}

// awaited says what the start of a member waits for: which others don't answer,
// and why not.
func (m *Member) awaited(ctx context.Context, e *embed.Etcd) string {
	var others []peer
	for _, x := range e.Server.Cluster().Members() {
		if x.ID != e.Server.MemberID() && len(x.PeerURLs) > 0 {
			others = append(others, peer{x.Name, address(x.PeerURLs)})
		}
	}
	why := make([]string, len(others))
	var asks sync.WaitGroup
	for i, p := range others {
		asks.Go(func() {
			if _, err := m.ask(ctx, p); err != nil {
				if u := (*url.Error)(nil); errors.As(err, &u) {
					err = u.Err
				}
				why[i] = fmt.Sprintf("%s at %s does not answer (%v)", p.name, p.addr, err)
			}
		})
	}
	asks.Wait()
	why = slices.DeleteFunc(why, func(s string) bool { return s == "" })
	slices.Sort(why)
	if len(why) == 0 {
		return "a majority of the metadata members"
	}
	return "a majority of the metadata members: " + strings.Join(why, ", ")
}
