package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

func diffed(a, b *diag.Side) *diag.Diff {
	d, err := diag.Compare(a, b)
	if err != nil {
		panic(err) // both have something
	}
	return d
}

// poolAt is a process some minutes after noon that leaks clients, keeps a pool that is idle, and has done some of its work.
func poolAt(minutes int) *diag.Result {
	later := time.Duration(minutes) * time.Minute
	r := result(func() *diag.Snapshot {
		l := &look{process: &procfd.Process{
			PID: 4242, Start: 100, Name: "proxy", Exe: "/usr/bin/node", Args: []string{"node", "proxy.js"}, Runtime: "node", Uptime: 30*time.Hour + later, RSS: uint64(200+12*minutes) << 20,
			CPU: time.Hour + later/4, Open: 100 + 10*minutes, SoftLimit: 1024,
			ByKind: [procfd.NumKinds]int{procfd.KindSocket: 80 + 10*minutes, procfd.KindPipe: 20},
		}}
		l.hold(20, sock(netlinkss.Listen, "0.0.0.0:8080", "0.0.0.0:0", netlinkss.TCPInfo{}))
		for i := range 20 + 10*minutes {
			l.hold(21+i, sock(netlinkss.Estab, "10.0.0.1:8080", fmt.Sprintf("10.0.%d.7:%d", i%3, 40001+i), traffic(3*time.Hour+later+time.Duration(i)*time.Second)))
		}
		for i := range 4 {
			s := l.hold(900+i, sock(netlinkss.Estab, fmt.Sprintf("10.0.0.1:%d", 50000+i), "10.0.0.9:5432", dialled(4*time.Hour+later)))
			s.Timer, s.Expires = netlinkss.TimerKeepalive, 30*time.Second
		}
		busy := l.hold(950, sock(netlinkss.Estab, "10.0.0.1:51000", "10.0.0.9:6379", dialled(time.Second)))
		busy.Info.BytesReceived += uint64(minutes)
		host := webHost
		host.Uptime += later
		return &diag.Snapshot{Host: host, Spaces: []*diag.Space{join(&diag.Space{}, []*look{l}, 30*minutes, "10.0.0.1:8080")}}
	})
	r.Snapshot.At = noon.Add(later)
	return r
}

// restarted is the process of poolAt with its leak mended.
func restarted() *diag.Result {
	r := result(func() *diag.Snapshot {
		l := &look{process: &procfd.Process{
			PID: 5151, Start: 200, Name: "proxy", Exe: "/usr/bin/node", Args: []string{"node", "proxy.js"}, Runtime: "node", Uptime: time.Hour, RSS: 90 << 20, CPU: time.Minute,
			Open: 30, SoftLimit: 1024, ByKind: [procfd.NumKinds]int{procfd.KindSocket: 10, procfd.KindPipe: 20},
		}}
		l.hold(20, sock(netlinkss.Listen, "0.0.0.0:8080", "0.0.0.0:0", netlinkss.TCPInfo{}))
		l.hold(21, sock(netlinkss.Estab, "10.0.0.1:8080", "10.0.0.7:40001", traffic(time.Second)))
		host := webHost
		host.Uptime += time.Hour
		return &diag.Snapshot{Host: host, Spaces: []*diag.Space{join(&diag.Space{}, []*look{l}, 700, "10.0.0.1:8080")}}
	})
	r.Snapshot.At = noon.Add(time.Hour)
	return r
}

// ssList are sockets alone, of which n are in CLOSE-WAIT; bare is what a text tells.
func ssList(name string, n int, bare bool) *diag.Side {
	list := []*netlinkss.Socket{sock(netlinkss.Listen, "[::]:8080", "[::]:0", netlinkss.TCPInfo{})}
	for i := range n {
		s := sock(netlinkss.CloseWait, "10.0.0.1:8080", fmt.Sprintf("10.0.0.%d:4000", 7+i), traffic(2*time.Minute))
		s.Cookie, s.Inode = uint64(1+i), uint32(100+i)
		list = append(list, s)
	}
	for _, s := range list {
		if bare {
			s.Cookie, s.Inode = 0, 0
			s.SetInfo(nil)
		}
	}
	side := &diag.Side{Name: name, Whole: true, Sockets: slices.Values(list), NoInodes: bare, NoTimers: bare}
	if bare {
		side.Gaps = []diag.Gap{{What: "who holds a socket", Why: "the text of netstat has no inodes"}}
	}
	return side
}

func judged(name string, r *diag.Result) *diag.Side { return &diag.Side{Name: name, Result: r} }

func diffGoldens() []golden {
	worse := diffed(judged("monday.jsonl", poolAt(0)), judged("tuesday.jsonl.zst", poolAt(5)))
	return []golden{
		{"diff-worse", Diff(worse), Options{Top: 10}, ""},
		{"diff-worse-80", Diff(worse), Options{Top: 2, Width: 80, Color: true}, "table"},
		{"diff-better", Diff(diffed(judged("before.jsonl", poolAt(5)), judged("after.jsonl", restarted()))), Options{Top: 2}, ""},
		{"diff-gone", Diff(diffed(judged("a", leaking()), judged("b", partial()))), Options{Top: 3, Width: 120}, "table"},
		{"diff-lists", Diff(diffed(ssList("before.nl", 3, false), ssList("after.nl", 30, false))), Options{Top: 5}, ""},
		{"diff-texts", Diff(diffed(ssList("before.txt", 3, true), ssList("after.nl", 30, false))), Options{Top: 5}, "table"},
	}
}

// The answer stands in one line.
func TestDiffVerdict(t *testing.T) {
	for want, d := range map[string]*diag.Diff{
		"WORSE  it got worse":                          diffed(judged("a", poolAt(0)), judged("b", poolAt(1))),
		"SAME  it leaks no more than before":           diffed(judged("a", poolAt(1)), judged("b", poolAt(1))),
		"BETTER  it leaks less than before":            diffed(judged("a", poolAt(5)), judged("b", restarted())),
		"UNCLEAR  not worse as far as could be seen":   diffed(judged("a", poolAt(1)), judged("b", partial())),
		"UNCLEAR  not worse as far as could be seen\n": diffed(judged("a", clean()), ssList("b", 3, true)),
	} {
		out := string(write(t, "table", Diff(d), Options{}))
		if got := strings.Split(out, "\n")[2]; got != strings.TrimSpace(want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// There is no number for what is not known, in any format.
func TestDiffUnknown(t *testing.T) {
	d := diffed(ssList("a", 3, true), ssList("b", 3, false))
	var doc struct {
		Turnover *struct{}
		Suspects []struct {
			Key    string
			Count  [2]*int
			Change *int
		}
		Timers []struct{ Count [2]*int }
	}
	if err := json.Unmarshal(write(t, "json", Diff(d), Options{}), &doc); err != nil {
		t.Fatal(err)
	}
	if s := doc.Suspects[0]; doc.Turnover != nil || s.Key != diag.SuspectCloseWait || s.Count[0] != nil || *s.Count[1] != 3 || s.Change != nil || doc.Timers[0].Count[0] != nil {
		t.Errorf("%+v", doc)
	}
	for _, format := range []string{"table", "wide", "csv", "html"} {
		out := write(t, format, Diff(d), Options{})
		if _, main, ok := bytes.Cut(out, []byte("<main")); ok { // the script has numbers of its own
			out, _, _ = bytes.Cut(main, []byte("</main>"))
		}
		if bytes.Contains(out, []byte("NaN")) || bytes.Contains(out, []byte("-1")) || bytes.Contains(out, []byte("−1")) {
			t.Errorf("%s:\n%s", format, out)
		}
	}
}

// The rows that are cut of the peers are summed, so the columns add up.
func TestDiffPeersAddUp(t *testing.T) {
	d := diffed(ssList("a", 3, false), ssList("b", 30, false))
	for top, rows := range map[int]int{0: 30, 5: 6, 29: 30, 30: 30} {
		out := readCSV(t, write(t, "csv", Diff(d), Options{Top: top}))
		sum, n := [2]int{}, 0
		for _, row := range out[1:] {
			if row[0] != "peer" {
				continue
			}
			n++
			for i, key := range []string{"before", "after"} {
				var k int
				if _, err := fmt.Sscan(row[slices.Index(out[0], key)], &k); err != nil {
					t.Fatal(err)
				}
				sum[i] += k
			}
		}
		if sum != [2]int{3, 30} || n != rows {
			t.Errorf("top %d: %d rows sum up to %v", top, n, sum)
		}
	}
}
