package api

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"

	v1 "sango/internal/api/gen/sango/v1"
	"sango/internal/api/gen/sango/v1/sangov1connect"
	"sango/internal/meta"
	"sango/internal/pause"
	"sango/internal/san"
)

// passedOn is the header of calls that one gateway makes to another; it names
// the one that was asked. Such a call is never passed on again: two gateways
// that see owners differently would throw it to and fro.
const passedOn = "Sango-Passed-On"

// maxAnswer bounds the answer of another gateway, in bytes: the usage of 100,000
// volumes.
const maxAnswer = 64 << 20

const (
	ownerWait = 3 * time.Second // for a volume that moves to have an owner
	ownerLook = 20 * time.Millisecond
	peerTime  = 2 * time.Second  // for another gateway to describe what it has
	syncTime  = 10 * time.Second // for all gateways to follow a change
	syncAgain = 100 * time.Millisecond
	lifeLook  = time.Second // between two looks whether a gateway that works is alive
	peerIdle  = 30 * time.Second
)

// peers calls the other gateways.
type peers struct {
	n    Node
	http *http.Client
	wait time.Duration // ownerWait
	// unopened: a volume that nobody has, since it could not be opened, has its
	// place here.
	unopened bool
}

func newPeers(n Node) *peers {
	p := &peers{n: n, wait: ownerWait}
	p.http = &http.Client{Transport: &http.Transport{
		DialContext: p.dial, MaxIdleConnsPerHost: 4, IdleConnTimeout: peerIdle, DisableCompression: true,
	}}
	return p
}

// dial connects to the gateway that is the host of the address.
func (p *peers) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	gateway, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	c, err := together(p.n)
	if err != nil {
		return nil, err
	}
	conn, err := c.Dial(ctx, gateway)
	if err != nil {
		return nil, san.Errorf(san.ErrUnavailable, "gateway %s does not answer: %v; nothing was done, try again", gateway, err)
	}
	return conn, nil
}

func (p *peers) close() { p.http.CloseIdleConnections() }

func (p *peers) options() connect.ClientOption {
	from := ""
	if c := p.n.Cluster(); c != nil {
		from = c.Self()
	}
	return connect.WithClientOptions(
		connect.WithInterceptors(hop{from}), connect.WithAcceptCompression("gzip", nil, nil), connect.WithReadMaxBytes(maxAnswer),
	)
}

func base(gateway string) string { return "http://" + gateway }

func (p *peers) volumes(gateway string) sangov1connect.VolumeServiceClient {
	return sangov1connect.NewVolumeServiceClient(p.http, base(gateway), p.options())
}

func (p *peers) peer(gateway string) sangov1connect.PeerServiceClient {
	return sangov1connect.NewPeerServiceClient(p.http, base(gateway), p.options())
}

// hop marks calls as passed on.
type hop struct{ from string }

func (h hop) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		req.Header().Set(passedOn, h.from)
		return next(ctx, req)
	}
}

func (h hop) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		conn := next(ctx, spec)
		conn.RequestHeader().Set(passedOn, h.from)
		return conn
	}
}

func (hop) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

// during returns a context for a call to another gateway: it ends when that has
// been declared dead, because a machine that stands still does not hang up.
func (p *peers) during(ctx context.Context, m Member) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		tick := time.NewTicker(lifeLook)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if alive, err := p.n.Cluster().Living(ctx, m); err == nil && !alive {
				cancel(&diedError{m.Gateway})
			}
		}
	})
	return ctx, func() {
		cancel(nil)
		watch.Wait()
	}
}

// diedError is the cause of the end of a call.
type diedError struct{ gateway string }

func (e *diedError) Error() string { return "gateway " + e.gateway + " has been declared dead" }

// failure is the error of a call to m that was made under a context of during.
func failure(ctx context.Context, m Member, err error) error {
	switch {
	case err == nil || errors.As(err, new(*san.Error)):
	case moved(err):
		return err
	case errors.As(context.Cause(ctx), new(*diedError)), lost(err):
		return san.Errorf(san.ErrUnavailable, "gateway %s, which had the volume, died in the middle of it: look what it did before trying again", m.Gateway)
	}
	return FromWire(err)
}

// answer is what another gateway described, or why it did not.
type answer struct {
	*v1.DescribeResponse
	err error
}

// ask has gateways describe what they alone know, all at one time and no longer
// than peerTime.
func (p *peers) ask(ctx context.Context, asked map[string]*v1.DescribeRequest) map[string]answer {
	ctx, cancel := context.WithTimeout(ctx, peerTime)
	defer cancel()
	var mu sync.Mutex
	var calls sync.WaitGroup
	answers := map[string]answer{}
	for gateway, r := range asked {
		calls.Go(func() {
			resp, err := p.peer(gateway).Describe(ctx, connect.NewRequest(r))
			a := answer{err: FromWire(err)}
			switch {
			case err == nil:
				a.DescribeResponse = resp.Msg
			case ctx.Err() != nil:
				a.err = san.Errorf(san.ErrUnavailable, "gateway %s does not answer", gateway)
			}
			mu.Lock()
			defer mu.Unlock()
			answers[gateway] = a
		})
	}
	calls.Wait()
	return answers
}

// living returns the other gateways that are alive.
func (p *peers) living(ctx context.Context, c Cluster) (all []Member, err error) {
	err = p.n.Meta().Update(ctx, func(tx *meta.Tx) error {
		all = nil
		alive, err := tx.Incarnations()
		for name, i := range alive {
			if i.Life == meta.Alive && !c.Here(name) {
				all = append(all, Member{name, i.Number})
			}
		}
		return err
	})
	return all, err
}

// sessions returns the sessions of all gateways, and which of these did not
// answer.
func (p *peers) sessions(ctx context.Context) (all []*v1.Session, silent []string, err error) {
	for _, sess := range p.n.Sessions() {
		all = append(all, sessionMessage(sess))
	}
	c := p.n.Cluster()
	if c == nil {
		return all, nil, nil
	}
	others, err := p.living(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	asked := map[string]*v1.DescribeRequest{}
	for _, m := range others {
		asked[m.Gateway] = &v1.DescribeRequest{Sessions: true}
	}
	answers := p.ask(ctx, asked)
	for _, name := range sorted(answers) {
		if a := answers[name]; a.err != nil {
			silent = append(silent, name)
		} else {
			all = append(all, a.GetSessions()...)
		}
	}
	return all, silent, nil
}

// everywhere is a node whose Sync waits for the other gateways too.
type everywhere struct {
	Node
	peers *peers
}

// Sync implements Node. Gateways that are dead are not waited for.
func (e everywhere) Sync(ctx context.Context, own int64) error {
	if err := e.Node.Sync(ctx, own); err != nil {
		return err
	}
	c := e.Cluster()
	if c == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, syncTime)
	defer cancel()
	others, err := e.peers.living(ctx, c)
	if err != nil {
		return err
	}
	var calls sync.WaitGroup
	errs := make([]error, len(others))
	for i, m := range others {
		calls.Go(func() { errs[i] = e.peers.sync(ctx, m, own) })
	}
	calls.Wait()
	return errors.Join(errs...)
}

// sync waits until a gateway has followed, or is dead.
func (p *peers) sync(ctx context.Context, m Member, own int64) error {
	for {
		call, done := p.during(ctx, m)
		_, err := p.peer(m.Gateway).Sync(call, connect.NewRequest(&v1.SyncRequest{Revision: own}))
		err = FromWire(err)
		died := errors.As(context.Cause(call), new(*diedError))
		done()
		if err == nil || died || errors.Is(err, san.ErrRefused) { // refused: of a version that has no such call
			return nil
		}
		if !pause.For(ctx, syncAgain) {
			return san.Errorf(san.ErrUnavailable, "the change is made, but gateway %s does not say that it is in effect there: %v", m.Gateway, err)
		}
		if alive, lerr := p.n.Cluster().Living(ctx, m); lerr == nil && !alive {
			return nil
		}
	}
}
