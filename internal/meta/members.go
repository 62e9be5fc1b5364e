package meta

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"sango/internal/pause"
	"sango/internal/san"
)

// MemberInfo is what is known of one member.
type MemberInfo struct {
	ID     uint64
	Name   string // empty: it has never run, and was added by another program
	Peer   string // ip:port; empty: it has none
	Client string // ip:port; empty: it has none
	State  string // one of the states below
	Self   bool   // it is the one of this process
}

// The states of a member.
const (
	MemberLeader   = "leader"
	MemberFollower = "follower" // it answers, and has a vote
	MemberLearner  = "learner"  // it answers, and catches up
	MemberSilent   = "silent"   // it does not answer
	MemberNew      = "new"      // it was added, and has never run
	MemberUnasked  = "unasked"  // whether it answers can't be told: nodes without a member have no address of it
)

// lookTime bounds a look whether a member answers.
const lookTime = time.Second

// Members lists the members of the store.
func (s *Store) Members(ctx context.Context) ([]MemberInfo, error) {
	list, err := s.memberList(ctx)
	if err != nil {
		return nil, err
	}
	names, err := s.newNames(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]MemberInfo, len(list))
	var looks sync.WaitGroup
	for i, m := range list {
		out[i] = MemberInfo{ID: m.ID, Name: m.Name, Peer: address(m.PeerURLs), Client: address(m.ClientURLs), State: MemberFollower}
		o := &out[i]
		switch {
		case s.etcd != nil && m.ID == uint64(s.etcd.Server.MemberID()):
			o.Self = true
		case m.Name == "":
			o.Name, o.State = names[m.ID], MemberNew
		case s.etcd == nil && len(addresses(m.ClientURLs)) == 0:
			o.State = MemberUnasked
		default:
			looks.Go(func() {
				if !s.heard(ctx, m) {
					o.State = MemberSilent
				}
			})
		}
	}
	looks.Wait()
	leader := s.leader(ctx)
	for i, m := range list {
		switch o := &out[i]; {
		case m.ID == leader && o.State == MemberUnasked:
			o.State = MemberLeader // as one says that was asked
		case o.State != MemberFollower:
		case m.IsLearner:
			o.State = MemberLearner
		case m.ID == leader:
			o.State = MemberLeader
		}
	}
	slices.SortFunc(out, func(a, b MemberInfo) int { return strings.Compare(a.Name+a.Peer, b.Name+b.Peer) })
	return out, nil
}

// heard asks a member whether it answers, and takes the certificate of this node.
func (s *Store) heard(ctx context.Context, m *etcdserverpb.Member) bool {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	switch {
	case s.etcd == nil: // clients may be kept from where members reach each other
		return slices.ContainsFunc(m.ClientURLs, func(u string) bool { return s.opts.External.Answers(ctx, u) == nil })
	case s.opts.Member == nil:
		return false
	}
	return s.opts.Member.Answers(ctx, address(m.PeerURLs)) == nil
}

func (s *Store) memberList(ctx context.Context) (members []*etcdserverpb.Member, err error) {
	err = askAgain(ctx, func(ctx context.Context) error {
		resp, err := s.cli.MemberList(ctx)
		if err == nil {
			members = resp.Members
		}
		return err
	})
	return members, err
}

// leader returns the id of the leader, 0 where it can't be told.
func (s *Store) leader(ctx context.Context) uint64 {
	if s.etcd != nil {
		return s.etcd.Server.Lead()
	}
	for _, e := range s.opts.External.Endpoints {
		ctx, cancel := context.WithTimeout(ctx, lookTime)
		st, err := s.cli.Status(ctx, e)
		cancel()
		if err == nil {
			return st.Leader
		}
	}
	return 0
}

// answers reports whether somebody listens at addr.
func answers(ctx context.Context, addr string) bool {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// addresses returns the ip:port of the URLs that have one.
func addresses(urls []string) (all []string) {
	for _, s := range urls {
		if u, err := url.Parse(s); err == nil && u.Port() != "" {
			all = append(all, u.Host)
		}
	}
	return all
}

// address returns the first of addresses, "" where there is none.
func address(urls []string) string {
	if all := addresses(urls); len(all) > 0 {
		return all[0]
	}
	return ""
}

// membersChange says why members can't be changed through this store.
func (s *Store) membersChange() error {
	switch {
	case s.opts.External != nil:
		return san.Errorf(san.ErrRefused, "the metadata is in an etcd that others run, at %s: change its members with their tools, such as etcdctl", s.opts.External.where())
	case s.opts.Member == nil:
		return san.Errorf(san.ErrRefused, "the metadata of this node is alone and has no address: give it one with 'cluster: {peer: IP:PORT}' in the configuration, and start the node again")
	}
	return nil
}

// AddMember makes room for a member, which then has to be started with a
// configuration that joins; it has a vote once it has caught up. It returns
// all members as that lists them.
func (s *Store) AddMember(ctx context.Context, name, peer string) ([]string, error) {
	if err := s.membersChange(); err != nil {
		return nil, err
	}
	if err := san.CheckName("metadata member", name); err != nil {
		return nil, err
	}
	if ap, err := netip.ParseAddrPort(peer); err != nil || ap.Port() == 0 || ap.Addr().IsUnspecified() {
		return nil, san.Errorf(san.ErrInvalid, "metadata address %q: write it as IP:PORT, one that the other members reach", peer)
	}
	list, err := s.memberList(ctx)
	if err != nil {
		return nil, err
	}
	names, err := s.newNames(ctx)
	if err != nil {
		return nil, err
	}
	members := []string{name + "=" + peer}
	var added uint64
	for _, m := range list {
		switch addr := address(m.PeerURLs); {
		case m.Name == name:
			return nil, san.Errorf(san.ErrExists, "the metadata cluster has a member %s; choose another name, or take that one out with 'sango cluster remove %s'", name, name)
		case addr == peer && m.Name != "":
			return nil, san.Errorf(san.ErrExists, "the metadata member %s has the address %s already", m.Name, peer)
		case addr == peer: // it was added and not started: say again how
			added = m.ID
		case m.IsLearner:
			// etcd would refuse it too, but not before it is in its log: when that is
			// read again at a start, the member refused is called for ever.
			which := m.Name
			if which == "" {
				which = names[m.ID]
			}
			if which == "" {
				which = addr
			}
			return nil, san.Errorf(san.ErrRefused, "the new metadata member %s at %s has not caught up yet: start that one first, or take it out with 'sango cluster remove %s'", which, addr, which)
		default:
			members = append(members, m.Name+"="+addr)
		}
	}
	slices.Sort(members)
	if added != 0 {
		s.nameNew(ctx, added, name)
		return members, nil
	}
	u := s.opts.Member.url(peer)
	if err := changeMembers(ctx, func(ctx context.Context) error {
		resp, err := s.cli.MemberAddAsLearner(ctx, []string{u.String()})
		if err == nil {
			added = resp.Member.ID
		}
		if errors.Is(err, rpctypes.ErrMemberNotFound) {
			return errTaken
		}
		return err
	}); err != nil {
		return nil, err
	}
	s.nameNew(ctx, added, name)
	return members, nil
}

// steadyAgain is the wait before a change of members is tried again that came
// too early: etcd wants the members connected for 5 s without a break.
const steadyAgain = 200 * time.Millisecond

// errTaken: a member of that address was added and removed in the same second.
// etcd makes ids of both, and gives none twice.
var errTaken = errors.New("the id of the member belongs to one that was removed")

// steadyTime is how long that is waited for.
const steadyTime = 8 * time.Second

func changeMembers(ctx context.Context, change func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	until := time.Now().Add(steadyTime)
	for {
		err := change(ctx)
		if err == nil {
			return nil
		}
		if !errors.Is(err, rpctypes.ErrUnhealthy) && !errors.Is(err, errTaken) || time.Now().After(until) || !pause.For(ctx, steadyAgain) {
			return memberErr(err)
		}
	}
}

// RemoveMember takes a member out, by its name, id (hexadecimal) or peer
// address. If it runs, it ends.
func (s *Store) RemoveMember(ctx context.Context, which string) error {
	if err := s.membersChange(); err != nil {
		return err
	}
	list, err := s.memberList(ctx)
	if err != nil {
		return err
	}
	names, err := s.newNames(ctx)
	if err != nil {
		return err
	}
	for _, m := range list {
		if m.Name == "" {
			m.Name = names[m.ID]
		}
		if m.Name != which && fmt.Sprintf("%x", m.ID) != which && address(m.PeerURLs) != which {
			continue
		}
		if m.ID == uint64(s.etcd.Server.MemberID()) {
			return san.Errorf(san.ErrRefused, "%s is the metadata member of this node, which would end: run the command on another one", which)
		}
		if err := changeMembers(ctx, func(ctx context.Context) error {
			_, err := s.cli.MemberRemove(ctx, m.ID)
			return err
		}); err != nil {
			return err
		}
		s.nameNew(ctx, m.ID, "")
		return nil
	}
	return san.Errorf(san.ErrNotFound, "the metadata cluster has no member %s; 'sango cluster members' shows those there are", which)
}

// memberErr turns an error of a change of members into one of ours.
func memberErr(err error) error {
	switch {
	case errors.Is(err, rpctypes.ErrTooManyLearners):
		return san.Errorf(san.ErrRefused, "another new metadata member has not caught up yet: start that one first, or take it out with 'sango cluster remove'")
	case errors.Is(err, rpctypes.ErrUnhealthy), errors.Is(err, rpctypes.ErrMemberNotEnoughStarted):
		return san.Errorf(san.ErrRefused, "too few metadata members answer for that change (%v): start those that are silent, or take the dead ones out first", err)
	case errors.Is(err, rpctypes.ErrMemberExist), errors.Is(err, rpctypes.ErrPeerURLExist):
		return san.Errorf(san.ErrExists, "the metadata cluster has such a member already (%v); 'sango cluster members' shows it", err)
	}
	return storeErr(err, true)
}
