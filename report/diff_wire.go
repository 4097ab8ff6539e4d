package report

import (
	"fmt"
	"math"

	"github.com/sockleak/sockleak/diag"
)

// diffSchema changes when a field changes its meaning or goes; new fields may come.
const diffSchema = "sockleak.diff/1"

// Pairs are before and after; null is what is not known.
type wireDiff struct {
	Schema      string              `json:"schema"`
	Verdict     string              `json:"verdict"`
	Worse       bool                `json:"worse"`
	Reasons     []string            `json:"reasons"`
	Notes       []string            `json:"notes"`
	IntervalMS  *int64              `json:"interval_ms"`
	IdleLimitMS int64               `json:"idle_limit_ms"`
	Sides       [2]wireSide         `json:"sides"`
	Leaks       []wireLeakChange    `json:"leaks"`
	States      []wireChange        `json:"states"`
	Timers      []wireChange        `json:"timers"`
	Suspects    []wireChange        `json:"suspects"`
	Peers       []wirePeerChange    `json:"peers"`
	PeersRest   wirePeersRest       `json:"peers_rest"`
	PeersUnkept [2]int              `json:"peers_unkept"`
	Kinds       []wireChange        `json:"descriptors"`
	Processes   []wireProcessChange `json:"processes"`
	Findings    []wireFindingChange `json:"findings"`
	Turnover    *wireTurnover       `json:"turnover"`
	Residue     []wireResidue       `json:"residue"`
	Leaked      int                 `json:"residue_leaked"`
	Idle        int                 `json:"residue_idle"`
	Gaps        []wireGap           `json:"gaps"`
}

type wireSide struct {
	Name    string    `json:"name"`
	TakenAt *string   `json:"taken_at"`
	Host    string    `json:"host"`
	Kernel  string    `json:"kernel"`
	Judged  bool      `json:"judged"`
	Whole   bool      `json:"whole"`
	Sockets int       `json:"sockets"`
	Gaps    []wireGap `json:"gaps"`
}

type wireChange struct {
	Key    string  `json:"key"`
	Count  [2]*int `json:"count"`
	Change *int    `json:"change"`
}

type wireLeakChange struct {
	Rule      string  `json:"rule"`
	Process   string  `json:"process"`
	Direction string  `json:"direction"`
	Port      *uint16 `json:"port"`
	Match     string  `json:"match"`
	Count     [2]*int `json:"count"`
	Change    *int    `json:"change"`
}

type wirePeerChange struct {
	Peer      string  `json:"peer"`
	Direction string  `json:"direction"`
	Count     [2]*int `json:"count"`
	Change    *int    `json:"change"`
}

type wirePeersRest struct {
	Peers *int    `json:"peers"`
	Count [2]*int `json:"count"`
}

type wireProcessChange struct {
	Name             string    `json:"name"`
	Match            string    `json:"match"`
	PIDs             [2][]int  `json:"pids"`
	Open             [2]*int   `json:"open"`
	Sockets          [2]*int   `json:"sockets"`
	Leaked           [2]*int   `json:"leaked"`
	RSS              [2]*int   `json:"rss_bytes"`
	CPUMS            [2]*int64 `json:"cpu_ms"`
	OpenPerMinute    *float64  `json:"open_per_minute"`
	SocketsPerMinute *float64  `json:"sockets_per_minute"`
	RSSPerMinute     *float64  `json:"rss_bytes_per_minute"`
	CPUShare         *float64  `json:"cpu_share"`
}

type wireFindingChange struct {
	Rule      string  `json:"rule"`
	Severity  string  `json:"severity"`
	Process   string  `json:"process"`
	Peer      string  `json:"peer"`
	Direction string  `json:"direction"`
	LocalPort uint16  `json:"local_port"`
	Count     [2]*int `json:"count"`
	Change    *int    `json:"change"`
}

// wireTurnover is null where it cannot be told which sockets were there both times.
type wireTurnover struct {
	Gone    int `json:"gone"`
	New     int `json:"new"`
	Stayed  int `json:"stayed"`
	Silent  int `json:"silent"`
	Moved   int `json:"moved"`
	Changed int `json:"state_changed"`
	Untold  int `json:"untold"`
}

type wireResidue struct {
	Rule         *string             `json:"rule"`
	Severity     *string             `json:"severity"`
	PID          *int                `json:"pid"`
	Name         *string             `json:"name"`
	Peer         string              `json:"peer"`
	Direction    string              `json:"direction"`
	LocalPort    uint16              `json:"local_port"`
	State        string              `json:"state"`
	Timer        *string             `json:"timer"`
	Keepalive    string              `json:"keepalive"`
	Sockets      int                 `json:"sockets"`
	OldestIdleMS *int64              `json:"oldest_idle_ms"`
	Samples      []wireResidueSample `json:"samples"`
}

type wireResidueSample struct {
	FD     *int    `json:"fd"`
	Local  string  `json:"local"`
	Peer   string  `json:"peer"`
	State  string  `json:"state"`
	Timer  *string `json:"timer"`
	RecvQ  uint32  `json:"recv_q"`
	SendQ  uint32  `json:"send_q"`
	IdleMS *int64  `json:"idle_ms"`
	AgeMS  *int64  `json:"age_ms"`
	Cookie string  `json:"cookie"`
	Inode  uint64  `json:"inode"`
}

func (v diff) wire(Options) any {
	d := v.d
	w := wireDiff{
		Schema: diffSchema, Verdict: d.Verdict.String(), Worse: d.Worse, Reasons: append([]string{}, d.Reasons...), Notes: append([]string{}, d.Notes...),
		IdleLimitMS: d.IdleLimit.Milliseconds(), States: wireChanges(d.States), Timers: wireChanges(d.Timers), Suspects: wireChanges(d.Suspects),
		Kinds: wireChanges(d.Kinds), PeersRest: wirePeersRest{known(d.PeersRest.Peers), knownPair(d.PeersRest.N)}, PeersUnkept: d.Unkept,
		Leaks: []wireLeakChange{}, Peers: []wirePeerChange{}, Processes: []wireProcessChange{}, Findings: []wireFindingChange{}, Residue: []wireResidue{},
		Leaked: d.ResidueLeaked, Idle: d.ResidueIdle, Gaps: wireGaps(d.Gaps),
	}
	if d.Interval != 0 {
		ms := d.Interval.Milliseconds()
		w.IntervalMS = &ms
	}
	for i := range d.Sides {
		w.Sides[i] = wireSideOf(&d.Sides[i])
	}
	for i := range d.Leaks {
		w.Leaks = append(w.Leaks, wireLeakOf(&d.Leaks[i]))
	}
	for _, p := range d.Peers {
		w.Peers = append(w.Peers, wirePeerChange{p.Peer, p.Direction.String(), knownPair(p.N), delta(p.N, p.Unlike)})
	}
	for i := range d.Processes {
		w.Processes = append(w.Processes, wireProcessChangeOf(&d.Processes[i]))
	}
	for _, f := range d.Findings {
		w.Findings = append(w.Findings, wireFindingChange{
			f.Rule, f.Severity.String(), f.Process, f.Peer, f.Direction.String(), f.LocalPort, knownPair(f.N), delta(f.N, false),
		})
	}
	if t := d.Turnover; t.Known {
		w.Turnover = &wireTurnover{t.Gone, t.New, t.Stayed, t.Silent, t.Moved, t.Changed, t.Untold}
	}
	for i := range d.Residue {
		w.Residue = append(w.Residue, wireResidueOf(&d.Residue[i]))
	}
	return w
}

func wireSideOf(s *diag.DiffSide) wireSide {
	w := wireSide{
		Name: s.Name, Host: s.Host.Name, Kernel: s.Host.Kernel, Judged: s.Judged, Whole: s.Whole, Sockets: s.Sockets, Gaps: wireGaps(s.Gaps),
	}
	if !s.At.IsZero() {
		at := rfc3339(s.At)
		w.TakenAt = &at
	}
	return w
}

func wireChanges(list []diag.Change) []wireChange {
	w := []wireChange{}
	for _, c := range list {
		w = append(w, wireChange{stateKey(c.Key), knownPair(c.N), delta(c.N, c.Unlike)})
	}
	return w
}

func knownPair(n [2]int) [2]*int { return [2]*int{known(n[0]), known(n[1])} }

// delta is null where the change is not known.
func delta(n [2]int, unlike bool) *int {
	d, ok := diag.Change{N: n, Unlike: unlike}.Delta()
	if !ok {
		return nil
	}
	return &d
}

func wireLeakOf(l *diag.LeakChange) wireLeakChange {
	w := wireLeakChange{Rule: l.Rule, Process: l.Process, Direction: l.Direction.String(), Match: l.Match.String(), Count: knownPair(l.N), Change: delta(l.N, false)}
	if l.Port != 0 {
		w.Port = &l.Port
	}
	return w
}

func wireProcessChangeOf(p *diag.ProcessChange) wireProcessChange {
	w := wireProcessChange{
		Name: p.Name, Match: p.Match.String(), Open: knownPair(p.Open), Sockets: knownPair(p.Sockets), Leaked: knownPair(p.Leaked), RSS: knownPair(p.RSS),
		OpenPerMinute: knownRate(p.OpenPerMinute), SocketsPerMinute: knownRate(p.SocketsPerMinute), RSSPerMinute: knownRate(p.RSSPerMinute),
		CPUShare: knownRate(p.CPUShare),
	}
	for i := range p.PIDs {
		w.PIDs[i] = append([]int{}, p.PIDs[i]...)
		if cpu := p.CPU[i].Milliseconds(); cpu > 0 {
			w.CPUMS[i] = &cpu
		}
	}
	return w
}

// knownRate is null for NaN.
func knownRate(n float64) *float64 {
	if math.IsNaN(n) || math.IsInf(n, 0) {
		return nil
	}
	n = math.Round(n*1e6) / 1e6
	return &n
}

func wireResidueOf(r *diag.Residue) wireResidue {
	w := wireResidue{
		Peer: r.Peer, Direction: r.Direction.String(), LocalPort: r.LocalPort, State: r.State, Timer: told(r.Timer), Keepalive: r.Keepalive,
		Sockets: r.Sockets, OldestIdleMS: ms(r.Oldest), Samples: []wireResidueSample{},
	}
	if r.Rule != "" {
		severity := r.Severity.String()
		w.Rule, w.Severity = &r.Rule, &severity
	}
	if r.Proc != nil {
		w.PID, w.Name = &r.Proc.PID, &r.Proc.Name
	}
	for i := range r.Samples {
		s := &r.Samples[i]
		sample := wireResidueSample{
			Local: addrPort(s.Local), Peer: addrPort(s.Peer), State: s.State, Timer: told(s.Timer), RecvQ: s.RecvQ, SendQ: s.SendQ,
			IdleMS: ms(s.Idle), AgeMS: ms(s.Age), Cookie: fmt.Sprintf("%x", s.Cookie), Inode: s.Inode,
		}
		if s.PID != 0 {
			sample.FD = &s.FD
		}
		w.Samples = append(w.Samples, sample)
	}
	return w
}

// told is null for what the list does not tell.
func told(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
