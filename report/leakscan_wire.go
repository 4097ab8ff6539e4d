package report

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// leakscanSchema changes when a field changes its meaning or goes; new fields may come.
const leakscanSchema = "sockleak.leakscan/1"

type wireLeakscan struct {
	wireHead
	Thresholds wireThresholds `json:"thresholds"`
	Looks      int            `json:"looks"`
	Processes  []wireProcess  `json:"processes"`
	Findings   []wireFinding  `json:"findings"`
	Gaps       []wireGap      `json:"gaps"`
}

type wireThresholds struct {
	IdleMS   int64 `json:"idle_ms"`
	GraceMS  int64 `json:"grace_ms"`
	SettleMS int64 `json:"settle_ms"`
}

type wireProcess struct {
	PID       int           `json:"pid"`
	Name      string        `json:"name"`
	Exe       string        `json:"exe"`
	Args      []string      `json:"args"`
	Runtime   string        `json:"runtime"`
	UID       uint32        `json:"uid"`
	StartedAt string        `json:"started_at"`
	UptimeMS  int64         `json:"uptime_ms"`
	Cgroup    string        `json:"cgroup"`
	Netns     uint64        `json:"netns"`
	FDs       wireFDs       `json:"fds"`
	Sockets   wireTCPCounts `json:"sockets"`
	RSSBytes  uint64        `json:"rss_bytes"`
}

type wireFDs struct {
	Open      *int           `json:"open"`
	SoftLimit *uint64        `json:"soft_limit"`
	ByKind    map[string]int `json:"by_kind"`
}

type wireTCPCounts struct {
	ByState       map[string]int `json:"by_state"`
	EstabTimer    int            `json:"estab_timer"`
	EstabNoTimer  int            `json:"estab_no_timer"`
	Dark          int            `json:"closed_fd"`
	OtherNetns    int            `json:"other_netns"`
	TimeWait      int            `json:"time_wait"`
	TimeWaitNetns int            `json:"time_wait_netns"`
}

type wireFinding struct {
	Rule      string         `json:"rule"`
	Severity  string         `json:"severity"`
	PID       int            `json:"pid"`
	Peer      string         `json:"peer"`
	Direction string         `json:"direction"`
	LocalPort uint16         `json:"local_port"`
	Sockets   int            `json:"sockets"`
	Message   string         `json:"message"`
	Why       string         `json:"why"`
	Evidence  []wireEvidence `json:"evidence"`
	Advice    string         `json:"advice"`
	Samples   []wireSample   `json:"samples"`
}

type wireEvidence struct {
	Field  string `json:"field"`
	Value  string `json:"value"`
	Source string `json:"source"`
}

type wireSample struct {
	FD            int     `json:"fd"`
	FDs           []int   `json:"fds,omitempty"`
	Local         string  `json:"local"`
	Peer          string  `json:"peer"`
	State         string  `json:"state"`
	Timer         string  `json:"timer"`
	ExpiresMS     int64   `json:"expires_ms"`
	Keepalive     string  `json:"keepalive"`
	RecvQ         uint32  `json:"recv_q"`
	SendQ         uint32  `json:"send_q"`
	IdleMS        *int64  `json:"idle_ms"`
	IdleExact     bool    `json:"idle_exact"`
	AgeMS         *int64  `json:"age_ms"`
	AgeExact      bool    `json:"age_exact"`
	AgeSource     string  `json:"age_source"`
	HeldMS        *int64  `json:"held_ms"`
	Cookie        string  `json:"cookie"`
	Inode         uint64  `json:"inode"`
	FirstLookedAt *string `json:"fd_first_looked_at,omitempty"`
}

func (v leakscan) wire(o Options) any {
	r := v.r
	w := wireLeakscan{
		wireHead: wireHead{
			Schema: leakscanSchema, TakenAt: rfc3339(r.Snapshot.At), Host: r.Snapshot.Host.Name,
			Kernel: r.Snapshot.Host.Kernel, TookMS: r.Took.Milliseconds(),
		},
		Thresholds: wireThresholds{
			IdleMS: idleThreshold(r).Milliseconds(), GraceMS: r.Thresholds.Grace.Milliseconds(),
			SettleMS: r.Thresholds.Wait().Milliseconds(),
		},
		Looks: r.Looks, Processes: []wireProcess{}, Findings: []wireFinding{}, Gaps: wireGaps(r.Gaps),
	}
	for _, p := range r.Procs() {
		w.Processes = append(w.Processes, wireProcessOf(r.Snapshot, p))
	}
	for _, f := range r.Findings {
		w.Findings = append(w.Findings, wireFindingOf(f, o))
	}
	return w
}

// idleThreshold is the one of the first process: without --idle each namespace has its own.
func idleThreshold(r *diag.Result) time.Duration {
	for _, s := range r.Snapshot.Spaces {
		d, _ := r.Thresholds.IdleIn(s)
		return d
	}
	return r.Thresholds.Idle
}

func wireProcessOf(s *diag.Snapshot, p *diag.Proc) wireProcess {
	c := countsOf(p)
	w := wireProcess{
		PID: p.PID, Name: p.Name, Exe: p.Exe, Args: append([]string{}, p.Args...), Runtime: p.Runtime, UID: p.UID,
		StartedAt: rfc3339(s.At.Add(-p.Uptime)), UptimeMS: p.Uptime.Milliseconds(), Cgroup: p.Cgroup,
		Netns: p.Netns, RSSBytes: p.RSS,
		FDs: wireFDs{Open: known(p.Open), ByKind: map[string]int{}},
		Sockets: wireTCPCounts{
			ByState: c.byState, EstabTimer: c.timer, EstabNoTimer: c.noTimer, Dark: c.dark, OtherNetns: c.foreign,
			TimeWait: c.timeWait, TimeWaitNetns: p.Space.TimeWait,
		},
	}
	if p.SoftLimit != procfd.NoLimit && p.SoftLimit != 0 {
		w.FDs.SoftLimit = &p.SoftLimit
	}
	for k, n := range p.ByKind {
		if n > 0 {
			w.FDs.ByKind[procfd.Kind(k).String()] = n
		}
	}
	return w
}

func wireFindingOf(f *diag.Finding, o Options) wireFinding {
	w := wireFinding{
		Rule: f.Rule, Severity: f.Severity.String(), PID: f.Proc.PID, Peer: f.Peer, Direction: f.Direction.String(),
		LocalPort: f.LocalPort, Sockets: f.Sockets, Message: f.Message, Why: f.Why, Advice: f.Advice,
		Evidence: []wireEvidence{}, Samples: []wireSample{},
	}
	for _, e := range f.Evidence {
		w.Evidence = append(w.Evidence, wireEvidence(e))
	}
	for _, s := range samplesOf(f, o) {
		w.Samples = append(w.Samples, wireSampleOf(s))
	}
	return w
}

func wireSampleOf(s diag.Sample) wireSample {
	w := wireSample{
		FD: s.FD, FDs: s.FDs, Local: addrPort(s.Local), Peer: addrPort(s.Peer), State: s.State, Timer: s.Timer,
		ExpiresMS: s.Expires.Milliseconds(), Keepalive: s.Keepalive, RecvQ: s.RecvQ, SendQ: s.SendQ,
		IdleMS: ms(s.Idle), IdleExact: s.Idle.Exact, AgeMS: ms(s.Age), AgeExact: s.Age.Exact, AgeSource: s.Age.Source,
		HeldMS: ms(s.Held),
		// A cookie has 64 bits, more than a number of JSON keeps; ss writes it in hex, too.
		Cookie: fmt.Sprintf("%x", s.Cookie), Inode: s.Inode,
	}
	if !s.FirstLooked.IsZero() {
		at := rfc3339(s.FirstLooked)
		w.FirstLookedAt = &at
	}
	return w
}

// noAddress is what people and JSON read where there is none.
const noAddress = "-"

// addrPort is "-" for no address and for the one that a socket has before it gets one; a v4-mapped address is its IPv4 address.
func addrPort(a netip.AddrPort) string {
	if !a.IsValid() || a.Port() == 0 && a.Addr().IsUnspecified() {
		return noAddress
	}
	return netlinkss.Unmap(a).String()
}
