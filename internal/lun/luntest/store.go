// Package luntest is for tests that need logical units.
package luntest

import (
	"bytes"
	"sync"
)

// Store is a lun.UnitStore in memory. The zero value is empty.
type Store struct {
	mu sync.Mutex // guards m
	m  map[string][]byte
}

// Load implements lun.UnitStore.
func (s *Store) Load(name string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.m[name]), nil
}

// Save implements lun.UnitStore.
func (s *Store) Save(name string, b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case b == nil:
		delete(s.m, name)
	case s.m == nil:
		s.m = map[string][]byte{name: bytes.Clone(b)}
	default:
		s.m[name] = bytes.Clone(b)
	}
	return nil
}
