package meta

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver"

	"sango/internal/san"
)

// configure makes etcd a member of a cluster.
func (m *Member) configure(cfg *embed.Config) {
	cfg.Name = m.Name
	peer := m.url(m.Peer)
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.ListenClientUrls = nil
	// A member without a name for clients counts as one that never started.
	cfg.AdvertiseClientUrls = []url.URL{{Scheme: "unix", Host: "sango"}}
	if m.Client != "" {
		client := m.url(m.Client)
		cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	}
	members := m.Members
	if len(members) == 0 {
		members = []string{m.Name + "=" + m.Peer}
	}
	var all []string
	for _, s := range members {
		name, addr, _ := strings.Cut(s, "=")
		u := m.url(addr)
		all = append(all, name+"="+u.String())
	}
	cfg.InitialCluster = strings.Join(all, ",")
	if m.Join {
		cfg.ClusterState = embed.ClusterStateFlagExisting
	}
	cfg.TickMs, cfg.ElectionMs = uint(m.Tick.Milliseconds()), uint(m.Election.Milliseconds())
	if !m.TLS.empty() {
		t := transport.TLSInfo{CertFile: m.TLS.Cert, KeyFile: m.TLS.Key, TrustedCAFile: m.TLS.CA, ClientCertAuth: true}
		cfg.PeerTLSInfo, cfg.ClientTLSInfo = t, t
	}
}

// settle makes a member that runs one that counts: its address is the one of
// its configuration, and it has a vote.
func (m *Member) settle(ctx context.Context, s *etcdserver.EtcdServer, cli *clientv3.Client, log *slog.Logger) error {
	id := uint64(s.MemberID())
	peer := m.url(m.Peer)
	for _, o := range s.Cluster().Members() {
		if uint64(o.ID) != id || slices.Equal(o.PeerURLs, []string{peer.String()}) {
			continue
		}
		if _, err := cli.MemberUpdate(ctx, id, []string{peer.String()}); err != nil {
			return san.Errorf(san.ErrUnavailable, "the address of metadata member %s can't be changed to %s: %v", m.Name, m.Peer, err)
		}
		log.Info("metadata member has a new address", "member", m.Name, "peer", m.Peer)
	}
	if !s.IsLearner() {
		return nil
	}
	log.Info("metadata member is catching up", "member", m.Name)
	tick := time.NewTicker(promoteAgain)
	defer tick.Stop()
	for {
		_, err := cli.MemberPromote(ctx, id)
		if err == nil || errors.Is(err, rpctypes.ErrMemberNotLearner) {
			log.Info("metadata member has a vote now", "member", m.Name)
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return san.Errorf(san.ErrUnavailable, "metadata member %s did not become one with a vote (%v): start the other members, and this one again", m.Name, err)
		}
	}
}

// leaveTime bounds the search for another leader when a leader ends: without a
// majority there is none.
const leaveTime = time.Second

// leave ends the server of a member, which hands the lead on if it has it.
func (s *Store) leave() {
	srv := s.etcd.Server
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	if srv.Leader() == srv.MemberID() {
		for _, m := range srv.Cluster().Members() {
			if m.ID == srv.MemberID() || m.IsLearner || !answers(ctx, address(m.PeerURLs)) {
				continue
			}
			if err := srv.MoveLeader(ctx, uint64(srv.MemberID()), uint64(m.ID)); err == nil {
				break
			}
		}
	}
	srv.HardStop()
}

// promoteAgain is the wait before a member asks again whether it has caught up.
const promoteAgain = 100 * time.Millisecond

// startErr says what etcd means that does not start.
func startErr(dir string, o Options, err error) error {
	text := err.Error()
	switch {
	case o.Member == nil:
	case strings.Contains(text, "has already been bootstrapped"):
		return san.Errorf(san.ErrRefused, "metadata member %s: the cluster knows it, but %s holds nothing of it: take it out with 'sango cluster remove %s' on another node, add it again with 'sango cluster add %s %s', and write into its configuration what that prints ('join: true')", o.Member.Name, dir, o.Member.Name, o.Member.Name, o.Member.Peer)
	case strings.Contains(text, "permanently removed"):
		return san.Errorf(san.ErrRefused, "metadata member %s was removed from the cluster: to come back it has to be added with 'sango cluster add %s', and to start without %s", o.Member.Name, o.Member.Name, dir)
	case strings.Contains(text, "cannot fetch cluster info"):
		return san.Errorf(san.ErrUnavailable, "metadata member %s can't join: none of the members that it lists answers at its peer address: start them, and check addresses and certificates", o.Member.Name)
	case strings.Contains(text, "member count is unequal"), strings.Contains(text, "unmatched member"):
		return san.Errorf(san.ErrRefused, "metadata member %s can't join: its members are not those of the cluster: add it with 'sango cluster add' on another node, and list the members as that prints them", o.Member.Name)
	case strings.Contains(text, "validating peerURLs"), strings.Contains(text, "no match found for existing member"):
		return san.Errorf(san.ErrRefused, "metadata member %s can't join: of its members, which are %s, some have other addresses in the cluster: correct members, and peer if it is its own, as 'sango cluster members' on another node shows them", o.Member.Name, strings.Join(o.Member.Members, ", "))
	case strings.Contains(text, "address already in use"):
		return san.Errorf(san.ErrRefused, "metadata member %s: %v: 'ss -tlnp' shows which process has the port: stop it, or choose another one", o.Member.Name, err)
	case strings.Contains(text, "cannot assign requested address"):
		return san.Errorf(san.ErrRefused, "metadata member %s: %v: choose an address of this machine, as 'ip addr' shows them", o.Member.Name, err)
	}
	return fmt.Errorf("metadata in %s: %w; if the files are damaged, restore the directory from a backup", dir, err)
}
