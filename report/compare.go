package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
)

// Compare is the view of two diagnoses side by side, as the hunt for a leak counts them: before and
// after a fix, say. The names head the columns.
func Compare(nameA string, a *diag.Result, nameB string, b *diag.Result) Value {
	return compareOf([2]string{nameA, nameB}, [2]*diag.Result{a, b})
}

type compare struct {
	names   [2]string
	results [2]*diag.Result
	counted [2]compared
}

func compareOf(names [2]string, results [2]*diag.Result) compare {
	return compare{names, results, [2]compared{comparedOf(results[0]), comparedOf(results[1])}}
}

// compareRow is one thing that is counted in both.
type compareRow struct {
	key, head string
	value     [2]int64 // -1: not known
	text      func(int64) string
	state     string // as ss has it; "" for what is no state of sockets that are held
}

// compared are the counts of one result.
type compared struct {
	byState              map[string]int64
	byPeer               map[comparePeer]int64
	timer, noTimer       int64 // of ESTAB, -1: not known
	timeWait, dark       int64
	fds, rss             int64 // descriptors, -1: not known; bytes
	leaks, leaked, risks int64
	oldestIdle           int64 // ms, 0: not known
}

// comparePeer is the other side of connections that a process holds, or held.
type comparePeer struct{ direction, peer string }

// unknownPeer stands for connections that were counted and not kept.
var unknownPeer = comparePeer{peer: "peers that were not kept"}

func comparedOf(r *diag.Result) compared {
	c := compared{byState: map[string]int64{}, byPeer: map[comparePeer]int64{}}
	for _, p := range r.Procs() {
		n := countsOf(p)
		for state, k := range n.byState {
			c.byState[state] += int64(k)
		}
		without, with := n.timers()
		c.noTimer, c.timer = sum(c.noTimer, without), sum(c.timer, with)
		c.timeWait += int64(n.timeWait)
		c.dark += int64(n.dark)
		c.rss += int64(p.RSS)
		c.fds = sum(c.fds, p.Open)
		c.countPeers(p)
	}
	for _, f := range r.Findings {
		c.countFinding(f)
	}
	return c
}

// sum is of two numbers that are -1 where they are not known.
func sum(a int64, b int) int64 {
	if a < 0 || b < 0 {
		return -1
	}
	return a + int64(b)
}

// countPeers counts connections by address, as `netstat | awk | uniq -c` does, and by who opened them.
func (c *compared) countPeers(p *diag.Proc) {
	if n := p.Usual.Timer + p.Usual.NoTimer; n > 0 {
		c.byPeer[unknownPeer] += int64(n)
	}
	for i := range p.Held {
		if h := &p.Held[i]; !h.Counted && h.Peer.IsValid() && h.Peer.Port() != 0 {
			c.byPeer[comparePeer{h.Direction.String(), netlinkss.Unmap(h.Peer).Addr().String()}]++
		}
	}
	for i := range p.Dark {
		if d := &p.Dark[i]; d.Peer.IsValid() && d.Peer.Port() != 0 {
			c.byPeer[comparePeer{d.Direction.String(), netlinkss.Unmap(d.Peer).Addr().String()}]++
		}
	}
}

func (c *compared) countFinding(f *diag.Finding) {
	switch f.Severity {
	case diag.Leak:
		c.leaks++
		c.leaked += int64(f.Sockets)
		for i := range f.Samples {
			c.oldestIdle = max(c.oldestIdle, f.Samples[i].Idle.D.Milliseconds())
		}
	case diag.Risk:
		c.risks++
	}
}

// stateKey is a state as a key: close_wait.
func stateKey(state string) string { return strings.ReplaceAll(strings.ToLower(state), "-", "_") }

// rows are the sockets by state, ESTAB by its timers, and what else was counted.
func (v compare) rows() []compareRow {
	both := v.counted
	of := func(key, head string, text func(int64) string, count func(*compared) int64) compareRow {
		return compareRow{key: key, head: head, text: text, value: [2]int64{count(&both[0]), count(&both[1])}}
	}
	var rows []compareRow
	for s := netlinkss.Estab; s <= netlinkss.BoundInactive; s++ {
		name := s.String()
		row := of(stateKey(name), name, plainCount, func(c *compared) int64 { return c.byState[name] })
		row.state = name
		if s == netlinkss.TimeWait { // which no process holds
			row = of(stateKey(name), name, plainCount, func(c *compared) int64 { return c.timeWait })
		}
		if row.value != [2]int64{} || s == netlinkss.Estab || s == netlinkss.TimeWait || s == netlinkss.CloseWait {
			rows = append(rows, row)
		}
		if s == netlinkss.Estab {
			rows = append(rows,
				of("estab_no_timer", "ESTAB without a timer", plainCount, func(c *compared) int64 { return c.noTimer }),
				of("estab_timer", "ESTAB with a timer", plainCount, func(c *compared) int64 { return c.timer }))
		}
	}
	return append(rows,
		of("closed_fd", "closed but held", plainCount, func(c *compared) int64 { return c.dark }),
		of("open_fds", "descriptors", plainCount, func(c *compared) int64 { return c.fds }),
		of("rss_bytes", "RSS", bytesCount, func(c *compared) int64 { return c.rss }),
		of("leak_findings", "findings: leak", plainCount, func(c *compared) int64 { return c.leaks }),
		of("leaked_sockets", "leaked sockets", plainCount, func(c *compared) int64 { return c.leaked }),
		of("risk_findings", "findings: risk", plainCount, func(c *compared) int64 { return c.risks }),
		of("oldest_idle_ms", "oldest leaked: idle", idleCount, func(c *compared) int64 { return c.oldestIdle }),
	)
}

func idleCount(n int64) string {
	if n == 0 {
		return unknownCount
	}
	return diag.FormatDuration(time.Duration(n) * time.Millisecond)
}

func (v compare) table() *Table {
	t := &Table{Name: "compare", Columns: changeColumns(v.names, Column{Key: "what", Head: ""})}
	for _, r := range v.rows() {
		t.Rows = append(t.Rows, append([]Cell{{Text: r.head, Raw: r.key}}, changeCells(r.value, false, r.text)...))
	}
	return t
}

// comparePeerRow counts the connections with one address.
type comparePeerRow struct {
	comparePeer
	value [2]int64
}

// peers have those first that most connections are with, on either side.
func (v compare) peers() []comparePeerRow {
	both := v.counted
	var rows []comparePeerRow
	for i := range both {
		for peer := range both[i].byPeer {
			if i == 1 && both[0].byPeer[peer] > 0 {
				continue
			}
			rows = append(rows, comparePeerRow{peer, [2]int64{both[0].byPeer[peer], both[1].byPeer[peer]}})
		}
	}
	slices.SortFunc(rows, func(a, b comparePeerRow) int {
		return cmp.Or(cmp.Compare(max(b.value[0], b.value[1]), max(a.value[0], a.value[1])), cmp.Compare(a.peer, b.peer), cmp.Compare(a.direction, b.direction))
	})
	return rows
}

func (v compare) peerTable(o Options) *Table {
	t := &Table{Name: "compare_peer", Columns: changeColumns(v.names, Column{Key: "direction", Data: true}, Column{Key: "peer", Head: "connections"})}
	rows := v.peers()
	for _, r := range rows[:topOf(len(rows), o)] {
		cells := changeCells(r.value, false, plainCount)
		t.Rows = append(t.Rows, append([]Cell{text(r.direction), {Text: directionWords[r.direction] + r.peer, Raw: r.peer}}, cells...))
	}
	if rest := len(rows) - len(t.Rows); rest > 0 {
		t.More = fmt.Sprintf("… and %d more: --top 0 shows all", rest)
	}
	return t
}

func topOf(n int, o Options) int {
	if o.Top > 0 {
		return min(n, o.Top)
	}
	return n
}

func (v compare) document(o Options) *Document {
	return &Document{Title: "before and after", Sections: append(v.sections(o), v.gaps()...)}
}

func (v compare) sections(o Options) []Section {
	sections := []Section{{Heading: "sockets by state, and what else the process holds", Table: v.table()}}
	if peers := v.peerTable(o); len(peers.Rows) > 0 || o.data {
		sections = append(sections, Section{Heading: "connections by peer", Table: peers})
	}
	return sections
}

func (v compare) gaps() (list []Section) {
	for i, r := range v.results {
		for _, s := range gapSection(r.Gaps) {
			s.Heading += " (" + v.names[i] + ")"
			list = append(list, s)
		}
	}
	return list
}

// compareSchema changes when a field changes its meaning or goes; new fields may come.
const compareSchema = "sockleak.compare/1"

type wireCompare struct {
	Schema string               `json:"schema"`
	Names  [2]string            `json:"names"`
	Counts map[string][2]*int64 `json:"counts"`
	States map[string][2]int64  `json:"by_state"` // of the sockets that are held
	Peers  []wireComparePeer    `json:"by_peer"`
	Scans  [2]any               `json:"scans"`
}

// wireComparePeer counts the connections with an address; it is null for those whose peers were not kept.
type wireComparePeer struct {
	Direction string   `json:"direction"`
	Peer      *string  `json:"peer"`
	Sockets   [2]int64 `json:"sockets"`
}

func (v compare) wire(o Options) any { return v.wireOf(o) }

func (v compare) wireOf(o Options) *wireCompare {
	w := &wireCompare{
		Schema: compareSchema, Names: v.names, Counts: map[string][2]*int64{}, States: map[string][2]int64{}, Peers: []wireComparePeer{},
	}
	for _, r := range v.rows() {
		if r.state != "" {
			w.States[r.state] = r.value
		}
		w.Counts[r.key] = [2]*int64{knownCount(r.value[0]), knownCount(r.value[1])}
	}
	for _, r := range v.peers() {
		peer := &r.peer
		if r.comparePeer == unknownPeer {
			peer = nil
		}
		w.Peers = append(w.Peers, wireComparePeer{r.direction, peer, r.value})
	}
	for i, r := range v.results {
		w.Scans[i] = leakscan{r}.wire(o)
	}
	return w
}
