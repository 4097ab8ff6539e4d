package report

import (
	"fmt"
	"strings"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
)

// Tcpstat is the view of a host's count. Its groups are in the order that they come in, and all are shown.
func Tcpstat(s *diag.Stat) Value { return tcpstat{s} }

type tcpstat struct{ s *diag.Stat }

var timerColumns = []netlinkss.Timer{
	netlinkss.TimerOff, netlinkss.TimerOn, netlinkss.TimerKeepalive, netlinkss.TimerTimeWait,
	netlinkss.TimerPersist, netlinkss.TimerDelack,
}

func (v tcpstat) document(o Options) *Document {
	s := v.s
	d := &Document{Title: titleOf("tcpstat", &s.Snapshot, s.Took)}
	var facts []Fact
	if s.Where != "" {
		facts = []Fact{{"of", s.Where}}
	}
	if facts = append(facts, sockstatFacts(s)...); facts != nil {
		d.Sections = append(d.Sections, Section{Facts: facts, Table: sockstatTable(s)})
	}
	all := s.Tally.IPv4.Sum(&s.Tally.IPv6)
	d.Sections = append(d.Sections, Section{
		Heading: plural(all.Total(), "TCP socket"),
		Plots:   v.statePlots(),
		Table:   stateTable("state", all, &s.Tally.IPv4, &s.Tally.IPv6),
	})
	if o.wide {
		d.Sections = append(d.Sections,
			Section{Heading: "IPv4, v4-mapped included", Table: stateTable("state_ipv4", &s.Tally.IPv4, nil, nil)},
			Section{Heading: "IPv6", Table: stateTable("state_ipv6", &s.Tally.IPv6, nil, nil)})
	}
	d.Sections = append(d.Sections, v.groups())
	d.Sections = append(d.Sections, gapSection(s.Snapshot.Gaps)...)
	return d
}

func sockstatFacts(s *diag.Stat) []Fact {
	if s.Sockstat == nil {
		return nil
	}
	st := s.Sockstat
	here := fmt.Sprintf("inuse %s (IPv6 %s), tw %s", optional(st.InUse).Text, optional(st.InUse6).Text, optional(st.TW).Text)
	return []Fact{
		{"sockstat", here},
		{"all namespaces", fmt.Sprintf("orphan %s, alloc %s (sockets that are listed nowhere included, TIME-WAIT not)",
			optional(st.Orphan).Text, optional(st.Alloc).Text)},
	}
}

func sockstatTable(s *diag.Stat) *Table {
	st := s.Sockstat
	if st == nil {
		return nil
	}
	return &Table{
		Name: "sockstat",
		Columns: []Column{
			{Key: "alloc", Data: true}, {Key: "inuse", Data: true}, {Key: "inuse6", Data: true},
			{Key: "orphan", Data: true}, {Key: "tw", Data: true},
		},
		Rows: [][]Cell{{optional(st.Alloc), optional(st.InUse), optional(st.InUse6), optional(st.Orphan), optional(st.TW)}},
	}
}

// stateTable has a row per state that occurs, and their sum.
func stateTable(name string, m, v4, v6 *diag.Matrix) *Table {
	t := &Table{Name: name, Total: true, Columns: []Column{{Key: "state", Head: "State"}, {Key: "sockets", Head: "Sockets", Right: true}}}
	if v4 != nil {
		t.Columns = append(t.Columns, Column{Key: "ipv4", Head: "IPv4", Right: true}, Column{Key: "ipv6", Head: "IPv6", Right: true})
	}
	for _, timer := range timerColumns {
		t.Columns = append(t.Columns, Column{Key: "timer_" + timer.String(), Head: timer.String(), Right: true})
	}
	other := 0
	for s := range m {
		other += m[s][diag.NumTimers-1]
	}
	if other > 0 {
		t.Columns = append(t.Columns, Column{Key: "timer_unknown", Head: "unknown", Right: true})
	}
	sum := make([]int, diag.NumTimers)
	for s := range m {
		if m.State(netlinkss.State(s)) == 0 {
			continue
		}
		row := []Cell{text(stateName(s)), number(m.State(netlinkss.State(s)))}
		if v4 != nil {
			row = append(row, number(v4.State(netlinkss.State(s))), number(v6.State(netlinkss.State(s))))
		}
		for i, n := range m[s] {
			sum[i] += n
		}
		t.Rows = append(t.Rows, timerCells(row, m[s][:], other > 0))
	}
	total := []Cell{text("total"), number(m.Total())}
	if v4 != nil {
		total = append(total, number(v4.Total()), number(v6.Total()))
	}
	t.Rows = append(t.Rows, timerCells(total, sum, other > 0))
	return t
}

func timerCells(row []Cell, n []int, other bool) []Cell {
	for _, timer := range timerColumns {
		row = append(row, number(n[timer]))
	}
	if other {
		row = append(row, number(n[diag.NumTimers-1]))
	}
	return row
}

func stateName(s int) string {
	if s == diag.NumStates-1 {
		return "unknown"
	}
	return netlinkss.State(s).String()
}

func (v tcpstat) groups() Section {
	t := &Table{Name: "group", Columns: []Column{
		{Key: "by", Data: true},
		{Key: "key", Head: groupHead(v.s.Tally.By)},
		{Key: "sockets", Head: "Sockets", Right: true},
		{Key: "estab", Head: "ESTAB", Right: true},
		{Key: "estab_timer", Head: "with timer", Right: true},
		{Key: "estab_no_timer", Head: "without", Right: true},
		{Key: "close_wait", Head: "CLOSE-WAIT", Right: true},
		{Key: "oldest_idle_ms", Head: "Oldest idle", Right: true, Data: !v.s.Tally.Idle},
		{Key: "recv_q", Head: "Recv-Q", Right: true},
		{Key: "send_q", Head: "Send-Q", Right: true},
		{Key: "pid", Data: true},
		{Key: "uid", Data: true},
		{Key: "cgroup_id", Data: true},
		{Key: "container_id", Data: true},
		{Key: "name", Data: true},
	}}
	for i := range v.s.Groups {
		g := &v.s.Groups[i]
		row := []Cell{
			text(v.s.Tally.By.String()), v.key(g), number(g.Sockets), number(g.Estab), optional(v.timers(g.EstabTimer)),
			optional(v.timers(g.EstabNoTimer)), number(g.CloseWait), span(g.OldestIdle), number(g.RecvQ), number(g.SendQ),
		}
		pid, uid := Cell{}, Cell{}
		if p, ok := v.s.Tally.Owner(g); ok {
			pid, uid = number(p.PID), number(p.UID)
		}
		id, container := v.cgroupCells(g)
		row = append(row, pid, uid, id, container, text(v.s.Tally.Name(g)))
		t.Rows = append(t.Rows, row)
	}
	if len(v.s.Groups) == 0 {
		t.More = "no socket matches"
	}
	if rest := v.rest(); rest > 0 {
		t.More = fmt.Sprintf("… and %d more: --top 0 shows all", rest)
	}
	return Section{Heading: "by " + strings.ReplaceAll(v.s.Tally.By.String(), "-", " "), Plots: v.groupPlots(), Table: t}
}

// key is the group's, with what people call it before that.
func (v tcpstat) key(g *diag.Group) Cell {
	key := v.s.Tally.Key(g)
	if name := v.s.Tally.Name(g); name != "" {
		return Cell{Text: name + "  " + key, Raw: key}
	}
	return text(key)
}

// cgroupCells are the cgroup of a group by it, and the container.
func (v tcpstat) cgroupCells(g *diag.Group) (id, container Cell) {
	c, ok := v.s.Tally.Cgroup(g)
	if ok && v.s.Tally.By == diag.ByCgroup {
		id = number(c.ID)
	}
	if ok && c.Place.Container != nil {
		container = text(c.Place.Container.ID)
	}
	return id, container
}

// timers is a number of sockets by their timers, -1 where these are not told.
func (v tcpstat) timers(n int) int {
	if v.s.Tally.NoTimers > 0 {
		return -1
	}
	return n
}

// rest is how many groups were left out.
func (v tcpstat) rest() int { return v.s.Distinct - len(v.s.Groups) }

func groupHead(by diag.GroupBy) string {
	return [...]string{
		diag.ByPeer: "Peer Address", diag.ByPeerPort: "Peer Port", diag.ByLocalPort: "Local Port", diag.ByUID: "UID", diag.ByState: "State",
		diag.ByProcess: "Process", diag.ByNetns: "Network namespace", diag.ByCgroup: "Cgroup", diag.ByContainer: "Container",
	}[by]
}

// tcpstatSchema changes when a field changes its meaning or goes; new fields may come.
const tcpstatSchema = "sockleak.tcpstat/1"

type wireTcpstat struct {
	wireHead
	Source   string        `json:"source"`
	Netns    string        `json:"netns"` // in words, "" the reader's own
	Sockets  int           `json:"sockets"`
	States   []wireState   `json:"states"`
	Sockstat *wireSockstat `json:"sockstat"`
	By       string        `json:"by"`
	Idle     bool          `json:"idle_times"` // asked for; without, oldest_idle_ms is null
	Groups   []wireGroup   `json:"groups"`
	Others   int           `json:"groups_left_out"`
	Gaps     []wireGap     `json:"gaps"`
}

type wireState struct {
	State string `json:"state"`
	wireTimers
	IPv4 wireTimers `json:"ipv4"`
	IPv6 wireTimers `json:"ipv6"`
}

type wireTimers struct {
	Sockets int            `json:"sockets"`
	Timers  map[string]int `json:"timers"`
}

type wireSockstat struct {
	Alloc  *int `json:"alloc"`
	InUse  *int `json:"inuse"`
	InUse6 *int `json:"inuse6"`
	Orphan *int `json:"orphan"`
	TW     *int `json:"tw"`
}

type wireGroup struct {
	Key          string `json:"key"`
	Sockets      int    `json:"sockets"`
	Estab        int    `json:"estab"`
	EstabTimer   *int   `json:"estab_timer"`
	EstabNoTimer *int   `json:"estab_no_timer"`
	CloseWait    int    `json:"close_wait"`
	OldestIdleMS *int64 `json:"oldest_idle_ms"`
	RecvQ        uint64 `json:"recv_q"`
	SendQ        uint64 `json:"send_q"`
	// Process is null but by process, and there of those that no process holds or whose process was not found.
	Process *wireOwner `json:"process"`
	// Name is what people call the group, null where its key says all.
	Name *string `json:"name"`
	// Cgroup is null but by cgroup and by container.
	Cgroup *wireCgroup `json:"cgroup"`
}

// wireCgroup is where sockets were made. By container id and path are null: there may be several.
type wireCgroup struct {
	ID        *uint64        `json:"id"`
	Path      *string        `json:"path"` // null, too, where nothing has the id any more
	Unit      *string        `json:"unit"`
	Container *wireContainer `json:"container"`
}

type wireOwner struct {
	PID  int    `json:"pid"`
	Name string `json:"name"`
	UID  uint32 `json:"uid"`
}

func (v tcpstat) wire(Options) any {
	s := v.s
	all := s.Tally.IPv4.Sum(&s.Tally.IPv6)
	w := wireTcpstat{
		wireHead: wireHead{
			Schema: tcpstatSchema, TakenAt: momentOf(s.Snapshot.At), Host: s.Snapshot.Host.Name,
			Kernel: s.Snapshot.Host.Kernel, TookMS: s.Took.Milliseconds(),
		},
		Source: s.Source, Netns: s.Where, Sockets: all.Total(), States: []wireState{}, By: s.Tally.By.String(),
		Idle: s.Tally.Idle, Groups: []wireGroup{}, Others: v.rest(), Gaps: wireGaps(s.Snapshot.Gaps),
	}
	if st := s.Sockstat; st != nil {
		w.Sockstat = &wireSockstat{known(st.Alloc), known(st.InUse), known(st.InUse6), known(st.Orphan), known(st.TW)}
	}
	for st := range all {
		if all.State(netlinkss.State(st)) > 0 {
			w.States = append(w.States, wireState{
				State: stateName(st), wireTimers: wireTimersOf(all, st),
				IPv4: wireTimersOf(&s.Tally.IPv4, st), IPv6: wireTimersOf(&s.Tally.IPv6, st),
			})
		}
	}
	for i := range s.Groups {
		g := &s.Groups[i]
		w.Groups = append(w.Groups, wireGroup{
			Key: s.Tally.Key(g), Sockets: g.Sockets, Estab: g.Estab, EstabTimer: known(v.timers(g.EstabTimer)), EstabNoTimer: known(v.timers(g.EstabNoTimer)),
			CloseWait: g.CloseWait, OldestIdleMS: ms(g.OldestIdle), RecvQ: g.RecvQ, SendQ: g.SendQ, Process: wireOwnerOf(s.Tally, g),
			Cgroup: wireCgroupOf(s.Tally, g), Name: told(s.Tally.Name(g)),
		})
	}
	return w
}

func wireOwnerOf(t *diag.Tally, g *diag.Group) *wireOwner {
	p, ok := t.Owner(g)
	if !ok {
		return nil
	}
	return &wireOwner{p.PID, p.Name, p.UID}
}

func wireCgroupOf(t *diag.Tally, g *diag.Group) *wireCgroup {
	c, ok := t.Cgroup(g)
	if !ok {
		return nil
	}
	w := &wireCgroup{Unit: stated(c.Place.Unit), Container: wireContainerOf(&c.Place)}
	if t.By == diag.ByCgroup {
		w.ID, w.Path = &c.ID, stated(c.Path)
	}
	return w
}

func wireTimersOf(m *diag.Matrix, state int) wireTimers {
	w := wireTimers{Sockets: m.State(netlinkss.State(state)), Timers: map[string]int{}}
	for i, n := range m[state] {
		switch {
		case n == 0:
		case i == diag.NumTimers-1:
			w.Timers["unknown"] = n
		default:
			w.Timers[netlinkss.Timer(i).String()] = n
		}
	}
	return w
}
