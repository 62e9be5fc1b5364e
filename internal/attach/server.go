package attach

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"sango/internal/san"
)

// statusServer serves the status socket of an attachment.
type statusServer struct {
	srv  *http.Server
	done chan struct{}
}

// ServeSocket serves h on a unix socket for its owner alone, until stop, which
// takes the socket away.
func ServeSocket(path string, h http.Handler, log *slog.Logger) (stop func(), err error) {
	l, err := listen(path)
	if err != nil {
		return nil, err
	}
	return serveHTTP(l, h, log).close, nil
}

func serveHTTP(l net.Listener, h http.Handler, log *slog.Logger) *statusServer {
	s := &statusServer{
		srv:  &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10},
		done: make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		if err := s.srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the status socket is not served any more", "err", err)
		}
	}()
	return s
}

// answerTime bounds the answers that are under way when the attachment ends.
const answerTime = time.Second

// serveStatus starts it.
func (a *attachment) serveStatus() (*statusServer, error) {
	l, err := listen(a.o.Dir.Socket(a.o.Name))
	if err != nil {
		return nil, err
	}
	reg := prometheus.NewRegistry()
	if err := reg.Register(collector{a}); err != nil {
		l.Close()
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { answer(w, a.status(), nil) })
	mux.HandleFunc("POST /detach", a.handleDetach)
	mux.HandleFunc("POST /optimize", a.handleOptimize)
	return serveHTTP(l, mux, a.o.Logger), nil
}

// close ends it, and its socket.
func (s *statusServer) close() {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	if s.srv.Shutdown(ctx) != nil {
		s.srv.Close()
	}
	<-s.done
}

// failure is the body of an answer that is no success.
type failure struct {
	Error string `json:"error"`
}

// kinds pairs the kinds of errors with HTTP statuses, both ways.
var kinds = []struct {
	kind error
	code int
}{
	{san.ErrInvalid, http.StatusBadRequest},
	{san.ErrNotFound, http.StatusNotFound},
	{san.ErrRefused, http.StatusConflict},
	{san.ErrUnavailable, http.StatusServiceUnavailable},
}

// answer writes v, or err.
func answer(w http.ResponseWriter, v any, err error) {
	code := http.StatusOK
	if err != nil {
		code, v = http.StatusInternalServerError, failure{err.Error()}
		for _, k := range kinds {
			if errors.Is(err, k.kind) {
				code = k.code
				break
			}
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // who asked may be gone
}

// handleDetach ends the attachment, ?force=true also if its disk is in use.
// The answer comes when nothing is left.
func (a *attachment) handleDetach(w http.ResponseWriter, r *http.Request) {
	force := false
	if v := r.URL.Query().Get("force"); v != "" {
		var err error
		if force, err = strconv.ParseBool(v); err != nil {
			answer(w, nil, san.Errorf(san.ErrInvalid, "force=%s: use true or false", clip(v)))
			return
		}
	}
	d := detaching{force: force, done: make(chan error, 1)}
	select {
	case a.detach <- d:
	case <-r.Context().Done():
		return
	}
	select {
	case err := <-d.done:
		answer(w, struct{}{}, err)
	case <-r.Context().Done():
	}
}

// handleOptimize asks the target to make ?group=N the one to use.
func (a *attachment) handleOptimize(w http.ResponseWriter, r *http.Request) {
	v := r.URL.Query().Get("group")
	n, err := strconv.ParseUint(v, 10, 16)
	s := a.stack.Load()
	switch {
	case err != nil:
		err = san.Errorf(san.ErrInvalid, "group=%s: name a target port group by its number", clip(v))
	case s == nil || s.paths == nil:
		err = san.Errorf(san.ErrRefused, "attachment %s has no paths", a.o.Name)
	default:
		err = answerOf(s.paths.Optimize(r.Context(), uint16(n)))
	}
	answer(w, struct{}{}, err)
}
