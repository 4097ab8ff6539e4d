package report

import (
	"fmt"
	"strconv"
	"strings"
	"time"
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
	usual := p.Usual.Timer + p.Usual.NoTimer
	c := counts{
		byState: map[string]int{}, dark: len(p.Dark), foreign: p.Foreign, timeWait: p.TimeWait,
		estab: usual, timer: p.Usual.Timer, noTimer: p.Usual.NoTimer,
	}
	if usual > 0 {
		c.byState[netlinkss.Estab.String()] = usual
	}
	for i := range p.Held {
		h := &p.Held[i]
		if h.Counted {
			continue
		}
		c.byState[h.State.String()]++
		switch {
		case h.State == netlinkss.CloseWait:
			c.closeWait++
		case h.State != netlinkss.Estab:
		case h.Timer == netlinkss.TimerUnknown:
			c.estab++
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

// timers are how many are in ESTAB without a timer and with one, -1 where this is not told of all of them.
func (c *counts) timers() (without, with int) {
	if c.noTimer+c.timer < c.estab {
		return -1, -1
	}
	return c.noTimer, c.timer
}

func processSection(s *standing) Section {
	p := s.proc
	facts := []Fact{
		{"process", processFacts(p)},
	}
	if where := containerFacts(p); where != "" {
		facts = append(facts, Fact{"container", where})
	}
	facts = append(facts, []Fact{
		{"descriptors", descriptorFacts(p, s.counts)},
		{"TCP", tcpFacts(p, s.counts)},
	}...)
	facts = append(facts, queueFacts(p)...)
	facts = append(facts, portFacts(p)...)
	if outlook := growth(s.growth); outlook != "" {
		facts = append(facts, Fact{"outlook", outlook})
	}
	return Section{Heading: diag.Subject(p.Process) + commandLine(p), Facts: facts, Table: processTable(s)}
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
	if p.Listed {
		return "named in the list, which tells no more of it"
	}
	parts := []string{"up " + diag.FormatDuration(p.Uptime), "uid " + strconv.Itoa(int(p.UID)), "RSS " + bytesText(p.RSS)}
	if p.Runtime != "" {
		parts = append(parts, "runtime "+p.Runtime)
	}
	container, unit := diag.ContainerText(&p.Place), diag.UnitText(&p.Place)
	if unit != "" {
		parts = append(parts, "unit "+unit)
	}
	if inner := diag.InnerText(p.Process); container == "" && inner != "" {
		parts = append(parts, inner)
	}
	if container == "" && unit == "" && p.Cgroup != "" && p.Cgroup != "/" {
		parts = append(parts, "cgroup "+p.Cgroup)
	}
	return strings.Join(parts, " · ")
}

func descriptorFacts(p *diag.Proc, c counts) string {
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
			kind := fmt.Sprintf("%s %d", procfd.Kind(k), n)
			if procfd.Kind(k) == procfd.KindPipe && p.PipePairs > 0 {
				kind += " (" + pipePairs(p.PipePairs, c.estab) + ")"
			}
			if protos := protocols(p.Process); procfd.Kind(k) == procfd.KindSocket && protos != "" {
				kind += " (" + protos + ")"
			}
			kinds = append(kinds, kind)
		}
	}
	switch {
	case len(kinds) > 0:
		s += ": " + strings.Join(kinds, ", ")
	case p.Open > 0 && len(c.byState)+c.dark+c.foreign == 0: // else what it has was read, by whoever recorded it
		s += ", on what may not be read"
	}
	return s
}

// protocols are those of the sockets, where they are not all TCP's and a source has told them.
func protocols(p *procfd.Process) string {
	if p.ByProto[procfd.ProtoTCP] == p.ByKind[procfd.KindSocket] {
		return ""
	}
	var parts []string
	for proto, n := range p.ByProto {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", procfd.Proto(proto), n))
		}
	}
	return strings.Join(parts, ", ")
}

// pipePairs are pipes with both ends in one process. A few are those by which it wakes itself; splice has one for each connection,
// or each direction of it, that it passes on.
func pipePairs(n, estab int) string {
	const few, share = 8, 4
	s := plural(n, "pair") + " of its own"
	if n >= few && n*share >= estab {
		s += ", as splice keeps them"
	}
	return s
}

func tcpFacts(p *diag.Proc, c counts) string {
	var parts []string
	without, with := c.timers()
	for s := netlinkss.Estab; s <= netlinkss.BoundInactive; s++ {
		n := c.byState[s.String()]
		switch {
		case n == 0:
		case s == netlinkss.Estab && without < 0:
			parts = append(parts, fmt.Sprintf("ESTAB %d (their timers are not told)", n))
		case s == netlinkss.Estab:
			parts = append(parts, fmt.Sprintf("ESTAB %d (%d without a timer, %d with)", n, without, with))
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
	const where = "on its ports or towards its peers"
	switch {
	case c.timeWait > 0 && p.Orphans > 0:
		parts = append(parts, fmt.Sprintf("TIME-WAIT %s %d, orphans there %d (held by nobody)", where, c.timeWait, p.Orphans))
	case c.timeWait > 0:
		parts = append(parts, fmt.Sprintf("TIME-WAIT %s %d (held by nobody)", where, c.timeWait))
	case p.Orphans > 0:
		parts = append(parts, fmt.Sprintf("orphans %s %d (held by nobody)", where, p.Orphans))
	}
	switch {
	case len(parts) > 0:
		return strings.Join(parts, ", ")
	case p.Open != 0 && p.ByKind == [procfd.NumKinds]int{}:
		return "could not be read"
	}
	return "no sockets"
}

// maxQueues is how many accept queues of a process are shown one by one.
const maxQueues = 5

// queueFacts are the accept queues that are not empty.
func queueFacts(p *diag.Proc) []Fact {
	var facts []Fact
	for i, q := range p.Queues {
		if i == maxQueues && len(p.Queues) > maxQueues+1 {
			return append(facts, Fact{"accept queue", fmt.Sprintf("… and %d more", len(p.Queues)-maxQueues)})
		}
		at := addrPort(q.Listener.Local)
		if q.Listener.Local.Addr().IsUnspecified() {
			at = strconv.Itoa(int(q.Listener.Local.Port()))
		}
		s := fmt.Sprintf("%s: %d waiting", at, waiting(q))
		if backlog := q.Listener.SendQ; backlog > 0 {
			s = fmt.Sprintf("%s: %d of %d waiting", at, waiting(q), backlog)
		}
		if n := ended(q); n != nil && *n > 0 {
			s += fmt.Sprintf(", %d of them ended by the peer", *n)
		}
		facts = append(facts, Fact{"accept queue", s})
	}
	return facts
}

// waiting is the length of a queue as its listener says it, and as the list of sockets does where the listener has none.
func waiting(q diag.AcceptQueue) int {
	if n := int(q.Listener.RecvQ); n > 0 {
		return n
	}
	return max(len(q.Waiting)-q.Others, 0)
}

// ended counts those in a queue that the peer has closed; nil when they may be in another's queue.
func ended(q diag.AcceptQueue) *int {
	if q.Others > 0 {
		return nil
	}
	n := 0
	for _, s := range q.Waiting {
		if s.State == netlinkss.CloseWait {
			n++
		}
	}
	return &n
}

// portFacts are the peers towards which half of the local ports is taken.
func portFacts(p *diag.Proc) []Fact {
	var facts []Fact
	for _, d := range p.Destinations {
		if d.Size() <= 0 || d.Used*2 < d.Size() {
			continue
		}
		s := fmt.Sprintf("%d of %d taken towards %s (%.1f %%)", d.Used, d.Size(), addrPort(d.Peer), float64(d.Used)*100/float64(d.Size()))
		if d.TimeWait > 0 {
			s += fmt.Sprintf(", %d of them in TIME-WAIT", d.TimeWait)
		}
		facts = append(facts, Fact{"local ports", s})
	}
	return facts
}

// processTable is for programs: people have read the facts.
func processTable(s *standing) *Table {
	p, c := s.proc, s.counts
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
	uid, up, rss := number(p.UID), duration(p.Uptime), number(p.RSS)
	if p.Listed {
		uid, up, rss = Cell{}, Cell{}, Cell{}
	}
	add("uid", uid)
	add("uptime_ms", up)
	add("rss_bytes", rss)
	add("open_fds", optional(p.Open))
	limit := Cell{} // none, or not known
	if p.SoftLimit != procfd.NoLimit && p.SoftLimit != 0 {
		limit = number(p.SoftLimit)
	}
	add("fd_soft_limit", limit)
	add("estab", number(c.estab))
	without, with := c.timers()
	add("estab_timer", optional(with))
	add("estab_no_timer", optional(without))
	add("close_wait", number(c.closeWait))
	add("closed_fd", number(c.dark))
	add("time_wait", number(c.timeWait))
	add("orphans", number(p.Orphans))
	add("pipe_pairs", number(p.PipePairs))
	queued := 0
	for _, q := range p.Queues {
		queued += waiting(q)
	}
	add("accept_waiting", number(queued))
	add("leaked", number(s.leaked))
	add("risks", number(s.risks))
	worst, peer := worstCells(s)
	add("worst_rule", worst)
	add("worst_peer", peer)
	add("since_ms", atLeast(s.since))
	add("leak_per_minute", rateCell(s.growth.PerMinute))
	add("fd_limit_in_ms", ahead(s.growth.FDsIn))
	add("ports_out_in_ms", ahead(s.growth.PortsIn))
	add("ports_out_peer", text(s.growth.PortsPeer))
	placeCells(p, add)
	t.Rows = [][]Cell{row}
	return t
}

// worstCells are the rule and the peer of the worst finding.
func worstCells(s *standing) (rule, peer Cell) {
	rule, peer = Cell{Text: "-"}, Cell{Text: "-"}
	if s.sound() {
		return rule, peer
	}
	if s.worst.Peer != "" {
		peer = text(s.worst.Peer)
	}
	return text(s.worst.Rule), peer
}

// ahead is a time to come, empty when it is not known.
func ahead(d time.Duration) Cell {
	if d <= 0 {
		return Cell{}
	}
	return duration(d)
}
