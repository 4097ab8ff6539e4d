//go:build linux

package lab

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// Table is figures as they are printed.
type Table struct {
	Title string
	// Rows are cells. The first row is the head; in the others the first cell is what was measured.
	Rows [][]string
	// Lost are lines about what has no figures, or not all.
	Lost []string
}

// WriteText writes a table for a terminal.
func (t *Table) WriteText(out io.Writer) error {
	w := bufio.NewWriter(out)
	fmt.Fprintf(w, "%s\n\n", t.Title)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, cells := range t.Rows {
		fmt.Fprintln(tw, strings.Join(cells, "\t"))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, line := range t.Lost {
		fmt.Fprintln(w, line)
	}
	fmt.Fprintln(w)
	return w.Flush()
}

// WriteMarkdown writes a table for a README.
func (t *Table) WriteMarkdown(out io.Writer) error {
	w := bufio.NewWriter(out)
	fmt.Fprintf(w, "%s\n\n", t.Title)
	for i, cells := range t.Rows {
		if i == 0 {
			markdownRow(w, cells)
			markdownRow(w, slices.Repeat([]string{"---"}, len(cells)))
			continue
		}
		markdownRow(w, append([]string{"`" + cells[0] + "`"}, cells[1:]...))
	}
	if len(t.Rows) > 0 {
		fmt.Fprintln(w)
	}
	for _, line := range t.Lost {
		fmt.Fprintln(w, "-", line)
	}
	if len(t.Lost) > 0 {
		fmt.Fprintln(w)
	}
	return w.Flush()
}

func markdownRow(w io.Writer, cells []string) {
	for _, c := range cells {
		fmt.Fprintf(w, "| %s ", strings.ReplaceAll(c, "|", `\|`))
	}
	fmt.Fprintln(w, "|")
}

// Grouped writes a number with its thousands apart.
func Grouped(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", Grouped(n/1000), n%1000)
}
