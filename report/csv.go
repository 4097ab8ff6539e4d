package report

import (
	"encoding/csv"
	"io"
	"slices"
	"strings"
)

// writeCSV writes every table of the document as one, so that a gap is never lost: the first column
// says which table a row is of, the others are the columns of all tables, empty where a row has none.
func writeCSV(w io.Writer, v Value, o Options) error {
	o.wide, o.data = true, true
	tables := v.document(o).tables()
	var keys []string
	for _, t := range tables {
		for _, c := range t.Columns {
			if !slices.Contains(keys, c.Key) {
				keys = append(keys, c.Key)
			}
		}
	}
	out := csv.NewWriter(w)
	if !o.NoHeader {
		if err := out.Write(append([]string{"table"}, keys...)); err != nil {
			return err
		}
	}
	record := make([]string, 1+len(keys))
	for _, t := range tables {
		at := make([]int, len(t.Columns))
		for i, c := range t.Columns {
			at[i] = 1 + slices.Index(keys, c.Key)
		}
		for _, row := range t.Rows {
			clear(record)
			record[0] = t.Name
			for i, c := range row {
				record[at[i]] = c.csv()
			}
			if err := out.Write(record); err != nil {
				return err
			}
		}
	}
	out.Flush()
	return out.Error()
}

// tables are those of a document, and the numbers of its plots as a last one.
func (d *Document) tables() (list []*Table) {
	var plots []*Plot
	for _, s := range d.Sections {
		if s.Table != nil {
			list = append(list, s.Table)
		}
		plots = append(plots, s.Plots...)
	}
	if t := plotTable(plots); len(t.Rows) > 0 {
		list = append(list, t)
	}
	return list
}

// csv quotes what a spreadsheet would run: a cell that is not a number of ours and begins like a
// formula.
func (c Cell) csv() string {
	s := Clean(c.Raw)
	if !c.num && s != "" && strings.ContainsRune("=+-@|%", rune(s[0])) {
		return "'" + s
	}
	return s
}
