//go:build linux

package main

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// A stuck writer writes nothing until it is released.
type stuck struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *stuck) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(b)
}

func TestPatientWriter(t *testing.T) {
	var w stuck
	w.mu.Lock()
	p := newPatientWriter(&w, func(n uint64) { fmt.Fprintf(&w, "%d missing\n", n) })
	const lines = patientLines + 1000
	for i := range lines {
		fmt.Fprintf(p, "line %d\n", i)
	}
	w.mu.Unlock()
	p.close()
	got := strings.Split(strings.TrimSpace(w.buf.String()), "\n")
	var next, written int
	for _, line := range got {
		var n int
		if _, err := fmt.Sscanf(line, "%d missing", &n); err == nil {
			next += n
			continue
		}
		if line != fmt.Sprintf("line %d", next) {
			t.Fatalf("%q where line %d was expected", line, next)
		}
		next++
		written++
	}
	if written < patientLines || written > patientLines+1 || next != lines {
		t.Errorf("%d lines written, and %d with what was told as missing; %d were said", written, next, lines)
	}
}

// TestPatientWriterGivesUp holds that the end does not wait for a reader that is not there.
func TestPatientWriterGivesUp(t *testing.T) {
	var w stuck
	w.mu.Lock()
	defer w.mu.Unlock()
	p := newPatientWriter(&w, func(uint64) {})
	fmt.Fprintln(p, "hello")
	ended := make(chan struct{})
	go func() { p.close(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Fatal("close waits for ever")
	}
	fmt.Fprintln(p, "and more") // nobody minds
}
