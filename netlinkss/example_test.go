package netlinkss_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/sockleak/sockleak/netlinkss"
)

// List what peers have closed and this host has not.
func ExampleConn_Dump() {
	conn, err := netlinkss.Dial(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	want := netlinkss.Request{States: netlinkss.CloseWait.Mask(), Attrs: netlinkss.AttrInfo}
	for s, err := range conn.Dump(context.Background(), want) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(s.Local, s.Peer, "inode", s.Inode, "last ACK", s.Info.LastAckRecv, "ms ago")
	}
}

// Keep the sockets of a dump by their cookies.
func ExampleSocket_Clone() {
	conn, err := netlinkss.Dial(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	byCookie := map[uint64]*netlinkss.Socket{}
	for s, err := range conn.Dump(context.Background(), netlinkss.Request{}) {
		if err != nil {
			log.Fatal(err)
		}
		byCookie[s.Cookie] = s.Clone()
	}
	fmt.Println(len(byCookie), "sockets")
}

// Read a dump that ss recorded with ss -D FILE.
func ExampleReplay() {
	f, err := os.Open("../testdata/dump/6.18-ss-tan.nl")
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	for s, err := range netlinkss.Replay(f) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(s.State, s.Local.Addr(), s.Timer, s.RecvQ)
	}
	// Output:
	// LISTEN 127.0.0.1 off 0
	// ESTAB 127.0.0.1 off 0
	// ESTAB 127.0.0.1 keepalive 0
	// ESTAB 127.0.0.1 keepalive 6
	// ESTAB 127.0.0.1 off 0
	// LISTEN ::1 off 0
	// ESTAB ::ffff:127.0.0.1 keepalive 0
	// ESTAB ::ffff:127.0.0.1 keepalive 6
	// ESTAB ::1 keepalive 0
	// ESTAB ::1 keepalive 6
}

func ExampleParseStates() {
	states, err := netlinkss.ParseStates("close-wait")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(states.Has(netlinkss.CloseWait), states.Has(netlinkss.Estab))
	// Output: true false
}
