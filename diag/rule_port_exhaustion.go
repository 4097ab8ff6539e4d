package diag

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/sockleak/sockleak/netlinkss"
)

// portsPercent is the share of the local ports from which the rule holds.
const portsPercent = 80

var portExhaustion = &Rule{
	Name:     "port-exhaustion",
	Title:    "local ports towards one destination nearly used up",
	Severity: Risk,
	Doc: Doc{
		Means: "A connection to one destination needs a local port of its own. 80 % or more of those that the kernel may choose are taken towards this one; " +
			"when none is left, connect fails with EADDRNOTAVAIL, for every process of the namespace.",
		Proof: "Rows of the namespace from one local address towards the destination, with a local port of the range net.ipv4.ip_local_port_range, in any state, TIME-WAIT too, " +
			"against the size of the range.",
		Imitates: "Ports outside the range were chosen by a program and are not counted. With several source addresses each has ports of its own. " +
			"Much of TIME-WAIT goes by itself after 60 seconds, and net.ipv4.tcp_tw_reuse lets a connect take such a port again: so it is a risk.",
		Todo: "Find what leaks first; then reuse connections, and widen the range or add source addresses.",
		Advice: map[string]string{
			"":        "Reuse connections (keep-alive, a pool with a limit) instead of opening one per request, and widen net.ipv4.ip_local_port_range if that is not enough.",
			"node":    "Use one http.Agent({ keepAlive: true, maxSockets: 100 }), or undici's Pool, for all requests to this destination.",
			"go":      "Read each response body to its end and close it, use one http.Transport, and raise its MaxIdleConnsPerHost, which is 2.",
			"java":    "Use one pooled client (HttpClient, or PoolingHttpClientConnectionManager with setMaxPerRoute) for all requests.",
			"python":  "Use one requests.Session, httpx.Client or aiohttp.ClientSession for all requests, not one per request.",
			"ruby":    "Keep one connection open with Net::HTTP.start or net-http-persistent.",
			"php":     "Keep one curl handle (curl_init) for all requests, or a persistent connection (pfsockopen, PDO::ATTR_PERSISTENT).",
			"nginx":   "Set keepalive in the upstream, with proxy_http_version 1.1 and an empty proxy_set_header Connection, or several addresses with proxy_bind.",
			"haproxy": "Set http-reuse safe, and give the server several source addresses.",
			"envoy":   "Let the cluster reuse connections (no max_requests_per_connection), and add source addresses with upstream_bind_config.",
		},
	},
	Check: checkPortExhaustion,
}

func checkPortExhaustion(p *Pass) {
	for _, d := range p.Proc.Destinations {
		if d.Size() <= 1 || d.Used*100 < d.Size()*portsPercent {
			continue
		}
		own := p.Proc.towards(d)
		if !slices.ContainsFunc(p.Proc.Space.Procs, func(q *Proc) bool { return q != p.Proc && q.ahead(p.Proc, own, d) }) {
			p.Report(portFinding(p, d, own))
		}
	}
}

// towards is how many connections the process has to a destination.
func (p *Proc) towards(d Destination) (n int) {
	to := toward{d.Local.Unmap(), netlinkss.Unmap(d.Peer)}
	from := func(local netip.Addr) bool {
		return !to.local.IsValid() || to.local.IsUnspecified() || local == to.local
	}
	for i := range p.Held {
		if h := &p.Held[i]; netlinkss.Unmap(h.Peer) == to.peer && from(h.Local.Addr().Unmap()) {
			n++
		}
	}
	for usual, m := range p.passed {
		if usual.peer == to.peer && from(usual.local) {
			n += m
		}
	}
	return n
}

// ahead: a destination is told once, of who has the most connections there.
func (p *Proc) ahead(q *Proc, own int, d Destination) bool {
	if !slices.ContainsFunc(p.Destinations, func(e Destination) bool { return e.Local == d.Local && e.Peer == d.Peer }) {
		return false
	}
	return cmp.Or(cmp.Compare(own, p.towards(d)), cmp.Compare(p.PID, q.PID)) < 0
}

func portFinding(p *Pass, d Destination, own int) *Finding {
	key := keyTo(Connected, d.Peer, 0)
	f := &Finding{
		Severity: Risk, Peer: key.Peer(), Direction: Connected, Sockets: own,
		Why: "The kernel tells connections apart by both addresses and both ports, so each one to the same destination takes a local port, in TIME-WAIT too.",
	}
	from := ""
	if d.Local.IsValid() && !d.Local.IsUnspecified() {
		from = " from " + d.Local.Unmap().String()
	}
	percent := d.Used * 100 / d.Size()
	f.Message = fmt.Sprintf("%d of %d local ports%s %s are taken (%d %%), %d by TIME-WAIT and %d by %s",
		d.Used, d.Size(), from, key.towards(), percent, d.TimeWait, own, Subject(p.Proc.Process))
	f.Evidence = []Evidence{
		{"ports taken", strconv.Itoa(d.Used), "sock_diag: local ports of the range towards " + key.Peer() + from + ", in any state"},
		{"in TIME-WAIT", strconv.Itoa(d.TimeWait), "sock_diag"},
		{"by the process", strconv.Itoa(own), p.Proc.joined()},
		{"ports", strconv.Itoa(d.Size()), fmt.Sprintf("net.ipv4.ip_local_port_range %d to %d", d.Low, d.High)},
		{"share", fmt.Sprintf("%d %%", percent), "ports taken ÷ ports"},
		{"threshold", fmt.Sprintf("%d %%", portsPercent), "rule"},
	}
	if from != "" {
		f.Evidence = append(f.Evidence, Evidence{"local address", d.Local.Unmap().String(), "sock_diag"})
	}
	return f
}
