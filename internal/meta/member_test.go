package meta

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sango/internal/san"
)

// Without a majority nothing is read or changed, and the errors tell the two
// kinds apart; when it is back all works again.
func TestLossOfQuorum(t *testing.T) {
	t.Parallel()
	m := cluster(t, 3)
	update(t, m[0].Store, func(tx *Tx) error { return tx.put("test", 1) })
	m[1].stop()
	update(t, m[0].Store, func(tx *Tx) error { return tx.put("test", 2) })
	// What is decided on is read with a majority, and committed without.
	err := m[0].Update(t.Context(), func(tx *Tx) error {
		var n int
		if _, err := tx.get("test", &n); err != nil {
			return err
		}
		m[2].stop()
		return tx.put("test", n+1)
	})
	if !errors.Is(err, san.ErrUnknown) {
		t.Errorf("a commit without majority = %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := m[0].Current(ctx); !errors.Is(err, san.ErrUnavailable) || !strings.Contains(err.Error(), "majority") {
		t.Errorf("a read without majority = %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err = m[0].Update(ctx, func(tx *Tx) error { return tx.put("blind", 1) })
	if !errors.Is(err, san.ErrUnknown) {
		t.Errorf("a blind commit without majority = %v", err)
	}
	m[1].start(t)
	if err := m[0].Ensure(t.Context(), func(tx *Tx) error { return tx.put("test", 7) }); err != nil {
		t.Fatal(err)
	}
	var n int
	update(t, m[1].Store, func(tx *Tx) error { _, err := tx.get("test", &n); return err })
	if n != 7 {
		t.Errorf("read %d", n)
	}
}

// A change whose confirmation is lost is made once by Ensure, whichever of its
// attempts it was.
func TestLeaderChangeUnderLoad(t *testing.T) {
	t.Parallel()
	m := cluster(t, 3)
	leader := slices.IndexFunc(m, func(r *running) bool { return r.etcd.Server.Leader() == r.etcd.Server.MemberID() })
	s := m[(leader+1)%3].Store
	const n = 60
	for i := range n {
		if i == n/3 {
			m[leader].stop()
		}
		last := i
		if err := s.Ensure(t.Context(), func(tx *Tx) error {
			var have int
			if _, err := tx.get("test", &have); err != nil || have == last+1 {
				return err
			}
			if have != last {
				return errors.New("an increment was lost or made twice")
			}
			return tx.put("test", have+1)
		}); err != nil {
			t.Fatal(i, err)
		}
	}
}

// A node grows from alone to three members, one dies and is removed, and a
// backup of all that can be taken on any of them.
func TestGrowth(t *testing.T) {
	t.Parallel()
	addrs := freeAddrs(t, 3)
	first := &running{dir: t.TempDir(), opts: Options{NoSync: true}}
	first.start(t)
	update(t, first.Store, func(tx *Tx) error { return tx.put("test", 1) })
	if _, err := first.AddMember(t.Context(), "m1", addrs[1]); !errors.Is(err, san.ErrRefused) {
		t.Errorf("AddMember of a store that is alone = %v", err)
	}
	first.stop()
	first.opts.Member = &Member{Name: "m0", Peer: addrs[0], Members: []string{"m0=" + addrs[0], "m1=" + addrs[1]}}
	if _, err := Open(t.Context(), first.dir, first.opts); !errors.Is(err, san.ErrRefused) {
		t.Fatalf("a store that is there made one of several new members: %v", err)
	}
	first.opts.Member.Members = nil
	first.start(t)
	second := &running{dir: t.TempDir(), opts: Options{NoSync: true, Member: &Member{Name: "m1", Peer: addrs[1], Join: true}}}
	var err error
	for range 2 { // a second time it says the same again
		if second.opts.Member.Members, err = first.AddMember(t.Context(), "m1", addrs[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.RemoveMember(t.Context(), "m0"); !errors.Is(err, san.ErrRefused) {
		t.Errorf("a member removes itself: %v", err)
	}
	second.start(t)
	var n int
	update(t, second.Store, func(tx *Tx) error { _, err := tx.get("test", &n); return err })
	if n != 1 {
		t.Errorf("the second member reads %d", n)
	}
	for _, m := range second.members(t) {
		if m.State != MemberLeader && m.State != MemberFollower {
			t.Errorf("%+v", m)
		}
	}
	// The removed one ends, and does not start again.
	if err := first.RemoveMember(t.Context(), "m1"); err != nil {
		t.Fatal(err)
	}
	if err := second.Wait(t.Context()); !errors.Is(err, san.ErrUnavailable) || !strings.Contains(err.Error(), "removed") {
		t.Errorf("Wait of a removed member = %v", err)
	}
	second.stop()
	update(t, first.Store, func(tx *Tx) error { return tx.put("test", 2) })
	first.stop()
	if _, err := Open(t.Context(), first.dir, Options{NoSync: true, Log: quiet(t)}); !errors.Is(err, san.ErrRefused) {
		t.Errorf("a member opened as a store that is alone: %v", err)
	}
	o, err := Saved(first.dir, quiet(t))
	if err != nil || o.Member == nil || o.Member.Name != "m0" {
		t.Fatalf("Saved = %+v, %v", o, err)
	}
	s, err := Open(t.Context(), first.dir, o)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}

func (r *running) members(t *testing.T) []MemberInfo {
	t.Helper()
	m, err := r.Members(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// authority signs certificates for 127.0.0.1.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.key = a.newKey()
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.write("ca.pem", "CERTIFICATE", a.sign(a.cert, &a.key.PublicKey))
	return a
}

func (a *authority) newKey() *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return k
}

func (a *authority) sign(c *x509.Certificate, k *ecdsa.PublicKey) []byte {
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, k, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return der
}

func (a *authority) write(name, kind string, der []byte) string {
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// tls returns a certificate of its own for a name.
func (a *authority) tls(name string) TLS {
	k := a.newKey()
	der, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	return TLS{
		CA: filepath.Join(a.dir, "ca.pem"), Key: a.write(name+".key", "EC PRIVATE KEY", der),
		Cert: a.write(name+".pem", "CERTIFICATE", a.sign(&x509.Certificate{
			SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}, &k.PublicKey)),
	}
}

// Members and clients show certificates; who has none of the right authority
// gets nothing.
func TestTLS(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t, "ca"), newAuthority(t, "other")
	addrs := freeAddrs(t, 3)
	first := &running{dir: t.TempDir(), opts: Options{NoSync: true, Member: &Member{Name: "m0", Peer: addrs[0], Client: addrs[1], TLS: ca.tls("m0")}}}
	first.start(t)
	members, err := first.AddMember(t.Context(), "m1", addrs[2])
	if err != nil {
		t.Fatal(err)
	}
	second := &running{dir: t.TempDir(), opts: Options{NoSync: true, Member: &Member{Name: "m1", Peer: addrs[2], Members: members, Join: true, TLS: ca.tls("m1")}}}
	wrong := second.opts
	m := *second.opts.Member
	m.TLS = other.tls("m1")
	wrong.Member, wrong.Log = &m, quiet(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if s, err := Open(ctx, t.TempDir(), wrong); !errors.Is(err, san.ErrUnavailable) {
		t.Errorf("a member with a certificate of another authority: %v", err)
		if err == nil {
			s.Close()
		}
	}
	second.start(t)
	update(t, second.Store, func(tx *Tx) error { return tx.put("test", 1) })

	dial := func(c TLS, scheme string) error {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		s, err := Open(ctx, t.TempDir(), Options{Log: quiet(t), External: &External{Endpoints: []string{scheme + addrs[1]}, TLS: c}})
		if err != nil {
			return err
		}
		defer s.Close()
		all, err := s.Members(ctx)
		if err != nil {
			return err
		}
		for _, m := range all { // m1 has no address for clients
			if m.State == MemberSilent || m.State == MemberUnasked && m.Name == "m0" {
				t.Errorf("%+v", m)
			}
		}
		return s.Update(ctx, func(tx *Tx) error { return tx.put("test", 2) })
	}
	if err := dial(ca.tls("client"), "https://"); err != nil {
		t.Error(err)
	}
	for _, m := range first.members(t) {
		if m.State != MemberLeader && m.State != MemberFollower {
			t.Errorf("%+v", m)
		}
	}
	if err := dial(TLS{}, "http://"); !errors.Is(err, san.ErrUnavailable) {
		t.Errorf("without TLS: %v", err)
	}
	if err := dial(TLS{CA: ca.tls("x").CA}, "https://"); !errors.Is(err, san.ErrUnavailable) {
		t.Errorf("without a certificate: %v", err)
	}
	c := other.tls("client")
	c.CA = ca.tls("x").CA
	if err := dial(c, "https://"); !errors.Is(err, san.ErrUnavailable) {
		t.Errorf("with a certificate of another authority: %v", err)
	}
}

// A member that was added and has never run goes by the name it was added by, and
// one that was refused leaves nothing behind.
func TestMembersThatNeverRan(t *testing.T) {
	addrs := freeAddrs(t, 3)
	var log bytes.Buffer
	first := &running{dir: t.TempDir(), opts: Options{NoSync: true, Member: &Member{Name: "m0", Peer: addrs[0]}}}
	first.start(t)
	if _, err := first.AddMember(t.Context(), "m1", addrs[1]); err != nil {
		t.Fatal(err)
	}
	if all := first.members(t); len(all) != 2 || all[1].Name != "m1" || all[1].State != MemberNew {
		t.Errorf("members: %+v", all)
	}
	for range 2 {
		if _, err := first.AddMember(t.Context(), "m2", addrs[2]); !errors.Is(err, san.ErrRefused) || !strings.Contains(err.Error(), "'sango cluster remove m1'") {
			t.Errorf("a second one is added: %v", err)
		}
	}
	if err := first.RemoveMember(t.Context(), "m2"); !errors.Is(err, san.ErrNotFound) {
		t.Errorf("the refused one: %v", err)
	}
	if err := first.RemoveMember(t.Context(), "m1"); err != nil {
		t.Fatal(err)
	}
	first.stop()
	o := first.opts
	o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s, err := Open(t.Context(), first.dir, o)
	if err != nil {
		t.Fatal(err)
	}
	if names, err := s.newNames(t.Context()); err != nil || len(names) != 0 {
		t.Errorf("names are left: %v, %v", names, err)
	}
	s.Close()
	if !strings.Contains(log.String(), addrs[0]) || strings.Contains(log.String(), addrs[2]) {
		t.Errorf("the member that was refused is there after a restart:\n%s", log.String())
	}
}

// A member gets no vote before its node has looked whether it belongs there.
func TestMembersAreAdmitted(t *testing.T) {
	addrs := freeAddrs(t, 2)
	first := &running{dir: t.TempDir(), opts: Options{NoSync: true, Member: &Member{Name: "m0", Peer: addrs[0]}}}
	first.start(t)
	defer first.stop()
	shared := san.NewUUID()
	update(t, first.Store, func(tx *Tx) error { return tx.ShareVolumes(shared) })
	members, err := first.AddMember(t.Context(), "m1", addrs[1])
	if err != nil {
		t.Fatal(err)
	}
	second := &running{dir: t.TempDir(), opts: Options{NoSync: true, Log: quiet(t), Member: &Member{Name: "m1", Peer: addrs[1], Join: true, Members: members}}}
	o := second.opts
	var told san.UUID
	o.Admits = func(id san.UUID) error {
		told = id
		return OtherVolumes(id, san.UUID{})
	}
	if _, err := Open(t.Context(), second.dir, o); !errors.Is(err, san.ErrRefused) || told != shared {
		t.Fatalf("it was told %s: %v", told, err)
	}
	list, err := first.memberList(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range list {
		if m.Name == "m1" && !m.IsLearner {
			t.Errorf("one that was refused has a vote: %v", m)
		}
	}
	update(t, first.Store, func(tx *Tx) error { return tx.put("test", 1) })
	second.start(t)
	second.stop()
}
