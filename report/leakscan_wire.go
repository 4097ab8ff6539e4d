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
	Rules      []string       `json:"rules"` // those that judged
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
	PID       int      `json:"pid"`
	Name      string   `json:"name"`
	Exe       string   `json:"exe"`
	Args      []string `json:"args"` // the first ones, and "…" for the rest: see wireArgs
	Runtime   string   `json:"runtime"`
	UID       *uint32  `json:"uid"` // null, as the three others, of a process that a list names
	StartedAt *string  `json:"started_at"`
	UptimeMS  *int64   `json:"uptime_ms"`
	Cgroup    string   `json:"cgroup"`
	Unit      *string  `json:"unit"`
	// Container is null outside of any, as far as the cgroup tells.
	Container *wireContainer `json:"container"`
	// NSPIDs are its numbers in the PID namespaces below the one that was read, the innermost last.
	NSPIDs   []int         `json:"ns_pids"`
	Netns    uint64        `json:"netns"`
	Source   string        `json:"source"` // sock_diag, BPF iterators or /proc/net/tcp
	FDs      wireFDs       `json:"fds"`
	Sockets  wireTCPCounts `json:"sockets"`
	RSSBytes *uint64       `json:"rss_bytes"`
	// Leaked counts sockets, Risks findings.
	Leaked        int               `json:"leaked"`
	Risks         int               `json:"risks"`
	LeakPerMinute *float64          `json:"leak_per_minute"`
	FDLimitInMS   *int64            `json:"fd_limit_in_ms"`
	PortsOutInMS  *int64            `json:"ports_out_in_ms"`
	PortsOutPeer  *string           `json:"ports_out_peer"`
	AcceptQueues  []wireAcceptQueue `json:"accept_queues"`
	Destinations  []wireDestination `json:"destinations"`
}

// maxWireArgs is how many bytes of arguments are kept, each with the NUL that ends it.
const maxWireArgs = 4096

// wireArgs are as many arguments as fit, each in whole, and a last element "…" where there are more: a class path may have megabytes.
func wireArgs(args []string) []string {
	list, room := []string{}, maxWireArgs
	for _, arg := range args {
		if room -= len(arg) + 1; room < 0 {
			return append(list, "…")
		}
		list = append(list, arg)
	}
	return list
}

type wireFDs struct {
	Open      *int           `json:"open"`
	SoftLimit *uint64        `json:"soft_limit"`
	ByKind    map[string]int `json:"by_kind"`
	PipePairs int            `json:"pipe_pairs"`
	// ByProtocol are the sockets, null where nothing told it in one go.
	ByProtocol map[string]int `json:"sockets_by_protocol"`
}

type wireTCPCounts struct {
	ByState       map[string]int `json:"by_state"`
	EstabTimer    *int           `json:"estab_timer"` // null where their timers are not told
	EstabNoTimer  *int           `json:"estab_no_timer"`
	Dark          int            `json:"closed_fd"`
	OtherNetns    int            `json:"other_netns"`
	TimeWait      int            `json:"time_wait"`
	TimeWaitNetns int            `json:"time_wait_netns"`
	Orphans       int            `json:"orphans"`
}

type wireAcceptQueue struct {
	Local   string `json:"local"`
	Waiting int    `json:"waiting"`
	Backlog *int   `json:"backlog"` // null where it is not told, as in /proc/net/tcp
	Ended   *int   `json:"peer_closed"`
}

type wireDestination struct {
	Local    string `json:"local"`
	Peer     string `json:"peer"`
	Used     int    `json:"used"`
	TimeWait int    `json:"time_wait"`
	Range    int    `json:"range"`
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
	Onset     *wireOnset     `json:"onset"`
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

	PID     int          `json:"pid"`
	Task    int          `json:"task"`
	Others  []wireHolder `json:"others"`
	End     *wireEnd     `json:"end"`
	Watch   string       `json:"watch"`
	Options *wireOptions `json:"options"`
}

// wireHolder is a descriptor on a socket. Task is the thread in whose own table it is, 0: the process's.
type wireHolder struct {
	PID  int    `json:"pid"`
	FD   int    `json:"fd"`
	Task int    `json:"task"`
	Name string `json:"name"`
}

func wireHolders(holders []diag.Holder) []wireHolder {
	list := []wireHolder{}
	for _, h := range holders {
		list = append(list, wireHolder(h))
	}
	return list
}

// wireEnd is null where the other end is not on this host, or was not looked for.
type wireEnd struct {
	State   string       `json:"state"`
	RecvQ   uint32       `json:"recv_q"`
	SendQ   uint32       `json:"send_q"`
	Holders []wireHolder `json:"holders"`
	// Unseen: somebody holds it who was not found; holders is empty then, as where nobody does.
	Unseen bool `json:"holders_unseen"`
}

// wireOptions is null where the socket was not asked. A time-out of 0 is none, and null is a linger that is off.
type wireOptions struct {
	KeepAlive        bool   `json:"keepalive"`
	KeepIdleMS       int64  `json:"keep_idle_ms"`
	KeepIntervalMS   int64  `json:"keep_interval_ms"`
	KeepCount        int    `json:"keep_count"`
	UserTimeoutMS    int64  `json:"user_timeout_ms"`
	ReceiveTimeoutMS int64  `json:"receive_timeout_ms"`
	SendTimeoutMS    int64  `json:"send_timeout_ms"`
	LingerMS         *int64 `json:"linger_ms"`
}

func wireOptionsOf(o *diag.Options) *wireOptions {
	if o == nil {
		return nil
	}
	w := &wireOptions{
		KeepAlive: o.KeepAlive, KeepIdleMS: o.KeepIdle.Milliseconds(), KeepIntervalMS: o.KeepInterval.Milliseconds(),
		KeepCount: o.KeepCount, UserTimeoutMS: o.UserTimeout.Milliseconds(),
		ReceiveTimeoutMS: o.ReceiveTimeout.Milliseconds(), SendTimeoutMS: o.SendTimeout.Milliseconds(),
	}
	if o.Linger >= 0 {
		n := o.Linger.Milliseconds()
		w.LingerMS = &n
	}
	return w
}

func (v leakscan) wire(o Options) any { return v.wireOf(standings(v.r), o) }

// wireOf has the processes in the order of the list.
func (v leakscan) wireOf(procs []*standing, o Options) wireLeakscan {
	r := v.r
	rules, _ := rulesOf(r)
	w := wireLeakscan{
		wireHead: wireHead{
			Schema: leakscanSchema, TakenAt: momentOf(r.Snapshot.At), Host: r.Snapshot.Host.Name,
			Kernel: r.Snapshot.Host.Kernel, TookMS: r.Took.Milliseconds(),
		},
		Thresholds: wireThresholds{
			IdleMS: idleThreshold(r).Milliseconds(), GraceMS: r.Thresholds.Grace.Milliseconds(),
			SettleMS: r.Thresholds.Wait().Milliseconds(),
		},
		Rules: rules, Looks: r.Looks, Processes: []wireProcess{}, Findings: []wireFinding{}, Gaps: wireGaps(r.Gaps),
	}
	for _, p := range procs {
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

// backlog is that of a listener, whose Send-Q it is. /proc/net/tcp has 0 there.
func backlog(l *netlinkss.Socket) *int {
	if n := int(l.SendQ); n > 0 || l.InfoLen() > 0 {
		return &n
	}
	return nil
}

func wireProcessOf(s *diag.Snapshot, st *standing) wireProcess {
	p, c, g := st.proc, st.counts, st.growth
	without, with := c.timers()
	w := wireProcess{
		PID: p.PID, Name: p.Name, Exe: p.Exe, Args: wireArgs(p.Args), Runtime: p.Runtime, Cgroup: p.Cgroup, Netns: p.Netns, Source: p.Source(),
		Unit: stated(p.Place.Unit), Container: wireContainerOf(&p.Place), NSPIDs: append([]int{}, p.Inner...),
		FDs: wireFDs{Open: known(p.Open), ByKind: map[string]int{}, PipePairs: p.PipePairs},
		Sockets: wireTCPCounts{
			ByState: c.byState, EstabTimer: known(with), EstabNoTimer: known(without), Dark: c.dark, OtherNetns: c.foreign,
			TimeWait: c.timeWait, TimeWaitNetns: p.Space.TimeWait, Orphans: p.Orphans,
		},
		Leaked: st.leaked, Risks: st.risks, LeakPerMinute: rounded(g.PerMinute),
		FDLimitInMS: msAhead(g.FDsIn), PortsOutInMS: msAhead(g.PortsIn),
		AcceptQueues: []wireAcceptQueue{}, Destinations: []wireDestination{},
	}
	if !p.Listed {
		up := p.Uptime.Milliseconds()
		w.UID, w.StartedAt, w.UptimeMS, w.RSSBytes = &p.UID, momentOf(s.At.Add(-p.Uptime)), &up, &p.RSS
	}
	if g.PortsPeer != "" {
		w.PortsOutPeer = &g.PortsPeer
	}
	for _, q := range p.Queues {
		w.AcceptQueues = append(w.AcceptQueues, wireAcceptQueue{
			Local: addrPort(q.Listener.Local), Waiting: waiting(q), Backlog: backlog(q.Listener.Socket), Ended: ended(q),
		})
	}
	for _, d := range p.Destinations {
		w.Destinations = append(w.Destinations, wireDestination{
			Local: addrOf(d.Local), Peer: addrPort(d.Peer), Used: d.Used,
			TimeWait: d.TimeWait, Range: d.Size(),
		})
	}
	if p.SoftLimit != procfd.NoLimit && p.SoftLimit != 0 {
		w.FDs.SoftLimit = &p.SoftLimit
	}
	for k, n := range p.ByKind {
		if n > 0 {
			w.FDs.ByKind[procfd.Kind(k).String()] = n
		}
	}
	for proto, n := range p.ByProto {
		if n > 0 {
			if w.FDs.ByProtocol == nil {
				w.FDs.ByProtocol = map[string]int{}
			}
			w.FDs.ByProtocol[procfd.Proto(proto).String()] = n
		}
	}
	return w
}

// msAhead is a time to come in ms, null when it is not known.
func msAhead(d time.Duration) *int64 {
	if d <= 0 {
		return nil
	}
	n := d.Milliseconds()
	return &n
}

func wireFindingOf(f *diag.Finding, o Options) wireFinding {
	w := wireFinding{
		Rule: f.Rule, Severity: f.Severity.String(), PID: f.Proc.PID, Peer: f.Peer, Direction: f.Direction.String(),
		LocalPort: f.LocalPort, Sockets: f.Sockets, Message: f.Message, Why: f.Why, Advice: f.Advice, Onset: wireOnsetOf(f.Onset),
		Evidence: []wireEvidence{}, Samples: []wireSample{},
	}
	for _, e := range f.Evidence {
		w.Evidence = append(w.Evidence, wireEvidence(e))
	}
	for _, s := range samplesOf(f, o) {
		w.Samples = append(w.Samples, wireSampleOf(f, s))
	}
	return w
}

func wireSampleOf(f *diag.Finding, s diag.Sample) wireSample {
	w := wireSample{
		FD: s.FD, FDs: s.FDs, Local: addrPort(s.Local), Peer: addrPort(s.Peer), State: s.State, Timer: s.Timer,
		ExpiresMS: s.Expires.Milliseconds(), Keepalive: s.Keepalive, RecvQ: s.RecvQ, SendQ: s.SendQ,
		IdleMS: ms(s.Idle), IdleExact: s.Idle.Exact, AgeMS: ms(s.Age), AgeExact: s.Age.Exact, AgeSource: s.Age.Source,
		HeldMS: ms(s.Held),
		// A cookie has 64 bits, more than a number of JSON keeps; ss writes it in hex, too.
		Cookie: fmt.Sprintf("%x", s.Cookie), Inode: s.Inode,
		PID: holderPID(f, s), Task: s.Task, Others: wireHolders(s.Others), Watch: s.Watch.String(), Options: wireOptionsOf(s.Options),
	}
	if s.End != nil {
		w.End = &wireEnd{State: s.End.State, RecvQ: s.End.RecvQ, SendQ: s.End.SendQ, Holders: wireHolders(s.End.Holders), Unseen: s.End.Unseen}
	}
	if !s.FirstLooked.IsZero() {
		at := rfc3339(s.FirstLooked)
		w.FirstLookedAt = &at
	}
	return w
}

// noAddress is what people and JSON read where there is none.
const noAddress = "-"

// addrOf is an address without a port.
func addrOf(a netip.Addr) string {
	if !a.IsValid() {
		return noAddress
	}
	return a.Unmap().String()
}

// addrPort is "-" for no address and for the one that a socket has before it gets one; a v4-mapped address is its IPv4 address.
func addrPort(a netip.AddrPort) string {
	if !a.IsValid() || a.Port() == 0 && a.Addr().IsUnspecified() {
		return noAddress
	}
	return netlinkss.Unmap(a).String()
}
