package api

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/meta"
	"sango/internal/pause"
	"sango/internal/san"
)

// The usage of volumes comes from those that have them, by one call to each;
// who does not answer leaves it out.
func TestListAsksOwners(t *testing.T) {
	w := newWorld(t, "gw1", "gw2", "gw3")
	w.volume("a", "gw1")
	w.volume("b", "gw2")
	w.volume("c", "gw2")
	w.volume("d", "gw3")
	w.volume("e", "")
	must(t, w.nodes["gw3"].pipe.Close())
	r, err := w.client("gw1").ListVolumes(t.Context(), connect.NewRequest(&v1.ListVolumesRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range r.Msg.GetVolumes() {
		line := v.GetName() + " " + v.GetOwnership().GetState() + " " + v.GetOwnership().GetOwner() + " " + string(rune('0'+v.GetUsed()))
		for _, s := range v.GetSnapshots() {
			line += " " + s.GetName()
		}
		if v.GetSilent() != "" {
			line += " silent"
		}
		got = append(got, line)
	}
	want := []string{"a active gw1 1 of-gw1", "b active gw2 2 of-gw2", "c active gw2 2 of-gw2", "d active gw3 0 silent", "e none  0 silent"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	w.mu.Lock()
	w.merging = 1
	w.mu.Unlock()
	v, err := w.client("gw1").GetVolume(t.Context(), connect.NewRequest(&v1.GetVolumeRequest{Name: "b"}))
	if err != nil {
		t.Fatal(err)
	}
	if m := v.Msg.GetVolume(); m.GetUsed() != 2 || m.GetOwnership().GetEpoch() != 7 || len(m.GetJobs()) != 1 || m.GetSnapshots()[0].GetCreated().AsTime() != time.Unix(3, 0).UTC() {
		t.Errorf("volume = %v", m)
	}
	if v, err = w.client("gw1").GetVolume(t.Context(), connect.NewRequest(&v1.GetVolumeRequest{Name: "d"})); err != nil || !strings.Contains(v.Msg.GetVolume().GetSilent(), "gw3 does not answer") {
		t.Errorf("volume = %v, %v", v, err)
	}
}

// Status tells the same of the cluster through every gateway, and through a
// witness.
func TestStatusOfTheCluster(t *testing.T) {
	w := newWorld(t, "gw1", "gw2", "gw3")
	w.volume("a", "gw1")
	moving := w.volume("b", "gw2")
	w.volume("c", "gw3")
	broken := w.volume("broken", "gw1")
	w.volume("new", "")
	must(t, w.put(meta.RecordOwner, moving.String(), &meta.Owner{State: meta.OwnerMoving, Gateway: "gw2", Incarnation: 2, To: "gw1", ToIncarnation: 1, Epoch: 8, Reason: "drain"}))
	must(t, w.put(meta.RecordOwner, broken.String(), &meta.Owner{State: meta.OwnerNone, Epoch: 9, Reason: "failed", Failed: "gw2"}))
	must(t, w.put(meta.RecordDrain, "gw2", &meta.Drain{}))
	must(t, w.put(meta.RecordIncarnation, "gw3", &meta.Incarnation{Number: 3, Life: meta.Dead, Why: "silent"}))
	must(t, w.put(meta.RecordIncarnation, "gw4", &meta.Incarnation{Number: 4, Life: meta.Removed, Why: "left"}))
	must(t, w.put(meta.RecordHarmless, "gw4", &meta.Harmless{UpTo: 4}))
	w.update(func(tx *meta.Tx) error { return tx.Register(&meta.Gateway{Name: "gw5"}) })
	must(t, w.put(meta.RecordCoordinator, "", &meta.Coordinator{Gateway: "gw1", Incarnation: 1}))

	witness := NewWitnessServer(witnessOf{w.nodes["gw1"]})
	dir := t.TempDir()
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- witness.Serve(l) }()
	defer func() {
		witness.Shutdown(t.Context())
		must(t, <-served)
	}()
	cl := NewClient(dir)
	defer cl.Close()
	for name, cl := range map[string]*Client{"gw1": w.client("gw1"), "gw2": w.client("gw2"), "witness": cl} {
		r, err := cl.GetStatus(t.Context(), connect.NewRequest(&v1.GetStatusRequest{}))
		if err != nil {
			t.Fatal(err)
		}
		c := r.Msg.GetCluster()
		if c.GetCoordinator() != "gw1" || c.GetMoving() != 4 {
			t.Errorf("%s: coordinator %q, %d moving", name, c.GetCoordinator(), c.GetMoving())
		}
		var got []string
		for _, g := range c.GetGateways() {
			line := g.GetName() + " " + g.GetState() + " " + string('0'+g.GetVolumes())
			if g.GetHarmless() {
				line += " harmless"
			}
			got = append(got, line+" "+g.GetReason())
		}
		want := []string{"gw1 serving 2 ", "gw2 draining 1 ", "gw3 dead 1 silent", "gw4 removed 0 harmless left", "gw5 joining 0 "}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got  %q\nwant %q", name, got, want)
		}
		got = nil
		for _, o := range c.GetVolumes() {
			got = append(got, o.GetVolume()+" "+o.GetState()+" "+o.GetOwner()+" "+o.GetTo()+" "+o.GetReason())
		}
		want = []string{"a active gw1  new", "b moving gw2 gw1 drain", "broken none   failed", "c lost gw3  new", "new none   "}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got  %q\nwant %q", name, got, want)
		}
		if p := c.GetVolumes()[2]; p.GetFailed() != "gw2" || name != "witness" && p.GetProblem() != "gw2 found a bad block" {
			t.Errorf("%s: trouble = %v", name, p)
		}
	}
}

// witnessOf is a node without volumes.
type witnessOf struct{ Base }

// Cluster implements Base.
func (w witnessOf) Cluster() Cluster { return nowhere{w.Base.Cluster()} }

// nowhere has no gateway in its process.
type nowhere struct{ Cluster }

func (nowhere) Here(string) bool { return false }

// Nobody is said to serve who has no right to, or of whom nothing is known.
func TestStatesOfGateways(t *testing.T) {
	known := []*meta.Gateway{{Name: "gw1"}, {Name: "gw2"}, {Name: "gw3"}, {Name: "gw4"}}
	now := &meta.State{
		Coordinator: "gw2", Drains: map[string]bool{"gw1": true, "gw3": true},
		Incarnations: map[string]*meta.Incarnation{
			"gw1": {Number: 1, Life: meta.Alive}, "gw2": {Number: 2, Life: meta.Alive}, "gw3": {Number: 3, Life: meta.Alive}, "gw4": {Number: 4, Life: meta.Dead},
		},
	}
	states := func(all []*v1.Gateway) (s []string) {
		for _, g := range all {
			word := g.GetName() + " " + g.GetState()
			if g.GetCoordinator() {
				word += " coordinates"
			}
			s = append(s, word)
		}
		return s
	}
	all := clusterGateways(known, now, Status{Gateway: "gw1", Waiting: []string{"gw1"}})
	if got, want := states(all), []string{"gw1 waiting", "gw2 serving coordinates", "gw3 draining", "gw4 dead"}; !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	outdate(all, func(name string) bool { return name == "gw1" })
	if got, want := states(all), []string{"gw1 waiting", "gw2 unknown", "gw3 unknown", "gw4 dead"}; !slices.Equal(got, want) {
		t.Errorf("from memory: got  %q\nwant %q", got, want)
	}
}

// The load of a gateway is the work of what it serves, of which it told.
func TestLoadOfGateways(t *testing.T) {
	a, b := san.UUID{1}, san.UUID{2}
	now := &meta.State{
		Incarnations: map[string]*meta.Incarnation{"gw1": {Number: 1, Life: meta.Alive}, "gw2": {Number: 2, Life: meta.Alive}, "gw3": {Number: 3, Life: meta.Dead}},
		Owners: map[san.UUID]*meta.Owner{
			a: {State: meta.OwnerActive, Gateway: "gw1", Incarnation: 1}, b: {State: meta.OwnerActive, Gateway: "gw2", Incarnation: 2},
		},
	}
	loads := func() (s string) {
		for _, g := range clusterGateways(nil, now, Status{}) {
			if g.Load == nil {
				s += " -"
			} else {
				s += fmt.Sprint(" ", g.GetLoad())
			}
		}
		return s
	}
	if s := loads(); s != " - - -" {
		t.Errorf("not known: %s", s)
	}
	now.Busy = map[string]*meta.Busy{"gw1": {Volumes: map[san.UUID]int{a: 700, b: 4000}}, "gw3": {Volumes: map[san.UUID]int{a: 5}}}
	if s := loads(); s != " 700 0 -" {
		t.Errorf("known: %s", s)
	}
}

// Sessions are those of all gateways.
func TestSessionsOfAllGateways(t *testing.T) {
	w := newWorld(t, "gw1", "gw2", "gw3")
	w.update(func(tx *meta.Tx) error {
		return tx.CreateTarget(&san.Target{Name: "iqn.2026-11.io.sango:t", Open: true})
	})
	must(t, w.nodes["gw3"].pipe.Close())
	cl := w.client("gw1")
	r, err := cl.GetTarget(t.Context(), connect.NewRequest(&v1.GetTargetRequest{Name: "iqn.2026-11.io.sango:t"}))
	if err != nil {
		t.Fatal(err)
	}
	if m := r.Msg.GetTarget(); len(m.GetSessions()) != 2 || !slices.Equal(m.GetSilent(), []string{"gw3"}) {
		t.Errorf("target = %v", m)
	}
	for name, host := range map[string]string{"gw1": "of-gw1", "gw2": "of-gw2", "gw3": ""} {
		g, err := cl.GetGateway(t.Context(), connect.NewRequest(&v1.GetGatewayRequest{Name: name}))
		if err != nil {
			t.Fatal(err)
		}
		m := g.Msg.GetGateway()
		if len(m.GetSessions()) != 1 && host != "" || host != "" && m.GetSessions()[0].GetHost() != host || (m.GetSilent() != "") != (host == "") {
			t.Errorf("gateway %s = %v", name, m)
		}
	}
}

// A change is in effect everywhere when it is answered; the dead are not waited
// for.
func TestChangesReachAllGateways(t *testing.T) {
	w := newWorld(t, "gw1", "gw2", "gw3", "gw4")
	w.lives("gw3", 3, meta.Dead)
	must(t, w.nodes["gw3"].pipe.Close())
	must(t, w.nodes["gw4"].pipe.Close())
	done := make(chan error)
	go func() {
		_, err := w.client("gw1").CreateTarget(t.Context(), connect.NewRequest(&v1.CreateTargetRequest{Name: "iqn.2026-11.io.sango:t", Open: true}))
		done <- err
	}()
	var got []string
	for len(got) < 2 {
		got = append(got, w.called()...)
		if !pause.For(t.Context(), time.Millisecond) {
			t.Fatal(got)
		}
	}
	w.lives("gw4", 4, meta.Dead) // it was to be waited for until now
	if err := <-done; err != nil {
		t.Error(err)
	}
	slices.Sort(got)
	rev, err := w.store.Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a, b := strings.TrimPrefix(got[0], "gw1 sync "), strings.TrimPrefix(got[1], "gw2 sync ")
	if own, err := strconv.ParseInt(a, 10, 64); len(got) != 2 || err != nil || a != b || own <= 0 || own > rev {
		t.Errorf("calls: %q", got)
	}
}

// Draining tells how much is left until nothing is.
func TestDrain(t *testing.T) {
	w := newWorld(t, "gw1", "gw2")
	a, b := w.volume("a", "gw2"), w.volume("b", "gw2")
	w.volume("c", "gw1")
	cl := w.client("gw1")
	stream, err := cl.DrainGateway(t.Context(), connect.NewRequest(&v1.DrainGatewayRequest{Name: "gw2"}))
	if err != nil {
		t.Fatal(err)
	}
	var told []int32
	for stream.Receive() {
		n := stream.Msg().GetVolumes()
		if len(told) == 0 || told[len(told)-1] != n {
			told = append(told, n)
		}
		switch n {
		case 2:
			w.own(a, "gw1")
		case 1:
			w.own(b, "gw1")
		}
	}
	if err := FromWire(stream.Err()); err != nil || !slices.Equal(told, []int32{2, 1, 0}) {
		t.Errorf("told %v, %v", told, err)
	}
	drain := func(name string, noWait bool) error {
		_, err := drainStream(cl.DrainGateway(t.Context(), connect.NewRequest(&v1.DrainGatewayRequest{Name: name, NoWait: noWait})))
		return err
	}
	if err := drain("gw1", false); !errors.Is(err, san.ErrRefused) {
		t.Errorf("the last one: %v", err)
	}
	if err := drain("gw3", false); !errors.Is(err, san.ErrNotFound) {
		t.Errorf("one that is not there: %v", err)
	}
	if _, err := cl.UndrainGateway(t.Context(), connect.NewRequest(&v1.UndrainGatewayRequest{Name: "gw2"})); err != nil {
		t.Error(err)
	}
	if err := drain("gw1", true); err != nil {
		t.Errorf("without waiting: %v", err)
	}
	w.lives("gw1", 1, meta.Dead)
	if err := drain("gw1", false); !errors.Is(err, san.ErrUnavailable) {
		t.Errorf("a dead one with volumes: %v", err)
	}
}

// A dead gateway goes, and who asks is told how many volumes wait.
func TestRemoveAndConfirm(t *testing.T) {
	w := newWorld(t, "gw1", "gw2", "gw3")
	a := w.volume("a", "gw2")
	w.volume("b", "gw3")
	w.lives("gw2", 2, meta.Dead)
	cl := w.client("gw1")
	if _, err := cl.ConfirmDeadGateway(t.Context(), connect.NewRequest(&v1.ConfirmDeadGatewayRequest{Name: "gw2"})); err != nil {
		t.Error(err)
	}
	r, err := cl.RemoveGateway(t.Context(), connect.NewRequest(&v1.RemoveGatewayRequest{Name: "gw2"}))
	if err != nil || r.Msg.GetVolumes() != 1 {
		t.Errorf("remove: %v, %v", r, err)
	}
	if got := w.called(); !slices.Equal(got, []string{"gw1 confirm gw2", "gw1 remove gw2"}) {
		t.Errorf("calls: %q", got)
	}
	for _, err := range []error{
		second(cl.RemoveGateway(t.Context(), connect.NewRequest(&v1.RemoveGatewayRequest{Name: "gw2"}))),
		second(cl.ConfirmDeadGateway(t.Context(), connect.NewRequest(&v1.ConfirmDeadGatewayRequest{Name: "gw9"}))),
		second(cl.UndrainGateway(t.Context(), connect.NewRequest(&v1.UndrainGatewayRequest{Name: "gw9"}))),
		second(cl.MoveVolume(t.Context(), connect.NewRequest(&v1.MoveVolumeRequest{Volume: "none", Gateway: "gw1"}))),
	} {
		if !errors.Is(err, san.ErrNotFound) {
			t.Errorf("err = %v", err)
		}
	}
	// What a dead gateway may write to can't be moved, which is told at once where
	// nothing but a person ends that.
	w.update(func(tx *meta.Tx) error { return tx.PlaceVolume(a, san.FenceNone, nil) })
	_, err = cl.MoveVolume(t.Context(), connect.NewRequest(&v1.MoveVolumeRequest{Volume: "a", Gateway: "gw1"}))
	if !errors.Is(err, san.ErrRefused) || !strings.Contains(err.Error(), "'sango gateway confirm-dead gw2'") {
		t.Errorf("move of what a dead one has: %v", err)
	}
	// One that has had no part yet is neither dead nor unknown.
	w.update(func(tx *meta.Tx) error { return tx.Register(&meta.Gateway{Name: "gw8"}) })
	for _, err := range []error{
		second(cl.ConfirmDeadGateway(t.Context(), connect.NewRequest(&v1.ConfirmDeadGatewayRequest{Name: "gw8"}))),
		second(cl.MoveVolume(t.Context(), connect.NewRequest(&v1.MoveVolumeRequest{Volume: "b", Gateway: "gw8"}))),
	} {
		if !errors.Is(err, san.ErrRefused) || !strings.Contains(err.Error(), "no part in the cluster yet") {
			t.Errorf("one that joins: %v", err)
		}
	}
	m, err := cl.MoveVolume(t.Context(), connect.NewRequest(&v1.MoveVolumeRequest{Volume: "b", Gateway: "gw1"}))
	if err != nil || m.Msg.GetOwnership().GetOwner() != "gw1" || m.Msg.GetOwnership().GetState() != "active" {
		t.Errorf("move: %v, %v", m, err)
	}
}

// Who removes a gateway waits until it is forgotten, but not for ever, and not
// where volumes keep it.
func TestRemoveWaits(t *testing.T) {
	for _, held := range []bool{false, true} {
		w := newWorld(t, "gw1", "gw2")
		w.remembers = true
		if held {
			w.volume("a", "gw2")
		}
		w.lives("gw2", 2, meta.Dead)
		began := time.Now()
		r, err := w.client("gw1").RemoveGateway(t.Context(), connect.NewRequest(&v1.RemoveGatewayRequest{Name: "gw2"}))
		if err != nil || !r.Msg.GetListed() {
			t.Errorf("held %v: %v, %v", held, r, err)
		}
		if waited := time.Since(began) >= forgetTime; waited == held {
			t.Errorf("held %v: it took %v", held, time.Since(began))
		}
	}
}

func second[T any](_ T, err error) error { return err }
