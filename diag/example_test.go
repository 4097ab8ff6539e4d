package diag_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// A process holds a connection that its peer closed two minutes ago.
func ExampleCheck() {
	process := &procfd.Process{
		PID: 4242, Name: "proxy", Runtime: "go", Open: 12, SoftLimit: 1024,
		Sockets: []procfd.SocketFD{{FD: 7, Inode: 100}},
	}
	socket := &netlinkss.Socket{
		Family: netlinkss.Inet, State: netlinkss.CloseWait, Inode: 100, Cookie: 1,
		Local: netip.MustParseAddrPort("10.0.0.1:41000"), Peer: netip.MustParseAddrPort("10.0.0.7:5432"),
	}
	// What the kernel says of it: the SYN and no payload was acknowledged, and nothing came since.
	info := netlinkss.TCPInfo{LastDataSent: 600_000, LastDataRecv: 600_000, LastAckRecv: 120_000, BytesAcked: 1}
	b, err := binary.Append(nil, binary.NativeEndian, &info)
	if err != nil {
		fmt.Println(err)
		return
	}
	socket.SetInfo(b)

	join := diag.NewJoin(&diag.Space{}, []*procfd.Process{process})
	join.Add(socket) // and all others of the dump
	history := &diag.History{}
	history.Add(&diag.Snapshot{
		At: time.Now(), Host: procfd.Host{Uptime: time.Hour}, Spaces: []*diag.Space{join.Space()},
	})
	result := diag.Check(history, diag.Thresholds{Grace: diag.DefaultGrace}, diag.Rules())
	for _, f := range result.Findings {
		fmt.Println(f.Severity, f.Rule)
		fmt.Println(f.Message)
		for _, s := range f.Samples {
			fmt.Println("fd", s.FD, s.State, "open for", s.Age, "in the state for", s.Held)
		}
		fmt.Println(f.Advice)
	}
	// Output:
	// leak close-wait
	// proxy[4242] holds 1 CLOSE-WAIT socket to 10.0.0.7:5432, the longest for ≥ 2m00s; the program has read to the end and did not close
	// fd 7 CLOSE-WAIT open for 10m00s in the state for ≥ 2m00s
	// Add defer conn.Close() (for net/http: defer resp.Body.Close()) where the connection is taken, and keep reading until io.EOF.
}

// A tally counts sockets as they come and keeps a row per group.
func ExampleTally() {
	tally := diag.Tally{By: diag.ByPeer, Filter: diag.Filter{States: netlinkss.Estab.Mask()}}
	for _, peer := range []string{"10.0.0.7:40001", "10.0.0.7:40002", "10.0.0.8:40001"} {
		tally.Add(&netlinkss.Socket{
			Family: netlinkss.Inet, State: netlinkss.Estab,
			Local: netip.MustParseAddrPort("10.0.0.1:8080"), Peer: netip.MustParseAddrPort(peer),
		})
	}
	top, total, err := tally.Groups("sockets", 20)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, g := range top {
		fmt.Println(tally.Key(&g), g.Sockets, "sockets,", g.EstabNoTimer, "without a timer")
	}
	fmt.Println(total-len(top), "more")
	// Output:
	// 10.0.0.7 2 sockets, 2 without a timer
	// 10.0.0.8 1 sockets, 1 without a timer
	// 0 more
}
