package report

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// growing is a proxy whose leaks go on: of its clients, and of its pool towards a database on the same host. All that can be told
// of a socket is known.
func growing() *diag.Result {
	r := result(func() *diag.Snapshot {
		l := growingProxy()
		space := &diag.Space{Netns: 4026531840, Sysctls: procfd.NetSysctls{KeepaliveTime: time.Minute, PortLow: 32768, PortHigh: 60999}}
		space = join(space, []*look{l}, 150, "10.0.0.1:8080")
		p := space.Procs[0]
		p.Orphans = 12
		p.Destinations = []diag.Destination{
			{Local: netip.MustParseAddr("10.0.0.1"), Peer: netip.MustParseAddrPort("10.0.0.9:5432"), Used: 20112, TimeWait: 18000, Low: 32768, High: 60999},
			{Local: netip.MustParseAddr("10.0.0.1"), Peer: netip.MustParseAddrPort("10.0.0.9:6379"), Used: 9000, Low: 32768, High: 60999},
		}
		return &diag.Snapshot{Host: webHost, Spaces: []*diag.Space{space}}
	})
	clients, pool := found(r, "idle-no-keepalive"), found(r, "close-wait")
	clients.Onset = onset(clients, func(s diag.Sample) diag.Span { return s.Idle }, 7.5123456789)
	pool.Onset = onset(pool, func(s diag.Sample) diag.Span { return s.Held }, 19.5)
	return withSocketsTold(r)
}

// found is the first finding of a rule.
func found(r *diag.Result, rule string) *diag.Finding {
	return r.Findings[slices.IndexFunc(r.Findings, func(f *diag.Finding) bool { return f.Rule == rule })]
}

// onset dates the samples of a finding as a rule does.
func onset(f *diag.Finding, clock func(diag.Sample) diag.Span, perMinute float64) *diag.Onset {
	o := &diag.Onset{Youngest: clockWrap, PerMinute: perMinute, Ongoing: true, Source: clock(f.Samples[0]).Source}
	for _, s := range f.Samples {
		o.Oldest, o.Youngest = max(o.Oldest, clock(s).D), min(o.Youngest, clock(s).D)
	}
	o.Width = (o.Oldest - o.Youngest + 23) / 24
	o.Buckets = make([]int, (o.Oldest-o.Youngest)/o.Width+1)
	for _, s := range f.Samples {
		o.Buckets[(o.Oldest-clock(s).D)/o.Width]++
	}
	return o
}

const clockWrap = (1 << 32) * time.Millisecond

// withSocketsTold fills in what a collector can tell of single sockets.
func withSocketsTold(r *diag.Result) *diag.Result {
	worker := diag.Holder{PID: 4250, FD: 21, Name: "worker"}
	clients, pool := found(r, "idle-no-keepalive").Samples, found(r, "close-wait").Samples
	slices.Reverse(pool) // the oldest first, as the report has them
	for i := range clients {
		clients[i].Watch = procfd.Watched
		clients[i].Options = &diag.Options{KeepIdle: 2 * time.Hour, KeepInterval: 75 * time.Second, KeepCount: 9, Linger: -1}
	}
	clients[0].Watch = procfd.Abandoned
	clients[1].Others = []diag.Holder{worker, {PID: 4251, FD: 21, Name: "worker", Task: 4260}}
	clients[2].PID, clients[2].Task = 4250, 4277
	clients[3].Options = nil
	clients[4].Options = &diag.Options{
		KeepAlive: true, KeepIdle: time.Minute, KeepInterval: 10 * time.Second, KeepCount: 3, UserTimeout: 30 * time.Second,
		ReceiveTimeout: 5 * time.Second, Linger: 0,
	}
	pool[0].End = &diag.EndSample{State: "FIN-WAIT-2"}
	pool[1].End = &diag.EndSample{State: "FIN-WAIT-2", Holders: []diag.Holder{{PID: 77, FD: 5, Name: "postgres"}}}
	pool[2].End = &diag.EndSample{State: "FIN-WAIT-1", SendQ: 4344, Holders: []diag.Holder{{PID: 77, FD: 6, Name: "postgres"}, {PID: 78, FD: 6, Name: "postgres"}}}
	return r
}

func growingProxy() *look {
	l := &look{process: &procfd.Process{
		PID: 4242, Start: 100, Name: "proxy", Exe: "/usr/bin/node", Args: []string{"node", "proxy.js", "--port", "8080"},
		Runtime: "node", UID: 33, Uptime: 30*time.Hour + 5*time.Minute, Cgroup: "/system.slice/proxy.service", RSS: 212 << 20,
		Netns: 4026531840, Open: 2610, SoftLimit: 4096, PipePairs: 600,
		ByKind: [procfd.NumKinds]int{procfd.KindSocket: 1400, procfd.KindPipe: 1204, procfd.KindEpoll: 1},
	}}
	server := l.hold(20, sock(netlinkss.Listen, "0.0.0.0:8080", "0.0.0.0:0", netlinkss.TCPInfo{}))
	server.RecvQ, server.SendQ = 2, 128
	const clients, pool = 990, 60
	for i := range clients {
		if i > 100 && i < 160 {
			continue // a quiet while
		}
		peer := fmt.Sprintf("10.0.0.7:%d", 40001+i)
		l.hold(21+i, sock(netlinkss.Estab, "10.0.0.1:8080", peer, traffic(65*time.Second+132*time.Minute*time.Duration((clients-i)*(clients-i))/clients/clients)))
	}
	for i := range pool {
		local := fmt.Sprintf("10.0.0.1:%d", 50000+i)
		l.hold(2000+i, sock(netlinkss.CloseWait, local, "10.0.0.9:5432", dialled(62*time.Second+time.Duration(i)*3*time.Second)))
	}
	// Nobody has accepted these.
	l.sockets = append(l.sockets, sock(netlinkss.Estab, "10.0.0.1:8080", "10.0.0.7:50001", traffic(time.Second)),
		sock(netlinkss.CloseWait, "10.0.0.1:8080", "10.0.0.7:50002", traffic(time.Minute)))
	return l
}

// crowd is a host with many processes: some leak, one may, most are sound; a few may not be seen into.
func crowd() *diag.Result {
	r := result(func() *diag.Snapshot {
		space := &diag.Space{Netns: 4026531840, Sysctls: procfd.NetSysctls{KeepaliveTime: 2 * time.Hour}}
		looks := []*look{leakingProxy(), leakingAPI(), crowdedBroker()}
		for i := range 300 {
			l := &look{process: &procfd.Process{
				PID: 10000 + i, Start: 1, Name: fmt.Sprintf("worker-%d", i), Uptime: time.Hour, Open: 4 + i%7, SoftLimit: 1024, Netns: 4026531840,
			}}
			l.hold(3, sock(netlinkss.Estab, "10.0.0.1:9000", fmt.Sprintf("10.0.1.1:%d", 20000+i), traffic(time.Second)))
			looks = append(looks, l)
		}
		for i := range 12 {
			looks = append(looks, &look{process: &procfd.Process{PID: 20000 + i, Start: 1, Name: "secret", Open: -1}})
		}
		space = join(space, looks, 150, "10.0.0.1:8080")
		for i, p := range space.Procs[303:] {
			p.Gaps = []diag.Gap{
				{What: "descriptors of " + diag.Subject(p.Process), Why: "permission denied: run as root"},
				{What: "executable of " + diag.Subject(p.Process), Why: "permission denied: run as root", Minor: true},
			}
			if i < 6 {
				p.Gaps = append(p.Gaps, diag.Gap{What: "kind of sockets of " + diag.Subject(p.Process), Count: i, Why: "permission denied: needs CAP_SYS_PTRACE"})
			}
		}
		space.Gaps = []diag.Gap{{What: "dump of TCP sockets", Why: "the kernel cut it short"}}
		return &diag.Snapshot{Host: webHost, Spaces: []*diag.Space{space}}
	})
	for _, f := range r.Findings {
		if f.Proc.PID == 31337 {
			f.Onset = onset(f, func(s diag.Sample) diag.Span { return s.Held }, 1)
		}
	}
	return r
}

// crowdedBroker leaks more than the proxy, and more rows than are shown of it.
func crowdedBroker() *look {
	l := &look{process: &procfd.Process{
		PID: 31337, Start: 9, Name: "broker", Exe: "/opt/broker", Runtime: "go", Uptime: 99 * time.Hour, Open: 200, SoftLimit: 1 << 20,
		Netns: 4026531840, RSS: 1 << 30, ByKind: [procfd.NumKinds]int{procfd.KindSocket: 40},
	}}
	for i := range 40 {
		local := fmt.Sprintf("10.0.0.1:%d", 45000+i)
		l.hold(10+i, sock(netlinkss.CloseWait, local, "10.0.0.33:9092", dialled(5*time.Minute+time.Duration(i)*time.Minute)))
	}
	return l
}
