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
	var missing, written int
	for _, line := range got {
		var n int
		if _, err := fmt.Sscanf(line, "%d missing", &n); err == nil {
			missing += n
		} else if line == fmt.Sprintf("line %d", written) {
			written++
		}
	}
	if written < patientLines || written+missing != lines {
		t.Errorf("%d lines written in their order, %d told as missing; %d were said", written, missing, lines)
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
