//go:build linux

package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A plot has a curve for each row that was measured, and every size and power of ten at its axes.
func TestPlot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "growth.svg")
	more := measured()
	for _, r := range more.Rows {
		for i := range r.Runs {
			r.Runs[i].Wall *= 3
		}
	}
	if err := writePlot(file, []*section{measured(), more}, []int{30_000, 100_000}); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var text []string
	d := xml.NewDecoder(f)
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := token.(xml.CharData); ok && strings.TrimSpace(string(c)) != "" {
			text = append(text, string(c))
		}
	}
	if got, want := strings.Join(text, "|"), "floor|a | b|slow|1m40s|10s|1s|100ms|10ms|sockets|30,000|100,000"; got != want {
		t.Errorf("texts %q, want %q", got, want)
	}
}
