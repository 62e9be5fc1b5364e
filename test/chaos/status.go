package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"

	"sango/internal/api"
	v1 "sango/internal/api/gen/sango/v1"
)

// status is the cluster as gateway i sees it.
func (s *site) status(ctx context.Context, i int) (*v1.Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	cl := api.NewClient(s.gateways[i].disk.Path)
	defer cl.Close()
	r, err := cl.GetStatus(ctx, connect.NewRequest(&v1.GetStatusRequest{}))
	if err != nil {
		return nil, err
	}
	if r.Msg.GetCluster() == nil {
		return nil, errors.New("it is alone")
	}
	return r.Msg.GetCluster(), nil
}

// number returns which gateway has a name, -1 if none.
func (s *site) number(name string) int {
	for g := range s.gateways {
		if name == fmt.Sprint("gw", g) {
			return g
		}
	}
	return -1
}

// ownership is who serves a volume.
func ownership(c *v1.Cluster, volume string) *v1.Ownership {
	for _, o := range c.GetVolumes() {
		if o.GetVolume() == volume {
			return o
		}
	}
	return nil
}

// leader returns which etcd server leads.
func (s *site) leader(ctx context.Context) (int, error) {
	for i, e := range s.etcds {
		h := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DialContext: e.node.Dial, DisableKeepAlives: true}}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("http://%s:2379/v3/maintenance/status", etcdAddr(i)), strings.NewReader("{}"))
		if err != nil {
			return 0, err
		}
		resp, err := h.Do(req)
		if err != nil {
			continue
		}
		var v struct {
			Header struct {
				Member string `json:"member_id"`
			} `json:"header"`
			Leader string `json:"leader"`
		}
		err = json.NewDecoder(resp.Body).Decode(&v)
		if err = errors.Join(err, resp.Body.Close()); err == nil && v.Leader != "" && v.Leader == v.Header.Member {
			return i, nil
		}
	}
	return 0, errors.New("no etcd server leads")
}
