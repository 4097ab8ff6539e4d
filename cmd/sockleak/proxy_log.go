//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sockleak/sockleak/cmd/internal/pipe"
)

// A proxyLog is what the proxy says while it runs: lines for people, or JSON with --log json.
type proxyLog struct {
	ui   *ui
	json *slog.Logger // nil: lines
}

// newProxyLog returns a log in the given format, and what is to be called at the end.
func newProxyLog(u *ui, format string) (*proxyLog, func()) {
	missing := func(n uint64) { u.say("", missingText(n)) }
	if format == "json" {
		direct := slog.New(slog.NewJSONHandler(u.w, nil))
		missing = func(n uint64) { direct.Warn(missingText(n), slog.Uint64("lines", n)) }
	}
	w := newPatientWriter(u.w, missing)
	l := &proxyLog{ui: &ui{w: w, quiet: u.quiet, verbose: u.verbose}}
	if format == "json" {
		l.json = slog.New(slog.NewJSONHandler(w, nil))
	}
	return l, w.close
}

func missingText(n uint64) string {
	return fmt.Sprintf("%d lines are missing here: they came faster than they were read", n)
}

const (
	patientLines = 4096        // may wait to be written
	patientEnd   = time.Second // is how long the last of them may take
)

// A patientWriter writes to w in a goroutine of its own, since a terminal that was stopped or a pipe that nobody reads
// must not stop the connections. Lines for which there is no room are counted, and missing is told of them where they
// would have been.
type patientWriter struct {
	w       io.Writer
	missing func(lines uint64)
	lines   chan patientLine
	lost    atomic.Uint64 // since the last line that had room
	over    chan struct{} // closed by close
	done    chan struct{}
}

type patientLine struct {
	text []byte
	lost uint64 // lines before it
}

func newPatientWriter(w io.Writer, missing func(lines uint64)) *patientWriter {
	p := &patientWriter{w: w, missing: missing, lines: make(chan patientLine, patientLines), over: make(chan struct{}), done: make(chan struct{})}
	go p.run()
	return p
}

// Write never fails and never waits. What is written after close is lost.
func (p *patientWriter) Write(line []byte) (int, error) {
	lost := p.lost.Swap(0)
	select {
	case p.lines <- patientLine{bytes.Clone(line), lost}:
	default:
		p.lost.Add(lost + 1)
	}
	return len(line), nil
}

func (p *patientWriter) run() {
	defer close(p.done)
	for {
		select {
		case line := <-p.lines:
			p.put(line)
			continue
		default:
		}
		p.tell(p.lost.Swap(0)) // what nothing has followed yet
		select {
		case line := <-p.lines:
			p.put(line)
		case <-p.over:
			return // and there are no more lines
		}
	}
}

func (p *patientWriter) put(line patientLine) {
	p.tell(line.lost)
	_, _ = p.w.Write(line.text) // who has closed our stderr does not want to know
}

func (p *patientWriter) tell(lost uint64) {
	if lost > 0 {
		p.missing(lost)
	}
}

// close waits until all is written, if somebody reads it.
func (p *patientWriter) close() {
	close(p.over)
	select {
	case <-p.done:
	case <-time.After(patientEnd):
	}
}

// progress is said unless -q.
func (l *proxyLog) progress(text string, attrs ...slog.Attr) {
	if l.json == nil {
		l.ui.progress("%s", text)
	} else if !l.ui.quiet {
		l.json.LogAttrs(context.Background(), slog.LevelInfo, text, attrs...)
	}
}

func (l *proxyLog) listening(mode pipe.Mode, lns []*pipe.Listener, targets []string) {
	for _, ln := range lns {
		text := fmt.Sprintf("%s pipe listening on %s, target %s", mode, ln.Addr(), strings.Join(targets, ", "))
		l.progress(text, slog.String("mode", mode.String()), slog.String("listen", ln.Addr()), slog.Any("targets", targets))
	}
}

// draining says what an end by signal waits for, if it does.
func (l *proxyLog) draining(cfg pipe.Config, active uint64) {
	if active > 0 && cfg.Mode == pipe.Fixed && cfg.Drain > 0 {
		l.progress(fmt.Sprintf("draining: %d connections have %s to end; a second signal does not wait", active, cfg.Drain),
			slog.Uint64("active", active), slog.Duration("drain", cfg.Drain))
	}
}

// warn is Config.Logf: what concerns more than one connection.
func (l *proxyLog) warn(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); l.json == nil {
		l.ui.progress("%s", text)
	} else if !l.ui.quiet {
		l.json.LogAttrs(context.Background(), slog.LevelWarn, text)
	}
}

// connection is Config.Closed: a line for each connection that has ended.
func (l *proxyLog) connection(c pipe.Connection) {
	if l.json == nil {
		l.ui.detail("%s", connectionLine(c))
		return
	}
	attrs := []slog.Attr{
		slog.Uint64("id", c.ID), slog.String("client", c.Client), slog.String("target", c.Target), slog.String("local", c.Local),
		slog.Time("started_at", c.Start), slog.Float64("duration_ms", float64(c.Duration)/float64(time.Millisecond)),
		slog.Uint64("bytes_up", c.BytesUp), slog.Uint64("bytes_down", c.BytesDown), slog.String("cause", c.Cause.String()),
	}
	if c.Err != nil {
		attrs = append(attrs, slog.String("error", c.Err.Error()))
	}
	l.json.LogAttrs(context.Background(), slog.LevelInfo, "connection", attrs...)
}

func connectionLine(c pipe.Connection) string {
	var b strings.Builder
	fmt.Fprintf(&b, "connection %d, %s", c.ID, c.Client)
	if c.Target != "" {
		fmt.Fprintf(&b, " to %s", c.Target)
	}
	fmt.Fprintf(&b, ": %s after %s, %d bytes up, %d down", c.Cause, c.Duration.Round(time.Millisecond), c.BytesUp, c.BytesDown)
	if c.Err != nil {
		fmt.Fprintf(&b, ": %v", c.Err)
	}
	return b.String()
}

func (l *proxyLog) summary(s pipe.Stats) {
	var text strings.Builder
	fmt.Fprintf(&text, "pipe closed: %d connections, %d bytes up, %d bytes down", s.Accepted, s.BytesUp, s.BytesDown)
	attrs := []slog.Attr{
		slog.Uint64("connections", s.Accepted), slog.Uint64("bytes_up", s.BytesUp), slog.Uint64("bytes_down", s.BytesDown),
	}
	for _, c := range pipe.Causes() {
		if n := s.Closed[c]; n > 0 {
			fmt.Fprintf(&text, ", %d %s", n, c)
			attrs = append(attrs, slog.Uint64(c.String(), n))
		}
	}
	l.progress(text.String(), attrs...)
}
