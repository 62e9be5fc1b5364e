package main

import (
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

var (
	single  = topology{gateways: 1, portals: 3, hosts: 2, plain: 2, rivals: 3}
	cluster = topology{gateways: 3, portals: 1, etcds: 3, hosts: 2, plain: 2, rivals: 3}
)

// The plan is a function of seed and topology.
func TestPlanIsReplayed(t *testing.T) {
	for _, top := range []topology{single, cluster} {
		a, b := newPlan(7, top, 10*time.Minute, nil), newPlan(7, top, 10*time.Minute, nil)
		if len(a) < 60 || !reflect.DeepEqual(a, b) {
			t.Errorf("%d faults, and another time %d", len(a), len(b))
		}
		if reflect.DeepEqual(a, newPlan(8, top, 10*time.Minute, nil)) {
			t.Error("another seed gives the same plan")
		}
	}
}

// Only what there is has faults, and all of it does.
func TestPlanFitsTopology(t *testing.T) {
	for _, top := range []topology{single, cluster} {
		seen := map[string]bool{}
		for seed := range uint64(20) {
			for _, f := range newPlan(seed, top, 10*time.Minute, nil) {
				k := kindOf(f.kind)
				a, b := k.applies(top)
				if f.a >= a || f.b >= b || f.last > k.most || f.at+f.last > 11*time.Minute {
					t.Fatalf("%v at %v for %v", &f, f.at, f.last)
				}
				seen[f.kind] = true
			}
		}
		for _, k := range kinds {
			a, b := k.applies(top)
			if seen[k.name] != (k.weight > 0 && a > 0 && b > 0) {
				t.Errorf("%s: drawn %v with %+v", k.name, seen[k.name], top)
			}
		}
	}
}

// Nothing is hit twice at a time, nor right after.
func TestPlanRests(t *testing.T) {
	until := map[string]time.Duration{}
	for _, f := range newPlan(3, cluster, time.Hour, nil) {
		for _, h := range kindOf(f.kind).holds(&f) {
			if until[h] > f.at {
				t.Errorf("%v at %v: %s is busy until %v", &f, f.at, h, until[h])
			}
			until[h] = f.at + f.last + rest
		}
	}
}

func TestPlanOfKinds(t *testing.T) {
	for _, f := range newPlan(3, cluster, time.Hour, regexp.MustCompile("^kill-")) {
		if !strings.HasPrefix(f.kind, "kill-") {
			t.Errorf("%v was not asked for", &f)
		}
	}
}
