package report

import (
	"bufio"
	"fmt"
	"io"
)

// Options are a user's wishes for how a report looks. The zero value is a plain table with all rows.
type Options struct {
	Top      int // rows of a list and samples of a finding; 0: all
	Sort     string
	NoHeader bool // leave out the column names
	Color    bool
	NoPlots  bool
	Width    int // columns of the terminal, for wrapping text; 0: 100

	wide  bool
	data  bool   // for a program: nothing is cut or folded but what Top cuts
	allBy string // the command, with a blank behind it, whose --top 0 shows all samples; "": the one that ran
}

// Value is something that can be written: what [Leakscan], [Tcpstat], [Compare] and [Diff] make.
type Value interface {
	document(Options) *Document
	wire(Options) any
}

// Format is a way to write a value.
type Format struct {
	Name  string
	Doc   string
	write func(io.Writer, Value, Options) error
}

// Formats lists every format; the first is the default.
func Formats() []Format {
	return []Format{
		{"table", "for people", writeTable},
		{"wide", "the table with every column that has something in it", writeWide},
		{"json", "one JSON document, indented; the schema is stable", writeJSON},
		{"jsonl", "the same document on one line", writeJSONLine},
		{"csv", "every table in one, the first column names it", writeCSV},
		{"html", "one page that needs nothing else: plots, tables to sort and filter, no request", writeHTML},
	}
}

// Write writes v in the named format. The error is that of the format's name, or of w.
func Write(w io.Writer, format string, v Value, o Options) error {
	for _, f := range Formats() {
		if f.Name == format {
			b := bufio.NewWriterSize(w, 64<<10)
			if o.NoPlots {
				v = plotless{v}
			}
			if err := f.write(b, v, o); err != nil {
				return fmt.Errorf("write report: %w", err)
			}
			if err := b.Flush(); err != nil {
				return fmt.Errorf("write report: %w", err)
			}
			return nil
		}
	}
	return fmt.Errorf("unknown format %q", format)
}

// plotless is a value without its plots.
type plotless struct{ Value }

func (v plotless) document(o Options) *Document {
	d := v.Value.document(o)
	for i := range d.Sections {
		d.Sections[i].Plots = nil
	}
	return d
}
