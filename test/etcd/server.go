package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"sango/test/harness"
)

// etcds are three etcd servers as processes, with TLS for clients and users.
type etcds struct {
	dir, binary string
	client      []string // https://ip:port
	peer        []string // http://ip:port
	procs       []*exec.Cmd
	http        *http.Client
	token       string // of root, once users are asked for
}

const rootPassword = "correct horse"

func newEtcds(dir, binary string) (*etcds, error) {
	e := &etcds{dir: dir, binary: binary, procs: make([]*exec.Cmd, 3)}
	for range 3 {
		e.client, e.peer = append(e.client, "https://"+freeAddr()), append(e.peer, "http://"+freeAddr())
	}
	pool, err := e.certificate()
	e.http = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
	return e, err
}

// freeAddr returns an address whose port was free a moment ago.
func freeAddr() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "127.0.0.1:0" // etcd says what is wrong
	}
	defer l.Close()
	return l.Addr().String()
}

// certificate makes one that signs itself, for 127.0.0.1.
func (e *etcds) certificate() (*x509.CertPool, error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "etcd"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		return nil, err
	}
	key, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		return nil, err
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return pool, errors.Join(
		os.WriteFile(e.path("cert.pem"), cert, 0o600),
		os.WriteFile(e.path("key.pem"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: key}), 0o600),
	)
}

func (e *etcds) path(name string) string { return filepath.Join(e.dir, name) }

func (e *etcds) name(i int) string { return fmt.Sprintf("etcd%d", i) }

// start starts one of them.
func (e *etcds) start(i int, more ...string) error {
	var cluster []string
	for i, u := range e.peer {
		cluster = append(cluster, e.name(i)+"="+u)
	}
	log, err := os.OpenFile(e.path(e.name(i)+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(e.binary, append([]string{
		"--name", e.name(i), "--data-dir", e.path(e.name(i)), "--initial-cluster", strings.Join(cluster, ","),
		"--listen-peer-urls", e.peer[i], "--initial-advertise-peer-urls", e.peer[i],
		"--listen-client-urls", e.client[i], "--advertise-client-urls", e.client[i],
		"--cert-file", e.path("cert.pem"), "--key-file", e.path("key.pem"), "--heartbeat-interval", "20", "--election-timeout", "200",
		"--logger", "zap", "--log-level", "warn",
	}, more...)...)
	cmd.Stdout, cmd.Stderr = log, log
	e.procs[i] = cmd
	return cmd.Start()
}

// roomy are the settings that a metadata store needs.
var roomy = []string{"--max-txn-ops", "4096", "--max-request-bytes", "8388608"}

// kill kills one of them at once.
func (e *etcds) kill(i int) {
	if c := e.procs[i]; c != nil {
		_ = c.Process.Kill()
		_ = c.Wait()
		e.procs[i] = nil
	}
}

func (e *etcds) killAll() {
	for i := range e.procs {
		e.kill(i)
	}
}

// call calls the JSON gateway of one of them.
func (e *etcds) call(ctx context.Context, i int, path string, in, out any) error {
	b, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.client[i]+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	if e.token != "" {
		req.Header.Set("Authorization", e.token)
	}
	resp, err := e.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if b, err = io.ReadAll(resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("etcd %s: %s %s", path, resp.Status, b)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(b, out)
}

// leader returns which of them leads.
func (e *etcds) leader(ctx context.Context) (lead int, err error) {
	err = harness.Await(ctx, time.Minute, "no leader", func() error {
		for i := range e.procs {
			var st struct {
				Header struct {
					Member string `json:"member_id"`
				} `json:"header"`
				Leader string `json:"leader"`
			}
			if e.procs[i] != nil && e.call(ctx, i, "/v3/maintenance/status", struct{}{}, &st) == nil && st.Leader != "" && st.Leader == st.Header.Member {
				lead = i
				return nil
			}
		}
		return errors.New("none of them leads")
	})
	return lead, err
}

// users makes etcd ask for passwords, and a user sango who may use the keys
// below /sango/ alone.
func (e *etcds) users(ctx context.Context, password string) error {
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	type m = map[string]any
	for _, c := range []struct {
		path string
		in   m
	}{
		{"/v3/auth/user/add", m{"name": "root", "password": rootPassword}},
		{"/v3/auth/role/add", m{"name": "root"}},
		{"/v3/auth/user/grant", m{"user": "root", "role": "root"}},
		{"/v3/auth/user/add", m{"name": "sango", "password": password}},
		{"/v3/auth/role/add", m{"name": "sango"}},
		{"/v3/auth/role/grant", m{"name": "sango", "perm": m{"permType": "READWRITE", "key": b64("/sango/"), "range_end": b64("/sango0")}}},
		{"/v3/auth/user/grant", m{"user": "sango", "role": "sango"}},
		{"/v3/auth/enable", m{}},
	} {
		if err := e.call(ctx, 0, c.path, c.in, nil); err != nil {
			return err
		}
	}
	return e.authenticate(ctx, 0)
}

func (e *etcds) authenticate(ctx context.Context, i int) error {
	var out struct{ Token string }
	e.token = ""
	err := e.call(ctx, i, "/v3/auth/authenticate", map[string]any{"name": "root", "password": rootPassword}, &out)
	e.token = out.Token
	return err
}
