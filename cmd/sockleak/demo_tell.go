//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/sockleak/sockleak/cmd/internal/scan"
	"github.com/sockleak/sockleak/report"
)

// teller tells the steps of a demo as they happen: on a terminal one under the other, with a line that changes while
// something goes on, and elsewhere in plain lines.
type teller struct {
	ui      *ui
	width   int // of the terminal, 0 without one
	color   bool
	story   []string // the steps so far
	changes bool     // the line that changes is there
}

// What a step tells of; it has the colour of that.
type stepKind string

const (
	stepGoes  stepKind = "1;36"
	stepWrong stepKind = "1;33"
	stepGood  stepKind = "1;32"
	stepLeak  stepKind = "1;31"
)

func newTeller(u *ui, color string) (*teller, error) {
	useColors, err := useColor(color, u.w)
	if err != nil {
		return nil, err
	}
	return &teller{ui: u, width: terminalWidth(u.w), color: useColors}, nil
}

// begin tells what the next steps are about.
func (t *teller) begin(title string) {
	t.story = nil
	if t.width == 0 {
		t.ui.progress("%s", title)
		return
	}
	t.print("")
	for _, line := range report.Wrap(title, t.width) {
		t.print(t.style("1", line))
	}
}

// stepIndent is how far the text of a step stands from the left.
const stepIndent = 4

// step tells the next one.
func (t *teller) step(kind stepKind, format string, args ...any) {
	text := report.Clean(fmt.Sprintf(format, args...))
	t.story = append(t.story, text)
	t.stop()
	if t.width == 0 {
		t.ui.progress("%d. %s", len(t.story), text)
		return
	}
	head := t.style(string(kind), fmt.Sprintf("%2d", len(t.story))) + "  "
	for _, line := range t.wrap(text) {
		t.print(head + line)
		head = strings.Repeat(" ", stepIndent)
	}
}

// wrap breaks a text for the terminal: lines that are longer than this are hard to read.
func (t *teller) wrap(text string) []string {
	const most, least = 110, 20
	if t.width == 0 {
		return []string{text}
	}
	return report.Wrap(text, max(min(t.width, most)-stepIndent-2, least))
}

// going says how far something has come, on a terminal, in a line that the next call or step takes away.
func (t *teller) going(format string, args ...any) {
	if t.width <= stepIndent || t.ui.quiet {
		return
	}
	text := []rune(fmt.Sprintf(format, args...))
	text = text[:min(len(text), t.width-stepIndent-1)] // a line that is broken could not be taken away
	fmt.Fprint(t.ui.w, "\r"+strings.Repeat(" ", stepIndent)+t.style("2", string(text))+eraseLine)
	t.changes = true
}

// stop takes away what changes.
func (t *teller) stop() {
	if t.changes {
		fmt.Fprint(t.ui.w, "\r"+eraseLine)
		t.changes = false
	}
}

// commands shows how to look for oneself, now.
func (t *teller) commands(list []report.Command) {
	indent := strings.Repeat(" ", stepIndent)
	t.print("")
	t.print(indent + "Look for yourself in another terminal:")
	for _, c := range list {
		t.print(indent + t.style("2", "$") + " " + t.style("1", report.Clean(c.Line)))
		for _, line := range t.wrap(report.Clean(c.Shows)) {
			t.print(indent + "  " + line)
		}
	}
}

// await waits for Enter, or for the end of the input. The line that asks is there with --quiet, too.
func (t *teller) await(ctx context.Context, in io.Reader) error {
	fmt.Fprint(t.ui.w, strings.Repeat(" ", stepIndent)+t.style("1;36", "Enter")+" goes on with the scan. ")
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = bufio.NewReaderSize(in, 16).ReadString('\n') // an end is as good
	}()
	select {
	case <-read:
		t.print("")
		return nil
	case <-ctx.Done():
		fmt.Fprintln(t.ui.w)
		return scan.ErrInterrupted
	}
}

func (t *teller) print(s string) {
	if !t.ui.quiet {
		fmt.Fprintln(t.ui.w, s)
	}
}

func (t *teller) style(code, s string) string {
	if !t.color {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// eraseLine is the control sequence that empties the rest of a terminal's line.
const eraseLine = "\x1b[K"
