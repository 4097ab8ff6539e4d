//go:build linux

package main

import (
	"fmt"

	"github.com/sockleak/sockleak/cmd/internal/bench/lab"
)

var columns = []string{"command", "wall", "CPU", "peak RSS", "wall ÷ floor", "CPU ÷ floor", "runs"}

// cells are the row's figures as the columns have them; nil when it has none.
func (s *section) cells(r *row) []string {
	if len(r.Runs) == 0 {
		return nil
	}
	f := r.summary(s.floor())
	cells := []string{
		r.Name, lab.With(f.wall, milliseconds), milliseconds(f.cpu.Median), mebibytes(f.rss.Median),
		lab.With(f.overWall, times), times(f.overCPU.Median), fmt.Sprint(len(r.Runs)),
	}
	if len(s.floor().Runs) == 0 {
		cells[4], cells[5] = "–", "–"
	}
	return cells
}

// table is the rows that have figures, and what is lost.
func (s *section) table() *lab.Table {
	t := &lab.Table{Title: s.Title, Lost: s.leftOut()}
	for _, r := range s.Rows {
		cells := s.cells(r)
		if cells == nil {
			continue
		}
		if t.Rows == nil {
			t.Rows = append(t.Rows, columns)
		}
		t.Rows = append(t.Rows, cells)
	}
	return t
}

// leftOut lists the rows that have no figures, or not all.
func (s *section) leftOut() (list []string) {
	for _, r := range s.Rows {
		list = append(list, r.leftOut()...)
	}
	return list
}

// leftOut says, in one line if any, that the row has no figures, or not all.
func (r *row) leftOut() []string {
	switch {
	case r.LeftOut == "":
		return nil
	case len(r.Runs) > 0:
		return []string{fmt.Sprintf("%s: only %d runs: %s", r.Name, len(r.Runs), r.LeftOut)}
	}
	return []string{fmt.Sprintf("%s: left out: %s", r.Name, r.LeftOut)}
}
