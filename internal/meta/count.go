package meta

import (
	clientv3 "go.etcd.io/etcd/client/v3"

	"sango/internal/san"
)

// Counts are how many objects of each kind there are.
type Counts struct{ Volumes, Targets, Hosts, LUNs int }

// Counts counts without reading what it counts.
func (tx *Tx) Counts() (c Counts, err error) {
	for _, x := range []struct {
		under string
		to    *int
	}{{"volumes/", &c.Volumes}, {"targets/", &c.Targets}, {"hosts/", &c.Hosts}, {"luns/", &c.LUNs}} {
		resp, err := tx.look(x.under, clientv3.WithCountOnly())
		if err != nil {
			return c, err
		}
		*x.to = int(resp.Count)
	}
	return c, nil
}

// lowestFree returns the lowest LUN that a target does not map. It guards
// nothing: who takes it guards the LUN itself.
func (tx *Tx) lowestFree(target string) (san.LUN, error) {
	under := "luns/" + target + "/"
	resp, err := tx.look(under, clientv3.WithKeysOnly()) // in the order of the LUNs
	if err != nil {
		return 0, err
	}
	free := san.LUN(0)
	for _, kv := range resp.Kvs {
		u, err := splitLUN(string(kv.Key[len(prefix+"luns/"):]))
		if err != nil {
			return 0, err
		}
		if u.LUN != free {
			break
		}
		free++
	}
	return free, nil
}

// look reads what is below under at the transaction's revision, and leaves it
// unguarded.
func (tx *Tx) look(under string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	opts = append(opts, clientv3.WithPrefix())
	if tx.rev != 0 {
		opts = append(opts, clientv3.WithRev(tx.rev))
	}
	resp, err := tx.s.read(tx.ctx, prefix+under, opts...)
	if err == nil && tx.rev == 0 {
		tx.rev = resp.Header.Revision
	}
	return resp, err
}
