package scan

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net"
	"os"
	"testing"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/report"
)

// counted is what a report says of the process that does not depend on the moment.
func counted(t *testing.T, r *diag.Result) (states map[string]int, findings map[string]int) {
	t.Helper()
	var b bytes.Buffer
	if err := report.Write(&b, "json", report.Leakscan(r), report.Options{}); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Processes []struct {
			Sockets struct {
				ByState map[string]int `json:"by_state"`
			}
		}
		Findings []struct {
			Rule, Severity, Peer string
			Sockets              int
		}
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	findings = map[string]int{}
	for _, f := range got.Findings {
		findings[f.Severity+" "+f.Rule+" "+f.Peer] += f.Sockets
	}
	return got.Processes[0].Sockets.ByState, findings
}

// What a scan keeps makes no difference: of connections that are used, left by the peer, unread, and used with keepalive.
func TestKernelSift(t *testing.T) {
	_, list, _ := openTest(t)
	source := list.source
	if source.FS.CountDescriptors(os.Getpid()) == 0 {
		t.Skip("stat of /proc/PID/fd does not tell how many there are (Linux 6.2)")
	}
	// What a process opens in its first moments may be inherited, as far as clocks tell.
	for self, err := source.FS.Identify(os.Getpid()); err == nil && self.At(source.FS.Uptime()) < 300*time.Millisecond; {
		time.Sleep(10 * time.Millisecond)
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for i := range 40 {
		d := net.Dialer{KeepAlive: -time.Duration(i % 2)}
		c, err := d.Dial("tcp4", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		a, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		switch i % 4 {
		case 0:
			c.Close()
		case 1:
			c.Write([]byte("never read"))
		}
	}
	scan := func(from int) *diag.Result {
		source.SiftFrom = from
		s := &Scan{Source: source, PIDs: []int{os.Getpid()}, Thresholds: diag.Thresholds{Grace: time.Millisecond, Idle: time.Hour}, Rules: diag.Rules()}
		r, err := s.Run(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		whole, sifted := scan(1<<30), scan(1)
		p := sifted.Procs()[0]
		if n := p.Usual.Timer + p.Usual.NoTimer; n == 0 || len(p.Held) >= len(whole.Procs()[0].Held) {
			t.Fatalf("%d sockets are usual and %d kept, of %d", n, len(p.Held), len(whole.Procs()[0].Held))
		}
		states, findings := counted(t, whole)
		states2, findings2 := counted(t, sifted)
		if states["CLOSE-WAIT"] == 10 && maps.Equal(states, states2) && len(findings) > 1 && maps.Equal(findings, findings2) {
			return
		}
		if time.Now().After(deadline) { // the ends and what is unread arrive, and the grace passes
			t.Fatalf("states: %v with few kept, %v with all; findings: %v and %v", states2, states, findings2, findings)
		}
	}
}
