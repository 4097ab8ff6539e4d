package main

// Printing rules. stdout carries the report and nothing else. Everything said to the user goes to stderr, a
// line each: "sockleak: error: …" once, at the end, with a "sockleak: hint: …" behind it when there is
// something to do; progress before, unless -q; details with -v.

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	hints "github.com/sockleak/sockleak/cmd/internal/hint"
	"github.com/sockleak/sockleak/report"
)

type ui struct {
	mu      sync.Mutex
	w       io.Writer
	quiet   bool
	verbose bool
}

func (u *ui) say(kind, s string) {
	u.mu.Lock() // namespaces are read side by side, and tell what they do
	defer u.mu.Unlock()
	fmt.Fprintf(u.w, "sockleak: %s%s\n", kind, report.Clean(s))
}

func (u *ui) error(err error) {
	u.say("error: ", err.Error())
	if h := hints.Of(err); h != "" {
		u.say("hint: ", h)
	}
}

// progress is said while a command works.
func (u *ui) progress(format string, args ...any) {
	if !u.quiet {
		u.say("", fmt.Sprintf(format, args...))
	}
}

func (u *ui) detail(format string, args ...any) {
	if u.verbose {
		u.say("", fmt.Sprintf(format, args...))
	}
}

// outputFlags are the flags of every command that writes a report.
func outputFlags(sorts string, top int) []cli.Flag {
	names := []string{}
	for _, f := range report.Formats() {
		names = append(names, f.Name)
	}
	return append([]cli.Flag{
		&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: names[0], Usage: "`FORMAT`: " + join(names)},
		&cli.BoolFlag{Name: "json", Usage: "the same as -o json"},
		&cli.IntFlag{Name: "top", Value: top, Usage: "show at most `N` rows of a list; 0 shows all"},
		&cli.StringFlag{Name: "sort", Usage: "sort by `COLUMN`: " + sorts, DefaultText: "the first"},
		&cli.BoolFlag{Name: "no-header", Usage: "leave out the names of columns"},
		&cli.StringFlag{Name: "color", Value: "auto", Usage: "`WHEN`: auto, always, never; auto heeds NO_COLOR"},
		&cli.StringFlag{Name: "html", Usage: "keep the result as a page in `FILE`, too"},
		&cli.BoolFlag{Name: "force", Usage: "write over a FILE that exists"},
	}, messageFlags()...)
}

// messageFlags say how much is told on stderr.
func messageFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "say nothing on stderr but errors"},
		&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "say what is read, from where"},
	}
}

// output is how a command writes its report.
type output struct {
	format string
	opts   report.Options
	page   *page // nil: none is kept
}

// keep makes the page of the result, if one is wanted.
func (o *output) keep(v report.Value) error {
	if o.page == nil {
		return nil
	}
	return o.page.write(v, o.opts)
}

// output reads the flags of outputFlags, before any work is done.
func (p *program) output(c *cli.Context, sorts []string) (*output, error) {
	p.ui.quiet, p.ui.verbose = c.Bool("quiet"), c.Bool("verbose")
	o := &output{format: c.String("output")}
	if c.Bool("json") {
		if c.IsSet("output") && o.format != "json" {
			return nil, hint(usage("--json and -o %q contradict each other", o.format), "give one of them")
		}
		o.format = "json"
	}
	known := []string{}
	for _, f := range report.Formats() {
		known = append(known, f.Name)
	}
	if !contains(known, o.format) {
		return nil, hint(usage("unknown format %q", o.format), "the formats are %s", join(known))
	}
	sort := cmp.Or(c.String("sort"), sorts[0])
	if !contains(sorts, sort) {
		return nil, hint(usage("unknown column %q to sort by", c.String("sort")), "the columns are %s", join(sorts))
	}
	if c.Int("top") < 0 {
		return nil, hint(usage("--top %d", c.Int("top")), "give a number of rows, or 0 for all")
	}
	color, err := useColor(c.String("color"), p.stdout)
	if err != nil {
		return nil, err
	}
	o.opts = report.Options{Top: c.Int("top"), Sort: sort, NoHeader: c.Bool("no-header"), Color: color, Width: terminalWidth(p.stdout)}
	o.page, err = newPage(c.String("html"), c.Bool("force"))
	return o, err
}

// writeAll writes the report, and keeps the page of it.
func (p *program) writeAll(o *output, v report.Value) error {
	if err := p.write(o, v); err != nil {
		return err
	}
	return o.keep(v)
}

func (p *program) write(o *output, v report.Value) error {
	return unwritten(report.Write(p.stdout, o.format, v, o.opts))
}

// unwritten hints at what an error of stdout means.
func unwritten(err error) error {
	if err != nil {
		return hint(err, "the report is not complete: stdout is closed or full")
	}
	return nil
}

func useColor(when string, w io.Writer) (bool, error) {
	switch when {
	case "always":
		return true, nil
	case "never":
		return false, nil
	case "auto":
		return terminalWidth(w) > 0 && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb", nil
	}
	return false, hint(usage("unknown value %q of --color", when), "it is auto, always or never")
}

// terminalWidth is 0 when w is no terminal.
func terminalWidth(w io.Writer) int {
	width, _ := terminalSize(w)
	return width
}

// terminalSize is 0 and 0 when w is no terminal.
func terminalSize(w io.Writer) (width, height int) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0, 0
	}
	width, height, err := term.GetSize(int(f.Fd()))
	if err != nil || width < 1 || height < 1 {
		return 80, 24
	}
	return width, height
}

// isTerminal reports whether somebody can type there.
func isTerminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
