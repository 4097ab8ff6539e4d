package report

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// counts are what the original hunt counted of a process.
type counts struct {
	byState                  map[string]int
	estab, timer, noTimer    int
	closeWait, dark, foreign int
	timeWait                 int
}

func countsOf(p *diag.Proc) counts {
	c := counts{byState: map[string]int{}, dark: len(p.Dark), foreign: p.Foreign, timeWait: p.TimeWait}
	for i := range p.Held {
		h := &p.Held[i]
		c.byState[h.State.String()]++
		switch {
		case h.State == netlinkss.CloseWait:
			c.closeWait++
		case h.State != netlinkss.Estab:
		case h.Timer == netlinkss.TimerOff:
			c.estab++
			c.noTimer++
		default:
			c.estab++
			c.timer++
		}
	}
	return c
}

func processSection(p *diag.Proc) Section {
	return Section{
		Heading: diag.Subject(p.Process) + commandLine(p),
		Facts: []Fact{
			{"process", processFacts(p)},
			{"descriptors", descriptorFacts(p)},
			{"TCP", tcpFacts(p)},
		},
		Table: processTable(p),
	}
}

// maxArgs is how much of the arguments is shown, in bytes.
const maxArgs = 120

func commandLine(p *diag.Proc) string {
	args := strings.Join(p.Args, " ")
	if args == "" {
		return ""
	}
	if len(args) > maxArgs {
		end := maxArgs
		for end > maxArgs-utf8.UTFMax && !utf8.RuneStart(args[end]) {
			end-- // not inside a rune
		}
		args = args[:end] + "…"
	}
	return "  " + args
}

func processFacts(p *diag.Proc) string {
	parts := []string{"up " + diag.FormatDuration(p.Uptime), "uid " + strconv.Itoa(int(p.UID)), "RSS " + bytesText(p.RSS)}
	if p.Runtime != "" {
		parts = append(parts, "runtime "+p.Runtime)
	}
	if p.Cgroup != "" && p.Cgroup != "/" {
		parts = append(parts, "cgroup "+p.Cgroup)
	}
	return strings.Join(parts, " · ")
}

func descriptorFacts(p *diag.Proc) string {
	if p.Open < 0 {
		return "could not be counted"
	}
	s := strconv.Itoa(p.Open) + " open"
	switch {
	case p.SoftLimit == procfd.NoLimit:
		s += ", no limit"
	case p.SoftLimit > 0:
		s += fmt.Sprintf(" of %d (%.1f %%)", p.SoftLimit, float64(p.Open)*100/float64(p.SoftLimit))
	}
	var kinds []string
	for k, n := range p.ByKind {
		if n > 0 {
			kinds = append(kinds, fmt.Sprintf("%s %d", procfd.Kind(k), n))
		}
	}
	if len(kinds) > 0 {
		s += ": " + strings.Join(kinds, ", ")
	}
	return s
}

func tcpFacts(p *diag.Proc) string {
	c := countsOf(p)
	var parts []string
	for s := netlinkss.Estab; s <= netlinkss.BoundInactive; s++ {
		n := c.byState[s.String()]
		switch {
		case n == 0:
		case s == netlinkss.Estab:
			parts = append(parts, fmt.Sprintf("ESTAB %d (%d without a timer, %d with)", n, c.noTimer, c.timer))
		default:
			parts = append(parts, fmt.Sprintf("%s %d", s, n))
		}
	}
	if c.dark > 0 {
		parts = append(parts, fmt.Sprintf("closed but held %d", c.dark))
	}
	if c.foreign > 0 {
		parts = append(parts, fmt.Sprintf("in another namespace %d", c.foreign))
	}
	if c.timeWait > 0 {
		parts = append(parts, fmt.Sprintf("TIME-WAIT on its ports or towards its peers %d (held by nobody)", c.timeWait))
	}
	switch {
	case len(parts) > 0:
		return strings.Join(parts, ", ")
	case p.Open != 0 && p.ByKind == [procfd.NumKinds]int{}:
		return "could not be read"
	}
	return "no sockets"
}

// processTable is for programs: people have read the facts.
func processTable(p *diag.Proc) *Table {
	c := countsOf(p)
	t := &Table{Name: "process"}
	row := []Cell{}
	add := func(key string, cell Cell) {
		t.Columns = append(t.Columns, Column{Key: key, Data: true})
		row = append(row, cell)
	}
	add("pid", number(p.PID))
	add("name", text(p.Name))
	add("exe", text(p.Exe))
	add("runtime", text(p.Runtime))
	add("uid", number(p.UID))
	add("uptime_ms", duration(p.Uptime))
	add("rss_bytes", number(p.RSS))
	add("open_fds", optional(p.Open))
	limit := Cell{} // none, or not known
	if p.SoftLimit != procfd.NoLimit && p.SoftLimit != 0 {
		limit = number(p.SoftLimit)
	}
	add("fd_soft_limit", limit)
	add("estab", number(c.estab))
	add("estab_timer", number(c.timer))
	add("estab_no_timer", number(c.noTimer))
	add("close_wait", number(c.closeWait))
	add("closed_fd", number(c.dark))
	add("time_wait", number(c.timeWait))
	t.Rows = [][]Cell{row}
	return t
}
