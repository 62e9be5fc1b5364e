package meta

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"sango/internal/san"
)

// The client gives a member up that is silent for about as long as a leader
// takes to be replaced, and goes to another.
const (
	dialTimeout      = 3 * time.Second
	keepAliveTime    = 2 * time.Second
	keepAliveTimeout = 2 * time.Second
)

// dialExternal connects to an etcd that others run, and looks whether it takes
// transactions as large as ours.
func dialExternal(ctx context.Context, o Options) (*clientv3.Client, error) {
	x := o.External
	cfg := clientv3.Config{
		Endpoints: x.Endpoints, DialTimeout: dialTimeout, DialKeepAliveTime: keepAliveTime, DialKeepAliveTimeout: keepAliveTimeout,
		MaxCallSendMsgSize: maxRequest, Username: x.User, Logger: zap.New(newSlogCore(o.Log)),
	}
	var err error
	if cfg.Password, err = x.password(); err != nil {
		return nil, err
	}
	if strings.HasPrefix(x.Endpoints[0], "https") {
		if cfg.TLS, err = x.TLS.config(); err != nil {
			return nil, err
		}
	}
	cli, err := clientv3.New(cfg)
	if err != nil {
		return nil, x.dialErr(err)
	}
	if err := x.probe(ctx, cli); err != nil {
		cli.Close()
		return nil, err
	}
	return cli, nil
}

// probe looks whether etcd answers, and takes as many operations in one
// transaction as the largest of ours has: a guard that can't hold makes it
// change nothing.
func (x *External) probe(ctx context.Context, cli *clientv3.Client) error {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	if _, err := cli.Get(ctx, prefix+"schema", clientv3.WithKeysOnly()); err != nil {
		return x.dialErr(err)
	}
	ops := make([]clientv3.Op, maxTxnOps)
	for i := range ops {
		ops[i] = clientv3.OpGet(prefix+"schema", clientv3.WithKeysOnly())
	}
	_, err := cli.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(prefix+"schema"), "<", 0)).Then(ops...).Commit()
	if errors.Is(err, rpctypes.ErrTooManyOps) {
		return san.Errorf(san.ErrRefused, "etcd at %s takes too few operations in one transaction: start it with --max-txn-ops=%d --max-request-bytes=%d", x.where(), maxTxnOps, maxRequest)
	}
	if err != nil {
		return x.dialErr(err)
	}
	return nil
}

func (x *External) where() string { return strings.Join(x.Endpoints, ", ") }

// dialErr says what kept etcd from answering the first time.
func (x *External) dialErr(err error) error {
	if deniedErr(err) {
		return san.Errorf(san.ErrRefused, "etcd at %s does not let this node in (%v): check user, password and certificate, and that the user's role may read and write keys below /sango/", x.where(), err)
	}
	return san.Errorf(san.ErrUnavailable, "etcd at %s does not answer (%v): check that it runs, and the addresses and certificates", x.where(), err)
}

// deniedErr reports whether etcd knows who asks and refuses.
func deniedErr(err error) bool {
	for _, e := range []error{rpctypes.ErrPermissionDenied, rpctypes.ErrAuthFailed, rpctypes.ErrUserEmpty, rpctypes.ErrUserNotFound, rpctypes.ErrInvalidAuthToken, rpctypes.ErrAuthNotEnabled} {
		if errors.Is(err, e) || fmt.Sprint(err) == e.Error() {
			return true
		}
	}
	return false
}

// Answers asks one server of the etcd whether it is there and accepts the
// certificate of this node.
func (x *External) Answers(ctx context.Context, endpoint string) (err error) {
	t := &http.Transport{DisableKeepAlives: true}
	if t.TLSClientConfig, err = x.TLS.config(); err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(endpoint, "/")+"/version", http.NoBody)
	if err != nil {
		return err
	}
	resp, err := t.RoundTrip(r)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
