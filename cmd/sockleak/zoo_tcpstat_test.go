//go:build zoo

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// statCounts are sockets by state and timer, and by peer.
type statCounts struct{ timers, peers map[string]int }

// TestTcpstatAgreesWithSS counts one quiet namespace with both.
func TestTcpstatAgreesWithSS(t *testing.T) {
	needTool(t, "ss", "iproute2")
	needTool(t, "nsenter", "util-linux")
	if why := namespaces(); why != "" {
		t.Skip(why)
	}
	z := newZoo(t)
	p := z.open(t, &zooCase{run: []string{"netns"}, n: 7})
	eventually(t, p.verify)
	// A timer may run out between the two looks: then they are taken again.
	eventually(t, func() error {
		ours, err := z.tcpstatCounts(p.pid)
		if err != nil {
			return err
		}
		theirs, err := ssCounts(p.pid)
		if err != nil {
			return err
		}
		if len(theirs.timers) < 4 || !maps.Equal(ours.timers, theirs.timers) || !maps.Equal(ours.peers, theirs.peers) {
			return fmt.Errorf("tcpstat counts\n%v\nss counts\n%v", ours, theirs)
		}
		return nil
	})
}

func inNetnsOf(pid int, args ...string) ([]byte, error) {
	return exec.Command("nsenter", append([]string{"-t", strconv.Itoa(pid), "-n"}, args...)...).Output()
}

func (z *zooBins) tcpstatCounts(pid int) (statCounts, error) {
	c := statCounts{map[string]int{}, map[string]int{}}
	out, err := inNetnsOf(pid, z.sockleak, "tcpstat", "--json", "--top", "0")
	if err != nil {
		return c, err
	}
	var doc struct {
		States []struct {
			State  string
			Timers map[string]int
		}
		Groups []struct {
			Key     string
			Sockets int
		}
	}
	if err := json.Unmarshal(out, &doc); err != nil {
		return c, err
	}
	for _, s := range doc.States {
		for timer, n := range s.Timers {
			c.timers[s.State+" "+timer] = n
		}
	}
	for _, g := range doc.Groups {
		c.peers[g.Key] = g.Sockets
	}
	return c, nil
}

func ssCounts(pid int) (statCounts, error) {
	c := statCounts{map[string]int{}, map[string]int{}}
	out, err := inNetnsOf(pid, "ss", "-tanoH")
	if err != nil {
		return c, err
	}
	for line := range strings.Lines(string(bytes.TrimSpace(out))) {
		f := strings.Fields(line)
		if len(f) < 5 {
			return c, fmt.Errorf("ss: %q", line)
		}
		timer := "off"
		if len(f) > 5 {
			timer, _, _ = strings.Cut(strings.TrimPrefix(f[5], "timer:("), ",")
		}
		c.timers[f[0]+" "+timer]++
		peer := "*"
		if a, err := netip.ParseAddrPort(f[4]); err == nil {
			peer = a.Addr().Unmap().String()
		}
		c.peers[peer]++
	}
	return c, nil
}
