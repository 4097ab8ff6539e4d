//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/sockleak/sockleak/cmd/internal/bench/lab"
)

// grow measures sockleak at several sizes, prints a table in Markdown, and plots it.
func (c *config) grow(ctx context.Context, p programs, d *document) error {
	var sizes []int
	for _, n := range c.sizes {
		s, err := c.growTo(ctx, p, n)
		if ctx.Err() != nil {
			return errInterrupted
		}
		if err != nil {
			d.SizesLeft = append(d.SizesLeft, fmt.Sprintf("%s sockets: left out: %s", lab.Grouped(n), err))
			continue
		}
		fmt.Fprintf(os.Stderr, "bench: %s sockets measured\n", lab.Grouped(n))
		sizes, d.Sections = append(sizes, n), append(d.Sections, s)
	}
	if len(sizes) == 0 {
		return fmt.Errorf("no size could be measured: %s", strings.Join(d.SizesLeft, "; "))
	}
	if err := writeGrowth(os.Stdout, d, sizes); err != nil {
		return err
	}
	if c.svg != "" {
		if err := writePlot(c.svg, d.Sections, sizes); err != nil {
			return err
		}
	}
	return c.writeJSON(d)
}

// growTo measures at one size.
func (c *config) growTo(ctx context.Context, p programs, sockets int) (*section, error) {
	l := c.layout
	l.Sockets = sockets
	f, err := plant(p, l)
	defer f.close()
	if err != nil {
		return nil, err
	}
	s := &section{Title: c.title(f, l), Rows: choose(p, ours(p, f.pid()), "", c.rows)}
	return s, c.runSection(ctx, p, s)
}

// writeGrowth writes a row per command and a column per size: the median of the wall time and that of the ratio to the floor.
func writeGrowth(out *os.File, d *document, sizes []int) error {
	t := &lab.Table{Title: "Wall time, and in brackets how many times the floor; " + d.conditions(), Lost: d.SizesLeft}
	head := []string{"command"}
	for _, n := range sizes {
		head = append(head, lab.Grouped(n)+" sockets")
	}
	t.Rows = append(t.Rows, head)
	for i, first := range d.Sections[0].Rows {
		cells := []string{first.Name}
		for j, s := range d.Sections {
			cells = append(cells, growthCell(s, s.Rows[i]))
			for _, line := range s.Rows[i].leftOut() {
				t.Lost = append(t.Lost, lab.Grouped(sizes[j])+" sockets: "+line)
			}
		}
		t.Rows = append(t.Rows, cells)
	}
	return t.WriteMarkdown(out)
}

func growthCell(s *section, r *row) string {
	if len(r.Runs) == 0 {
		return "–"
	}
	f := r.summary(s.floor())
	return fmt.Sprintf("%s (%s)", milliseconds(f.wall.Median), times(f.overWall.Median))
}
