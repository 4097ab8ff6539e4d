//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/sockleak/sockleak/cmd/internal/bench/lab"
)

// document is what -json writes.
type document struct {
	Kernel    string     `json:"kernel"`
	Go        string     `json:"go"`
	CPUs      int        `json:"cpus"`
	Busy      bool       `json:"busy"`       // all processors but one
	OwnNetns  bool       `json:"own_netns"`  // the lists have the farm alone
	Others    int64      `json:"others_tcp"` // TCP sockets on the machine before the farm, in all namespaces; -1: not known
	Layout    layout     `json:"layout"`
	Sections  []*section `json:"sections"`
	SizesLeft []string   `json:"sizes_left_out,omitempty"`
}

func (c *config) newDocument(private bool) *document {
	d := &document{
		Kernel: lab.Kernel(), Go: runtime.Version(), CPUs: runtime.NumCPU(), Busy: c.busy, OwnNetns: private, Layout: c.layout,
		Others: lab.ProcField("/proc/net/sockstat", "TCP:", 8), // alloc, which all namespaces share
	}
	return d
}

// conditions says under what conditions all this was measured.
func (d *document) conditions() string {
	processors := "no other load is made"
	if d.Busy {
		processors = fmt.Sprintf("%d of them kept busy", d.CPUs-1)
	}
	where := "in the machine's own network namespace"
	if d.OwnNetns {
		where = "in a network namespace of its own"
	}
	others := "not known"
	if d.Others >= 0 {
		others = fmt.Sprint(d.Others)
	}
	return fmt.Sprintf("%s; TCP sockets of others on the machine: %s; %d processors, %s; Linux %s, %s", where, others, d.CPUs, processors, d.Kernel, d.Go)
}

// title describes a farm.
func (c *config) title(f *farm, l layout) string {
	kind := map[string]string{"4": "IPv4", "6": "IPv6", "mixed": "IPv4, IPv6 and IPv4 in IPv6"}[l.Families]
	return fmt.Sprintf("%s sockets (%s; peer addresses: %d; with keepalive at one end: %g %%); processes: %d; PID is %d and has %d descriptors; rounds: %d",
		lab.Grouped(f.sockets), kind, l.addresses(f.sockets/2), 100*l.Keepalive, len(f.holders), f.pid(), f.descriptors(), c.rounds)
}

// bench does what the flags say.
func (c *config) bench(ctx context.Context, dir string, private bool) error {
	p := programsIn(dir)
	d := c.newDocument(private)
	if c.growth {
		return c.grow(ctx, p, d)
	}
	if c.profile == "" && !c.hold {
		fmt.Printf("%s\n\n", strings.ToUpper(d.conditions()[:1])+d.conditions()[1:])
		if err := c.measureEmpty(ctx, p, d); err != nil {
			return err
		}
	}
	f, err := plant(p, c.layout)
	defer f.close()
	switch {
	case err != nil:
		return err
	case c.hold:
		return c.keep(ctx, f, private)
	case c.profile != "":
		fmt.Printf("%s\n\n", c.title(f, c.layout))
		return profiles(ctx, p, f.pid(), c.profile)
	}
	s := &section{Title: c.title(f, c.layout), Rows: choose(p, compared(p, f.pid()), "", c.rows)}
	leaveOut(s.Rows, f.sockets, c.slowLimit)
	if err := c.measure(ctx, p, d, s); err != nil {
		return err
	}
	return c.writeJSON(d)
}

// measureEmpty measures before there is a farm.
func (c *config) measureEmpty(ctx context.Context, p programs, d *document) error {
	s := &section{Title: "empty: no sockets", Rows: choose(p, ofEmpty(p), "empty ", c.rows)}
	if !d.OwnNetns {
		for _, r := range s.Rows {
			r.LeftOut = "no network namespace of its own, which takes root, is there to be empty"
		}
	}
	return c.measure(ctx, p, d, s)
}

// measure runs a section and prints it.
func (c *config) measure(ctx context.Context, p programs, d *document, s *section) error {
	if len(s.Rows) == 0 {
		return nil
	}
	if err := c.runSection(ctx, p, s); err != nil {
		return err
	}
	d.Sections = append(d.Sections, s)
	if c.markdown {
		return s.table().WriteMarkdown(os.Stdout)
	}
	return s.table().WriteText(os.Stdout)
}

func (c *config) runSection(ctx context.Context, p programs, s *section) error {
	if c.busy {
		stop, err := busyCores(p)
		defer stop()
		if err != nil {
			return err
		}
	}
	return s.run(ctx, p, c.rounds)
}

func (c *config) writeJSON(d *document) error {
	if c.json == "" {
		return nil
	}
	f, err := os.Create(c.json)
	if err != nil {
		return err
	}
	e := json.NewEncoder(f)
	e.SetIndent("", " ")
	return errors.Join(e.Encode(d), f.Close())
}

// keep keeps a farm until stdin ends or an interrupt comes.
func (c *config) keep(ctx context.Context, f *farm, private bool) error {
	fmt.Println(c.title(f, c.layout))
	if private {
		fmt.Printf("in a network namespace of its own: nsenter --net=/proc/%d/ns/net sockleak tcpstat\n", f.pid())
	}
	for _, h := range f.holders {
		fmt.Println(h.cmd.Process.Pid)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		ended <- err
	}()
	select {
	case <-ctx.Done():
		return nil
	case err := <-ended:
		return err
	}
}
