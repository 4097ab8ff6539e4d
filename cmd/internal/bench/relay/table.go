//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"

	"github.com/sockleak/sockleak/cmd/internal/bench/lab"
)

// table is a section as it is printed.
func (s *section) table(c *config) *lab.Table {
	t := &lab.Table{Title: s.figure.name + ": " + s.figure.title(c), Rows: [][]string{s.head()}}
	for _, r := range s.rows {
		if len(r.runs) > 0 {
			t.Rows = append(t.Rows, s.cells(r))
		}
		t.Lost = append(t.Lost, s.notes(c, r)...)
	}
	if len(t.Rows) == 1 {
		t.Rows = nil
	}
	return t
}

func (s *section) head() []string {
	head := []string{"relay"}
	for _, c := range s.figure.columns {
		name := c.Name
		if c.Unit != "" {
			name += " " + c.Unit
		}
		if head = append(head, name); c.ratio {
			head = append(head, "÷ "+baseName)
		}
	}
	return append(head, "rounds")
}

func (s *section) cells(r *row) []string {
	cells := []string{r.relay.name}
	for i, c := range s.figure.columns {
		values, ratios := s.column(r, i)
		if cells = append(cells, cell(values, c.digit)); c.ratio {
			cells = append(cells, cell(ratios, 2))
		}
	}
	return append(cells, strconv.Itoa(len(r.runs)))
}

// cell is a median, and in brackets the ends.
func cell(values []float64, digits int) string {
	if len(values) == 0 {
		return "–"
	}
	return lab.With(lab.SpreadOf(values), func(v float64) string { return strconv.FormatFloat(v, 'f', digits, 64) })
}

// notes says what is not there, or is not as for others.
func (s *section) notes(c *config, r *row) (list []string) {
	if s.figure.name == "idle" {
		if n, why := r.relay.idle(c); why != "" {
			list = append(list, fmt.Sprintf("%s: only %d connections: %s", r.relay.name, n, why))
		}
	}
	if r.lost != nil {
		list = append(list, fmt.Sprintf("%s: failed after %d rounds: %s", r.relay.name, len(r.runs), r.lost))
	}
	return list
}

// document is what -json writes.
type document struct {
	Kernel   string            `json:"kernel"`
	Go       string            `json:"go"`
	CPUs     int               `json:"cpus"`
	OwnNetns bool              `json:"own_netns"`
	Seconds  float64           `json:"seconds"`
	Others   *float64          `json:"others_share,omitempty"` // of all processors, while it was measured
	Versions map[string]string `json:"versions"`
	Figures  []figureWire      `json:"figures"`
}

type figureWire struct {
	Name    string    `json:"name"`
	Title   string    `json:"title"`
	Columns []column  `json:"columns"`
	Relays  []rowWire `json:"relays"`
}

type rowWire struct {
	Relay string    `json:"relay"`
	Runs  []runWire `json:"runs"`
	Lost  string    `json:"lost,omitempty"`
}

type runWire struct {
	Round  int        `json:"round"`
	Values []*float64 `json:"values"` // as the columns; null: there is none
}

func (c *config) document(sections []*section, private bool) *document {
	d := &document{
		Kernel: lab.Kernel(), Go: runtime.Version(), CPUs: runtime.NumCPU(), OwnNetns: private,
		Seconds: c.duration.Seconds(), Versions: c.versions,
	}
	for _, s := range sections {
		f := figureWire{Name: s.figure.name, Title: s.figure.title(c), Columns: s.figure.columns}
		for _, r := range s.rows {
			f.Relays = append(f.Relays, r.wire())
		}
		d.Figures = append(d.Figures, f)
	}
	return d
}

func (r *row) wire() rowWire {
	w := rowWire{Relay: r.relay.name}
	if r.lost != nil {
		w.Lost = r.lost.Error()
	}
	for _, m := range r.runs {
		run := runWire{Round: m.round}
		for _, v := range m.values {
			if math.IsNaN(v) {
				run.Values = append(run.Values, nil)
			} else {
				run.Values = append(run.Values, &v)
			}
		}
		w.Runs = append(w.Runs, run)
	}
	return w
}

func (d *document) write(file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	e := json.NewEncoder(f)
	e.SetIndent("", " ")
	return errors.Join(e.Encode(d), f.Close())
}
