package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// The scripts in testdata/script run the command line as processes of its own,
// against real demo processes.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"sango": func() {
			os.Exit(Run(context.Background(), "test", os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
		},
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("SANGO_DIR", "")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"appears": appears, "status": exitIs, "getjson": getJSON, "golden": golden, "samebytes": sameBytes, "random": random, "terminate": terminate,
			"freeports": freePorts, "expand": expand, "until": until,
		},
	})
}

// terminate: send SIGTERM to all background processes.
func terminate(ts *testscript.TestScript, _ bool, _ []string) {
	for _, c := range ts.BackgroundCmds() {
		ts.Check(c.Process.Signal(syscall.SIGTERM))
	}
}

// appears FILE: wait until a file is there.
func appears(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(2 * time.Minute)
	for {
		if _, err := os.Stat(path); err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("%s does not appear", args[0])
		}
	}
}

// until REGEXP ARGS...: run sango with the arguments until its output matches.
func until(ts *testscript.TestScript, neg bool, args []string) {
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(2 * time.Minute)
	for {
		err := ts.Exec("sango", args[1:]...)
		if err == nil && re.MatchString(ts.ReadFile("stdout")) != neg {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("the output of sango %s never is as %s wants it", strings.Join(args[1:], " "), args[0])
		}
	}
}

// freeports VARIABLE...: put addresses whose ports are free into the environment.
func freePorts(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		defer l.Close()
		ts.Setenv(name, l.Addr().String())
	}
}

// expand FILE...: put values of the environment into files, for $VARIABLE.
func expand(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(os.Expand(ts.ReadFile(name), ts.Getenv)), 0o600))
	}
}

// status CODE ARGS...: run sango and want the exit status CODE.
func exitIs(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec("sango", args[1:]...)
	got := "0"
	if err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != args[0] {
		ts.Fatalf("sango %s: exit status %s, want %s", strings.Join(args[1:], " "), got, args[0])
	}
}

// getjson FILE PATH VARIABLE: put a value of a JSON file into the environment.
func getJSON(ts *testscript.TestScript, _ bool, args []string) {
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &v))
	for _, step := range strings.Split(args[1], ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[step]
		case []any:
			var i int
			if _, err := fmt.Sscan(step, &i); err != nil || i >= len(x) {
				ts.Fatalf("%s: no element %s", args[0], step)
			}
			v = x[i]
		default:
			ts.Fatalf("%s: no %s", args[0], args[1])
		}
	}
	ts.Setenv(args[2], fmt.Sprint(v))
}

// What differs from run to run.
var volatile = []struct {
	re   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`), "UUID"},
	{regexp.MustCompile(`"3[0-9a-f]{15}"`), `"NAA"`},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+Z`), "TIME"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "ADDRESS"},
	{regexp.MustCompile(`"owner": "demo-\d"`), `"owner": "GATEWAY"`},
	{regexp.MustCompile(`"(pid|store_free|store_size|used)": \d+`), `"$1": N`},
}

// golden FILE WANT: compare, apart from what differs from run to run.
func golden(ts *testscript.TestScript, _ bool, args []string) {
	got := strings.ReplaceAll(ts.ReadFile(args[0]), ts.Getenv("WORK"), "WORK")
	for _, v := range volatile {
		got = v.re.ReplaceAllString(got, v.with)
	}
	if want := ts.ReadFile(args[1]); got != want {
		ts.Fatalf("got:\n%s\nwant:\n%s", got, want)
	}
}

// samebytes A B: compare files.
func sameBytes(ts *testscript.TestScript, neg bool, args []string) {
	if same := ts.ReadFile(args[0]) == ts.ReadFile(args[1]); same == neg {
		ts.Fatalf("%s and %s: same = %v", args[0], args[1], same)
	}
}

// random FILE BYTES ZEROS: make a file of BYTES that are not zero and ZEROS
// that are.
func random(ts *testscript.TestScript, _ bool, args []string) {
	var n, zeros int
	_, err := fmt.Sscan(args[1]+" "+args[2], &n, &zeros)
	ts.Check(err)
	pattern := []byte(args[0] + " is not zero. ")
	b := slices.Repeat(pattern, n/len(pattern)+1)[:n]
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), append(b, make([]byte, zeros)...), 0o600))
}
