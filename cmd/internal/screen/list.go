package screen

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/report"
)

// column is a column of a list.
type column struct {
	head  string
	right bool
	spare int // over 0: a narrow terminal may do without, the lowest first
	loose bool
	trend bool // a plot, drawn in the width that is left
}

// cell is a value of a row.
type cell struct {
	style style
	text  string // clean
	trend []float64
}

// listing is a list that can be sorted, filtered and walked through. Rows are made for those alone that are seen.
type listing interface {
	// name tells lists with other columns from each other.
	name() string
	len() int
	// id tells a row from the others, in the next look, too.
	id(i int) any
	// sorts are the orders; none: it stays in its own.
	sorts() []string
	key(i int, order string) sortKey
	match(i int, text string) bool
	rows(p *palette, which []int) ([]column, [][]cell)
	// empty says why nothing is in it.
	empty() string
}

// sortKey is what rows are compared by, the least first.
type sortKey struct {
	a, b uint64
	text string
}

func (k sortKey) compare(o sortKey) int {
	return cmp.Or(cmp.Compare(k.a, o.a), cmp.Compare(k.b, o.b), cmp.Compare(k.text, o.text))
}

// most sorts the largest number first.
func most[N int | uint32 | uint64 | time.Duration](n N) sortKey {
	return sortKey{a: math.MaxUint64 - uint64(n)}
}

// order lists the rows that match, sorted.
func orderRows(l listing, order string, reverse bool, filter string) []int {
	filter = strings.ToLower(filter)
	list := make([]int, 0, l.len())
	for i := range l.len() {
		if filter == "" || l.match(i, filter) {
			list = append(list, i)
		}
	}
	if len(l.sorts()) == 0 {
		return list
	}
	keys := make([]sortKey, l.len())
	for _, i := range list {
		keys[i] = l.key(i, order)
	}
	slices.SortFunc(list, func(a, b int) int {
		c := cmp.Compare(a, b)
		if k := keys[a].compare(keys[b]); k != 0 {
			c = k
		}
		if reverse {
			return -c
		}
		return c
	})
	return list
}

// has reports whether one of some texts contains a filter, which is in lower case.
func has(filter string, texts ...string) bool {
	return slices.ContainsFunc(texts, func(s string) bool { return contains(s, filter) })
}

// contains allocates nothing for ASCII: it is asked of every socket.
func contains(s, lower string) bool {
	if !isASCII(s) {
		return strings.Contains(strings.ToLower(s), lower)
	}
	for i := range len(s) - len(lower) + 1 {
		if startsWith(s[i:], lower) {
			return true
		}
	}
	return false
}

func startsWith(s, lower string) bool {
	for i := range len(lower) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// findingList are the findings of what is shown, and those that have cleared.
type findingList struct {
	list    []*tracked
	many    bool // of several processes
	partial bool
}

func (l findingList) name() string    { return "findings" }
func (l findingList) len() int        { return len(l.list) }
func (l findingList) id(i int) any    { return l.list[i].id }
func (l findingList) sorts() []string { return []string{"severity", "sockets", "rule", "peer"} }

func (l findingList) key(i int, order string) sortKey {
	f := l.list[i].finding
	switch order {
	case "sockets":
		return most(f.Sockets)
	case "rule":
		return sortKey{text: f.Rule}
	case "peer":
		return sortKey{text: f.Peer}
	}
	k := most(int(f.Severity))
	if l.list[i].cleared > 0 {
		k.a = math.MaxUint64
	}
	return k
}

func (l findingList) match(i int, text string) bool {
	f := l.list[i].finding
	return has(text, f.Rule, f.Severity.String(), f.Peer, f.Proc.Name, f.Message)
}

func (l findingList) empty() string {
	if l.partial {
		return "no finding, but not everything could be seen"
	}
	return "nothing found"
}

func (l findingList) rows(p *palette, which []int) ([]column, [][]cell) {
	columns := []column{
		{head: ""}, {head: "Severity"}, {head: "Rule"}, {head: "Process", spare: 6}, {head: "Peer", spare: 5},
		{head: "Sockets", right: true}, {head: "Change", right: true, spare: 2}, {head: "Since", right: true, spare: 4}, {head: "What", spare: 1, loose: true},
	}
	var rows [][]cell
	for _, i := range which {
		rows = append(rows, l.list[i].cells(p, l.many))
	}
	return columns, rows
}

// groupList are the groups of sockets of the shown processes, or of a host.
type groupList struct {
	list   []group
	by     string
	idle   bool // idle times are known
	sorted bool // by the caller: these are the first of many
}

func (l groupList) name() string {
	if l.idle {
		return "groups"
	}
	return "groups without idle times"
}
func (l groupList) len() int     { return len(l.list) }
func (l groupList) id(i int) any { return l.list[i].key }

func (l groupList) sorts() []string {
	if l.sorted {
		return nil
	}
	return []string{"sockets", "estab", "no-timer", "close-wait", "idle", "recv-q", "send-q", "key"}
}

func (l groupList) key(i int, order string) sortKey {
	g := &l.list[i]
	switch order {
	case "estab":
		return most(g.estab)
	case "no-timer":
		return most(g.noTimer)
	case "close-wait":
		return most(g.closeWait)
	case "idle":
		return most(g.idle.D)
	case "recv-q":
		return most(g.recvQ)
	case "send-q":
		return most(g.sendQ)
	case "key":
		return sortKey{text: g.key}
	}
	return most(g.sockets)
}

// withoutTimer is how many of a group are in ESTAB without a timer.
func (g *group) withoutTimer() cell {
	if g.untold > 0 {
		return cell{text: "-"}
	}
	return count(g.noTimer)
}

func (l groupList) match(i int, text string) bool { return has(text, l.list[i].key) }

func (l groupList) empty() string { return "no socket" }

func (l groupList) rows(p *palette, which []int) ([]column, [][]cell) {
	columns := []column{
		{head: groupHead(l.by), loose: true}, {head: "Sockets", right: true}, {head: "Trend", trend: true, spare: 3},
		{head: "ESTAB", right: true, spare: 5}, {head: "no timer", right: true, spare: 8}, {head: "CLOSE-WAIT", right: true, spare: 6},
		{head: "Oldest idle", right: true, spare: 7}, {head: "Recv-Q", right: true, spare: 2}, {head: "Send-Q", right: true, spare: 1},
	}
	var rows [][]cell
	for _, i := range which {
		g := &l.list[i]
		row := []cell{
			{text: p.clean(g.key)}, count(g.sockets), {trend: g.trend}, count(g.estab), g.withoutTimer(), count(g.closeWait),
			{text: p.own(g.idle.String())}, count(g.recvQ), count(g.sendQ),
		}
		rows = append(rows, row)
	}
	if !l.idle {
		columns = slices.Delete(columns, 6, 7)
		for i := range rows {
			rows[i] = slices.Delete(rows[i], 6, 7)
		}
	}
	return columns, rows
}

func groupHead(by string) string {
	heads := map[string]string{
		"peer": "Peer Address", "peer-port": "Peer Port", "local-port": "Local Port", "state": "State", "timer": "Timer", "process": "Process", "uid": "UID",
	}
	return heads[by]
}

// count is a number; none is dim.
func count[N int | uint32 | uint64](n N) cell {
	c := cell{text: decimal(float64(n))}
	if n == 0 {
		c.style = dim
	}
	return c
}

// procList are the processes of a look at several.
type procList struct {
	list   []*diag.Proc
	leaked map[*diag.Proc]int
	risks  map[*diag.Proc]int
}

func newProcList(s *shot) procList {
	l := procList{list: s.procs, leaked: map[*diag.Proc]int{}, risks: map[*diag.Proc]int{}}
	for _, f := range s.result.Findings {
		switch f.Severity {
		case diag.Leak:
			l.leaked[f.Proc] += f.Sockets
		case diag.Risk:
			l.risks[f.Proc]++
		}
	}
	return l
}

func (l procList) name() string    { return "processes" }
func (l procList) len() int        { return len(l.list) }
func (l procList) id(i int) any    { return idOf(l.list[i].Process) }
func (l procList) sorts() []string { return []string{"leaked", "fds", "rss", "pid", "name"} }

func (l procList) key(i int, order string) sortKey {
	p := l.list[i]
	switch order {
	case "fds":
		return most(max(p.Open, 0))
	case "rss":
		return most(p.RSS)
	case "pid":
		return sortKey{a: uint64(p.PID)}
	case "name":
		return sortKey{text: p.Name}
	}
	k := most(l.leaked[p])
	k.b = most(l.risks[p]).a
	return k
}

func (l procList) match(i int, text string) bool {
	return has(text, diag.Subject(l.list[i].Process), l.list[i].Runtime, l.list[i].Cgroup)
}
func (l procList) empty() string { return "no process" }

func (l procList) rows(p *palette, which []int) ([]column, [][]cell) {
	columns := []column{
		{head: "PID", right: true}, {head: "Name"}, {head: "Leaked", right: true}, {head: "Risks", right: true, spare: 4},
		{head: "FDs", right: true, spare: 6}, {head: "RSS", right: true, spare: 5}, {head: "Up", right: true, spare: 3}, {head: "Runtime", spare: 2}, {head: "Cgroup", spare: 1, loose: true},
	}
	var rows [][]cell
	for _, i := range which {
		v := l.list[i]
		leaked, fds := count(l.leaked[v]), cell{text: "-"}
		if l.leaked[v] > 0 {
			leaked.style = alarm
		}
		if v.Open >= 0 {
			fds = count(v.Open)
		}
		rows = append(rows, []cell{
			count(v.PID), {text: p.clean(v.Name)}, leaked, count(l.risks[v]), fds, {text: report.ByteText(v.RSS)},
			{text: diag.FormatDuration(v.Uptime)}, {text: p.clean(v.Runtime)}, {text: p.clean(v.Cgroup)},
		})
	}
	return columns, rows
}

// gapList is what could not be seen.
type gapList []diag.Gap

func (l gapList) name() string                  { return "gaps" }
func (l gapList) len() int                      { return len(l) }
func (l gapList) id(i int) any                  { return l[i] }
func (l gapList) sorts() []string               { return nil }
func (l gapList) key(int, string) sortKey       { return sortKey{} }
func (l gapList) match(i int, text string) bool { return has(text, l[i].What, l[i].Why) }
func (l gapList) empty() string                 { return "everything was seen" }

func (l gapList) rows(p *palette, which []int) ([]column, [][]cell) {
	var rows [][]cell
	for _, i := range which {
		n := cell{text: "?"}
		if l[i].Count > 0 {
			n = count(l[i].Count)
		}
		rows = append(rows, []cell{n, {text: p.clean(l[i].What)}, {text: p.clean(l[i].Why)}})
	}
	return []column{{head: "Count", right: true}, {head: "What", loose: true}, {head: "Why", loose: true}}, rows
}
