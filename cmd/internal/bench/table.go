package main

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

var columns = []string{"command", "wall", "CPU", "peak RSS", "wall ÷ floor", "CPU ÷ floor", "runs"}

// cells are the row's figures as the columns have them; nil when it has none.
func (s *section) cells(r *row) []string {
	if len(r.Runs) == 0 {
		return nil
	}
	f := r.summary(s.floor())
	cells := []string{
		r.Name, with(f.wall, milliseconds), milliseconds(f.cpu.median), mebibytes(f.rss.median),
		with(f.overWall, times), times(f.overCPU.median), fmt.Sprint(len(r.Runs)),
	}
	if len(s.floor().Runs) == 0 {
		cells[4], cells[5] = "–", "–"
	}
	return cells
}

// table is the cells of the rows that have figures.
func (s *section) table() (rows [][]string) {
	for _, r := range s.Rows {
		if cells := s.cells(r); cells != nil {
			rows = append(rows, cells)
		}
	}
	return rows
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

// writeText writes a table for a terminal.
func (s *section) writeText(out io.Writer) error {
	w := bufio.NewWriter(out)
	fmt.Fprintf(w, "%s\n\n", s.Title)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, cells := range s.table() {
		if i == 0 {
			fmt.Fprintln(t, strings.Join(columns, "\t"))
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, line := range s.leftOut() {
		fmt.Fprintln(w, line)
	}
	fmt.Fprintln(w)
	return w.Flush()
}

// writeMarkdown writes a table for a README.
func (s *section) writeMarkdown(out io.Writer) error {
	w := bufio.NewWriter(out)
	fmt.Fprintf(w, "%s\n\n", s.Title)
	rows := s.table()
	for i, cells := range rows {
		if i == 0 {
			markdownRow(w, columns)
			markdownRow(w, slices.Repeat([]string{"---"}, len(columns)))
		}
		cells[0] = "`" + cells[0] + "`"
		markdownRow(w, cells)
	}
	if len(rows) > 0 {
		fmt.Fprintln(w)
	}
	writeList(w, s.leftOut())
	return w.Flush()
}

func markdownRow(w io.Writer, cells []string) {
	for _, c := range cells {
		fmt.Fprintf(w, "| %s ", strings.ReplaceAll(c, "|", `\|`))
	}
	fmt.Fprintln(w, "|")
}

func writeList(w io.Writer, lines []string) {
	for _, line := range lines {
		fmt.Fprintln(w, "-", line)
	}
	if len(lines) > 0 {
		fmt.Fprintln(w)
	}
}
