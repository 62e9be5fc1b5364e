package meta

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// A warning of which etcd has many is told once a minute, with how many there
// were; errors are all told.
func TestWarningsOfEtcdAreFew(t *testing.T) {
	var out bytes.Buffer
	core := newSlogCore(slog.New(slog.NewTextHandler(&out, nil))).With([]zap.Field{zap.String("a", "b")})
	now := time.Now()
	say := func(l zapcore.Level, text string) {
		if e := core.Check(zapcore.Entry{Level: l, Time: now, Message: text}, nil); e != nil {
			e.Write()
		}
	}
	const text = "leader failed to send out heartbeat on time"
	for range 600 {
		say(zapcore.WarnLevel, text)
		now = now.Add(oftenEvery / 600)
	}
	say(zapcore.WarnLevel, text)
	say(zapcore.WarnLevel, "something else")
	say(zapcore.ErrorLevel, text+"!")
	say(zapcore.ErrorLevel, text+"!")
	said := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(said) != 5 || strings.Contains(said[0], "untold") || !strings.Contains(said[1], "untold=599") || strings.Contains(said[2], "untold") {
		t.Errorf("%d lines: %s", len(said), out.String())
	}
}

// What etcd says of certificates is told as a warning that says so, once a minute,
// also where nothing else of it is.
func TestRefusedCertificatesAreTold(t *testing.T) {
	var out bytes.Buffer
	core := newSlogCore(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn})))
	now := time.Now()
	for range 3 {
		for _, text := range []string{"remote error: tls: bad certificate", "EOF"} {
			if e := core.Check(zapcore.Entry{Level: zapcore.WarnLevel, Time: now, Message: "rejected connection on peer endpoint"}, nil); e != nil {
				e.Write(zap.Error(errors.New(text)))
			}
		}
		now = now.Add(time.Second)
	}
	if s := out.String(); strings.Count(s, "\n") != 1 || !strings.Contains(s, "because of certificates") || !strings.Contains(s, "tls: bad certificate") || !strings.Contains(s, "level=WARN") {
		t.Errorf("it says %s", s)
	}
}
