//go:build zoo

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// otherPrograms are what people run, with the leaks that people have.
var otherPrograms = []zooCase{
	{name: "node/leak/proxy", run: []string{"node", "leaky-proxy.js"}, n: 4, peer: "peer-echo", guest: "guest-caller"},
	{name: "node/leak/proxy of mute guests", run: []string{"node", "leaky-proxy.js"}, n: 4, peer: "peer-deaf", guest: "guest-mute"},
	{name: "node/leak/half-open", run: []string{"node", "half-open.js"}, n: 3, guest: "guest-leaver"},
	{name: "node/leak/paused", run: []string{"node", "paused.js"}, n: 3, guest: "guest-leaver"},
	{name: "node/leak/no reader", run: []string{"node", "no-reader.js"}, n: 3, guest: "guest-leaver"},
	{name: "node/healthy/fixed proxy", run: []string{"node", "fixed-proxy.js", "60000", "stay"}, n: 4, peer: "peer-echo", guest: "guest-caller"},
	{name: "node/healthy/fixed proxy, guests time out", run: []string{"node", "fixed-proxy.js", "1000", "go"}, n: 4, peer: "peer-echo", guest: "guest-caller"},
	{name: "node/healthy/fixed proxy, guests leave", run: []string{"node", "fixed-proxy.js", "60000", "go"}, n: 4, peer: "peer-echo", guest: "guest-leaver"},
	{name: "node/healthy/fixed proxy, peer hangs up", run: []string{"node", "fixed-proxy.js", "60000", "go"}, n: 4, peer: "peer-hangup", guest: "guest-leaver"},
	{name: "node/healthy/agent", run: []string{"node", "agent.js"}, n: 6, peer: "peer-http"},

	{name: "node/leak/unread", run: []string{"node", "unread.js"}, n: 3, peer: "peer-http-huge"},
	{name: "node/healthy/https pool", run: []string{"node", "https-pool.js"}, n: 6, peer: "peer-https"},
	{name: "node/healthy/streaming to half-open guests", run: []string{"node", "streaming.js"}, n: 3, guest: "guest-half"},
	{name: "node/healthy/spawns", run: []string{"node", "spawns.js"}, n: 3, guest: "guest-caller"},
	{name: "node/healthy/cluster", run: []string{"node", "cluster.js"}, n: 6, guest: "guest-caller"},
	{name: "node/healthy/no error handler", run: []string{"node", "no-error-handler.js"}, n: 6, guest: "guest-reset"},

	{name: "python/leak/never closed", run: []string{"python3", "never_closed.py"}, n: 3, peer: "peer-hangup"},
	{name: "python/leak/reset and kept", run: []string{"python3", "reset_kept.py"}, n: 3, peer: "peer-reset"},
	{name: "python/risk/tickets of TLS", run: []string{"python3", "tls_pool.py"}, n: 6, peer: "peer-https"},
	{name: "python/leak/idle", run: []string{"python3", "idle.py"}, n: 6, peer: "peer-echo"},
	{name: "python/leak/refused and kept", run: []string{"python3", "refused_kept.py"}, n: 3},
	{name: "python/leak/unread body", run: []string{"python3", "unread_body.py"}, n: 3, peer: "peer-http-large"},
	{name: "python/leak/inherited", run: []string{"python3", "inherited.py"}, n: 3, guest: "guest-caller"},
	{name: "python/leak/asyncio, stalled", run: []string{"python3", "asyncio_stalled.py"}, n: 3, peer: "peer-deaf"},
	{name: "python/risk/forked connection", run: []string{"python3", "forked_connection.py"}, n: 3, peer: "peer-echo"},
	{name: "python/healthy/selectors", run: []string{"python3", "selectors_echo.py"}, n: 6, guest: "guest-ping"},
	{name: "python/healthy/closes", run: []string{"python3", "closes.py"}, n: 3, peer: "peer-echo"},
	{name: "python/healthy/asyncio", run: []string{"python3", "asyncio_echo.py"}, n: 6, guest: "guest-ping"},
	{name: "python/healthy/asyncio, busy", run: []string{"python3", "asyncio_echo.py"}, n: 3, guest: "guest-churn"},
	{name: "python/healthy/forked listener", run: []string{"python3", "forked_listener.py"}, n: 3},

	{name: "java/leak/never closed", run: []string{"java", "NeverClosed.java"}, n: 3, peer: "peer-hangup"},
	{name: "java/leak/unread body", run: []string{"java", "UnreadBody.java"}, n: 3, peer: "peer-http-large"},
	{name: "java/leak/reset and kept", run: []string{"java", "ResetKept.java"}, n: 3, peer: "peer-reset"},
	{name: "java/healthy/pool", run: []string{"java", "Pool.java"}, n: 6, peer: "peer-echo"},
	{name: "java/healthy/checked pool", run: []string{"java", "CheckedPool.java"}, n: 6, peer: "peer-echo"},
	{name: "java/healthy/selector", run: []string{"java", "Nio.java"}, n: 6, guest: "guest-ping"},

	{name: "c/leak/forgets who has left", run: []string{"cc", "echo.c", "epoll", "forgets"}, n: 3, guest: "guest-leaver"},
	{name: "c/leak/forgets failed connects", run: []string{"cc", "connect.c"}, n: 3},
	{name: "c/leak/parent forgets who has left", run: []string{"cc", "fork.c", "forgets", "CLOSE-WAIT"}, n: 3, guest: "guest-leaver"},
	{name: "c/risk/parent forgets to close", run: []string{"cc", "fork.c", "forgets", "ESTAB keepalive"}, n: 3, guest: "guest-mute"},
	{name: "c/healthy/fork", run: []string{"cc", "fork.c", "closes", "ESTAB keepalive"}, n: 6, guest: "guest-caller"},
	{name: "c/healthy/epoll", run: []string{"cc", "echo.c", "epoll", "closes"}, n: 6, guest: "guest-ping"},
	{name: "c/healthy/poll", run: []string{"cc", "echo.c", "poll", "closes"}, n: 6, guest: "guest-ping"},

	{name: "server/nginx", server: nginx},
	{name: "server/haproxy", server: haproxy},
	{name: "server/postgres", server: postgres},
	{name: "server/redis", server: redis},
}

// confirmByTools compares what stands behind the findings with what ss and lsof say.
func confirmByTools(t *testing.T, p *zooProcess, r *zooReport) error {
	t.Helper()
	needTool(t, "ss", "iproute2")
	needTool(t, "lsof", "lsof")
	abroad := false // ss sees its own namespace
	for _, pid := range p.all() {
		abroad = abroad || !sameNetns(pid)
	}
	rows, queued, err := ssRows()
	if err != nil {
		return err
	}
	dark := map[int]bool{}
	if p.truth.Leaks["closed-fd"] > 0 {
		if dark, err = lsofDark(p.pid); err != nil {
			return err
		}
	}
	for _, f := range r.Findings {
		for _, s := range f.Samples {
			row, listed := rows[s.Inode]
			var err error
			switch {
			case f.Severity != "leak" || abroad && !listed:
			case f.Rule == "accept-queue":
				if row = queued[s.Peer]; row.state != s.State || row.recvQ != s.RecvQ {
					err = errors.New("it waits in no queue")
				}
			case f.Rule == "closed-fd" && listed:
				err = errors.New("it lists it")
			case f.Rule == "closed-fd":
				if !dark[s.FD] {
					err = errors.New("and lsof knows no such TCP socket")
				}
			default:
				err = row.confirm(f.Rule, &s)
			}
			if err != nil {
				return fmt.Errorf("%s of descriptor %d, inode %d, is not what ss says: %w: %v", f.Rule, s.FD, s.Inode, err, row)
			}
		}
	}
	return nil
}

// sameNetns reports whether all threads of a process are in the namespace of the test.
func sameNetns(pid int) bool {
	ours, _ := os.Readlink("/proc/self/ns/net")
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/ns/net", pid))
	return !slices.ContainsFunc(tasks, func(task string) bool {
		theirs, err := os.Readlink(task)
		return err == nil && theirs != ours
	})
}

// ssRow is a line of ss -tanoeiHO.
type ssRow struct {
	state string
	recvQ int
	sendQ int
	peer  netip.AddrPort
	timer string
	ms    map[string]int // lastsnd, lastrcv, lastack
}

// confirm compares a socket behind a finding. The clocks are read later than the scan read them, so they are older.
func (row ssRow) confirm(rule string, s *zooSample) error {
	ago := func(clock string) time.Duration { return time.Duration(row.ms[clock]) * time.Millisecond }
	switch {
	case row.state != s.State:
		return fmt.Errorf("state %q", s.State)
	case row.recvQ != s.RecvQ:
		return fmt.Errorf("Recv-Q %d", s.RecvQ)
	case row.sendQ != s.SendQ:
		return fmt.Errorf("Send-Q %d", s.SendQ)
	case row.peer.String() != s.Peer:
		return fmt.Errorf("peer %s", s.Peer)
	case rule == "close-wait" && ago("lastack") < time.Second && row.timer != "keepalive" && row.timer != "persist": // whose answers are acks
		return errors.New("the peer has closed just now")
	case rule == "idle-no-keepalive" && row.timer == "keepalive":
		return errors.New("keepalive is on")
	case rule == "idle-no-keepalive" && min(ago("lastsnd"), ago("lastrcv")) < time.Second:
		return errors.New("it is in use")
	case rule == "fin-wait-2" && row.state != "FIN-WAIT-2":
		return errors.New("it is not half closed")
	case rule == "unread-data" && row.recvQ == 0:
		return errors.New("all has been read")
	case rule == "stalled-send" && row.sendQ == 0:
		return errors.New("all has been sent")
	case rule == "inherited-fd" && min(ago("lastsnd"), ago("lastrcv")) < time.Second:
		return errors.New("it is in use")
	}
	return nil
}

// ssRows reads what ss shows: by inode, and what is nobody's by peer.
func ssRows() (rows map[uint64]ssRow, nobodys map[string]ssRow, err error) {
	out, err := exec.Command("ss", "-tanoeiHO").Output()
	if err != nil {
		return nil, nil, err
	}
	rows, nobodys = map[uint64]ssRow{}, map[string]ssRow{}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) < 5 {
			return nil, nil, fmt.Errorf("ss: %q", line)
		}
		row := ssRow{state: f[0], ms: map[string]int{}}
		row.recvQ, _ = strconv.Atoi(f[1])
		row.sendQ, _ = strconv.Atoi(f[2])
		if a, err := netip.ParseAddrPort(f[4]); err == nil {
			row.peer = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
		}
		inode := uint64(0)
		for _, word := range f[5:] {
			key, value, _ := strings.Cut(word, ":")
			switch key {
			case "ino":
				inode, err = strconv.ParseUint(value, 10, 64)
			case "timer":
				row.timer, _, _ = strings.Cut(strings.Trim(value, "()"), ",")
			case "lastsnd", "lastrcv", "lastack":
				row.ms[key], err = strconv.Atoi(value)
			}
			if err != nil {
				return nil, nil, fmt.Errorf("ss: %q: %w", line, err)
			}
		}
		if inode != 0 {
			rows[inode] = row
		} else if row.state == "ESTAB" || row.state == "CLOSE-WAIT" {
			nobodys[row.peer.String()] = row
		}
	}
	return rows, nobodys, nil
}

// lsofDark lists the descriptors on which lsof finds a TCP socket that no list of the kernel has.
func lsofDark(pid int) (map[int]bool, error) {
	cmd := exec.Command("lsof", "-nP", "-w", "-p", strconv.Itoa(pid), "-F", "fn")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cmd, err)
	}
	dark, fd := map[int]bool{}, -1
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		if n, ok := strings.CutPrefix(line, "f"); ok {
			if fd, err = strconv.Atoi(n); err != nil {
				fd = -1 // cwd, txt, mem
			}
		}
		if fd >= 0 && (line == "nprotocol: TCP" || line == "nprotocol: TCPv6" || line == "nprotocol: MPTCP") {
			dark[fd] = true
		}
	}
	return dark, nil
}
