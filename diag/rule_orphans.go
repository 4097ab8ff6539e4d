package diag

import (
	"fmt"
	"strconv"
)

// orphansPercent is the share of the limit from which the rule holds.
const orphansPercent = 80

var orphans = &Rule{
	Name:     "orphans",
	Title:    "the host's closed connections that wait for their end near their limit",
	Severity: Risk,
	Doc: Doc{
		Means: "A connection that was closed with something unsent, or whose peer does not answer the FIN, is kept by the kernel without a process: an orphan. " +
			"80 % or more of net.ipv4.tcp_max_orphans are taken; over it the kernel resets connections as soon as they are closed, and what was not sent is lost.",
		Proof: "The number behind orphan in /proc/net/sockstat against net.ipv4.tcp_max_orphans. Those of a process are rows with inode 0 in FIN-WAIT, LAST-ACK and CLOSING " +
			"on the ports that it listens on, or towards its peers.",
		Imitates: "TIME-WAIT is no orphan and has a limit of its own. A short crowd passes by itself: net.ipv4.tcp_fin_timeout and tcp_orphan_retries bound each one. " +
			"The number is the host's, so those of other processes and containers count.",
		Todo: "Find who closes so many connections to peers that do not answer; then lower net.ipv4.tcp_orphan_retries or raise net.ipv4.tcp_max_orphans.",
		Advice: map[string]string{
			"": "Read to the peer's end before close, so that no data is left behind, and lower net.ipv4.tcp_orphan_retries where peers vanish.",
			"nginx": "Set reset_timedout_connection on, so that a client that has timed out is reset and leaves nothing behind, " +
				"and lower net.ipv4.tcp_orphan_retries.",
			"haproxy": "Set option nolinger only where clients vanish, and lower net.ipv4.tcp_orphan_retries.",
		},
	},
	Check: checkOrphans,
}

func checkOrphans(p *Pass) {
	all, limit, own := p.Proc.Space.Orphans, p.Proc.Space.Sysctls.MaxOrphans, p.Proc.Orphans
	if limit <= 0 || all <= 0 || all*100 < limit*orphansPercent || own == 0 && !p.only() {
		return
	}
	percent := all * 100 / limit
	p.Report(&Finding{
		Severity: Risk,
		Sockets:  own,
		Message: fmt.Sprintf("the host has %d of at most %d orphans (%d %%), %d of them on the ports of %s or towards its peers",
			all, limit, percent, own, Subject(p.Proc.Process)),
		Why: "The kernel keeps a closed connection until the peer has acknowledged all of it; over the limit it resets it at once.",
		Evidence: []Evidence{
			{"orphans of the host", strconv.Itoa(all), "/proc/net/sockstat: orphan"},
			{"limit", strconv.Itoa(limit), "net.ipv4.tcp_max_orphans"},
			{"share", fmt.Sprintf("%d %%", percent), "orphans ÷ limit"},
			{"on its ports or towards its peers", strconv.Itoa(own), "sock_diag: inode 0 in FIN-WAIT-1, FIN-WAIT-2, LAST-ACK or CLOSING"},
			{"threshold", fmt.Sprintf("%d %%", orphansPercent), "rule"},
		},
	})
}

// only reports whether no other process is judged: then what is nobody's is told to this one.
func (p *Pass) only() bool {
	n := 0
	for _, s := range p.History.Last().Spaces {
		n += len(s.Procs)
	}
	return n == 1
}
