package netlinkss

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

const ssHeader = "State      Recv-Q Send-Q      Local Address:Port        Peer Address:Port Process\n"

// listed is one row of a list, kept.
type listed struct {
	Socket
	lack  Lack
	users []User
}

func readList(in string) (rows []listed, losses map[string]int, err error) {
	l := ReadList(strings.NewReader(in))
	for s, e := range l.Sockets() {
		if e != nil {
			err = e
			break
		}
		rows = append(rows, listed{*s, l.Lack(), slices.Clone(l.Users())})
	}
	losses = map[string]int{}
	for _, loss := range l.Losses() {
		losses[loss.What] += loss.Count
	}
	return rows, losses, err
}

// oneRow reads a list of one row.
func oneRow(t *testing.T, in string) listed {
	t.Helper()
	rows, losses, err := readList(in)
	if err != nil || len(rows) != 1 {
		t.Fatalf("%d rows, error %v, lost %v of\n%s", len(rows), err, losses, in)
	}
	return rows[0]
}

func TestListAddresses(t *testing.T) {
	for _, c := range []struct {
		local, peer string // as ss prints them
		want        string
		lack        Lack
	}{
		{"127.0.0.1:80", "10.0.0.7:5432", "IPv4 127.0.0.1:80 10.0.0.7:5432", 0},
		{"[::1]:80", "[2001:db8::7]:5432", "IPv6 [::1]:80 [2001:db8::7]:5432", 0},
		{"[::ffff:10.0.0.1]:80", "[::ffff:10.0.0.2]:1", "IPv6 [::ffff:10.0.0.1]:80 [::ffff:10.0.0.2]:1", 0},
		{"[fe80::1]%eth0:22", "[fe80::2]:99", "IPv6 [fe80::1]:22 [fe80::2]:99", LackDevice},
		{"[fe80::1%eth0]:22", "[fe80::2]:99", "IPv6 [fe80::1]:22 [fe80::2]:99", LackDevice},
		{"127.0.0.53%lo:53", "0.0.0.0:*", "IPv4 127.0.0.53:53 0.0.0.0:0", LackDevice},
		{"127.0.0.53%if7:53", "0.0.0.0:*", "IPv4 127.0.0.53:53 0.0.0.0:0 on 7", 0},
		{"*%eth0:53", "*:*", "IPv6 [::]:53 [::]:0", LackDevice},
		{"*:22", "*:*", "IPv6 [::]:22 [::]:0", 0},
		{"[::]:22", "[::]:*", "IPv6 [::]:22 [::]:0", 0},
		{"[::1]:25", "*:*", "IPv6 [::1]:25 [::]:0", 0},
		// versions before 4.13
		{":::22", ":::*", "IPv6 [::]:22 [::]:0", 0},
		{"::1:80", "::ffff:10.0.0.1:443", "IPv6 [::1]:80 [::ffff:10.0.0.1]:443", 0},
		{"127.0.0.1:25", "*:*", "IPv4 127.0.0.1:25 0.0.0.0:0", 0},
		// without -n, and with -r
		{"127.0.0.1:http", "10.0.0.7:51000", "IPv4 - 10.0.0.7:51000", LackLocal},
		{"10.0.0.7:51000", "[2001:db8::1]:ldap-admin", "IPv4 10.0.0.7:51000 -", LackPeer},
		{"localhost:http", "db.example.org:postgresql", "unknown(0) - -", LackLocal | LackPeer},
		{"*:ssh", "*:*", "IPv6 - [::]:0", LackLocal},
	} {
		in := fmt.Sprintf("%sESTAB 1 2 %s %s timer:(on,1ms,1) ino:1 sk:1 users:((\"x\",pid=1,fd=3))\n", ssHeader, c.local, c.peer)
		r := oneRow(t, in)
		got := fmt.Sprintf("%v %s %s", r.Family, addrText(r.Local), addrText(r.Peer))
		if r.Interface != 0 {
			got += fmt.Sprint(" on ", r.Interface)
		}
		if got != c.want || r.lack != c.lack {
			t.Errorf("%s %s: %s lacks %q, want %s, %q", c.local, c.peer, got, lackText(r.lack), c.want, lackText(c.lack))
		}
	}
}

func addrText(a netip.AddrPort) string {
	if a == (netip.AddrPort{}) {
		return "-"
	}
	return a.String()
}

// What no program prints is a row that could not be read, never a socket with another address.
func TestListAddressesRefused(t *testing.T) {
	for _, addr := range []string{
		"127.0.0.1", "127.0.0.1:", ":80", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.256:80", "1.2.3:4:5", "[::1:80", "[::1]80", "::1]:80", "[]:80", "[g::1]:80",
		"%eth0:80", "1.2.3.4%:80", "0x7f.0.0.1:80:1", "1.2.3.4.5:99999", "[127.0.0.1:80", "\x00:1", "[name]:80", "0.0.0.0:22127.0.0.1:80",
	} {
		in := ssHeader + "ESTAB 0 0 " + addr + " 10.0.0.1:2\nESTAB 0 0 1.1.1.1:1 2.2.2.2:2\n"
		rows, losses, err := readList(in)
		if err != nil || len(rows) != 1 || losses[LossUnread] != 1 {
			t.Errorf("%q: %d rows, lost %v, error %v", addr, len(rows), losses, err)
		}
	}
}

// "*" is what the rows of the same command say.
func TestListWildcard(t *testing.T) {
	star := "LISTEN 0 128 *:22 *:*\n"
	for _, c := range []struct{ name, rows, want string }{
		{"alone", star, "[::]:22"},
		{"both wildcards of today", star + "LISTEN 0 128 0.0.0.0:22 0.0.0.0:*\n", "[::]:22"},
		{"with IPv6 in brackets", star + "LISTEN 0 128 [::1]:25 *:*\n", "[::]:22"},
		{"bare IPv6", star + "LISTEN 0 128 :::22 :::*\n", "0.0.0.0:22"},
		{"IPv4 without a peer", star + "LISTEN 0 128 127.0.0.1:25 *:*\n", "0.0.0.0:22"},
		{"4.13", star + "LISTEN 0 128 127.0.0.1:25 *:*\nLISTEN 0 128 [::1]:25 *:*\n", "-"},
		{"the next command's", star + ssHeader + "LISTEN 0 128 :::22 :::*\n", "[::]:22"},
	} {
		rows, _, err := readList(ssHeader + c.rows)
		if err != nil || len(rows) == 0 || addrText(rows[0].Local) != c.want {
			t.Errorf("%s: error %v, %+v, want %s", c.name, err, rows, c.want)
		}
	}
}

func TestListTimers(t *testing.T) {
	const ms = time.Millisecond
	for word, want := range map[string]Socket{
		"(keepalive,119min,0)":     {Timer: TimerKeepalive, Expires: 119 * time.Minute},
		"(keepalive,1min58sec,4)":  {Timer: TimerKeepalive, Expires: 118 * time.Second, Retrans: 4},
		"(keepalive,10min,0)":      {Timer: TimerKeepalive, Expires: 10 * time.Minute},
		"(keepalive,1min,0)":       {Timer: TimerKeepalive, Expires: time.Minute},
		"(timewait,59sec,0)":       {Timer: TimerTimeWait, Expires: 59 * time.Second},
		"(timewait,9.501sec,0)":    {Timer: TimerTimeWait, Expires: 9501 * ms},
		"(timewait,9.373ms,0)":     {Timer: TimerTimeWait, Expires: 9373 * ms}, // before 6.11: seconds, whatever it says
		"(timewait,9sec,0)":        {Timer: TimerTimeWait, Expires: 9 * time.Second},
		"(on,200ms,3)":             {Timer: TimerOn, Expires: 200 * ms, Retrans: 3},
		"(on,004ms,3)":             {Timer: TimerOn, Expires: 4 * ms, Retrans: 3},
		"(on,,255)":                {Timer: TimerOn, Retrans: 255},
		"(delack,040ms,0)":         {Timer: TimerDelack, Expires: 40 * ms},
		"(persist,472ms,1)":        {Timer: TimerPersist, Expires: 472 * ms, Retrans: 1},
		"(persist,1min58sec,12)":   {Timer: TimerPersist, Expires: 118*time.Second + 999*ms, Retrans: 12}, // the upper end
		"(persist,13sec,9)":        {Timer: TimerPersist, Expires: 13999 * ms, Retrans: 9},
		"(unknown,200ms,0)":        {Timer: TimerUnknown},
		"(keepalive,119mi":         {Timer: TimerUnknown},
		"(keepalive,119min,256)":   {Timer: TimerUnknown},
		"(keepalive,2h,0)":         {Timer: TimerUnknown},
		"(keepalive,5,0)":          {Timer: TimerUnknown},
		"(keepalive,60sec,0)":      {Timer: TimerUnknown},
		"(keepalive,7.1sec,0)":     {Timer: TimerUnknown},
		"keepalive,119min,0":       {Timer: TimerUnknown},
		"(off,119min,0)":           {Timer: TimerUnknown},
		"(keepalive,1min1000ms,0)": {Timer: TimerUnknown},
	} {
		r := oneRow(t, ssHeader+"ESTAB 0 0 1.1.1.1:1 2.2.2.2:2 timer:"+word+" ino:1 sk:1\n")
		if r.Timer != want.Timer || r.Expires != want.Expires || r.Retrans != want.Retrans || (r.lack&LackTimer != 0) != (want.Timer == TimerUnknown) {
			t.Errorf("%s: %v,%v,%d lacks %s, want %v,%v,%d", word, r.Timer, r.Expires, r.Retrans, lackText(r.lack), want.Timer, want.Expires, want.Retrans)
		}
	}
}

// A row without a timer has none where its command prints timers, and else nobody knows.
func TestListTimersLeftOut(t *testing.T) {
	plain, timed := "ESTAB 0 0 1.1.1.1:1 2.2.2.2:2\n", "ESTAB 0 0 1.1.1.1:1 2.2.2.2:3 timer:(keepalive,1min,0)\n"
	info := "\t sack cubic rto:204 cwnd:10\n"
	for _, c := range []struct {
		name, in string
		want     Timer
	}{
		{"none in the text", ssHeader + plain, TimerUnknown},
		{"one behind it", ssHeader + plain + timed, TimerOff},
		{"one before it", timed + plain, TimerOff},
		{"in the next command's output", ssHeader + plain + ssHeader + timed, TimerUnknown},
		{"in the one before", ssHeader + timed + ssHeader + plain, TimerUnknown},
		{"by the command line", "$ ss -tano\n" + ssHeader + plain, TimerOff},
		{"by a long option of it", "root@a:~# /usr/bin/ss --tcp --options\n" + ssHeader + plain, TimerOff},
		{"by another option", "$ ss -tan --no-header\n" + plain, TimerUnknown},
		{"by the argument of one", "$ ss -tnfo\n" + ssHeader + plain, TimerUnknown},
		{"by another program's option", "$ ss -tan | grep -o ESTAB\n" + ssHeader + plain, TimerUnknown},
		{"by the command line of another output", "$ ss -tano\n" + ssHeader + ssHeader + plain, TimerUnknown},
		{"options, which -o prints", ssHeader + plain + info, TimerOff},
		{"options of another row", ssHeader + plain + "ESTAB 0 0 1.1.1.1:1 2.2.2.2:3\n" + info, TimerOff},
		{"far behind it", ssHeader + plain + strings.Repeat("ESTAB 0 0 1.1.1.1:1 2.2.2.2:4\n", 10000) + timed, TimerOff},
		{"farther than can be seen", ssHeader + plain + strings.Repeat("ESTAB 0 0 1.1.1.1:1 2.2.2.2:4\n", listBuffer/30) + timed, TimerUnknown},
		{"in the name of a process", ssHeader + `ESTAB 0 0 1.1.1.1:1 2.2.2.2:2 users:((" timer:(on,,0 ",pid=1,fd=2))` + "\n", TimerUnknown},
		{"in the name of a cgroup", ssHeader + "ESTAB 0 0 1.1.1.1:1 2.2.2.2:2 ino:1 sk:1 cgroup:/a timer:(on,1ms,0) <->\n", TimerUnknown},
		{"in a cgroup's, without its end", ssHeader + "ESTAB 0 0 1.1.1.1:1 2.2.2.2:2 ino:1 sk:1 cgroup:/a timer:(on,1ms,0)\n", TimerUnknown},
	} {
		rows, _, err := readList(c.in)
		found := false
		for _, r := range rows {
			if r.Peer.Port() != 2 {
				continue
			}
			found = true
			if r.Timer != c.want || (r.lack&LackTimer != 0) != (c.want == TimerUnknown) {
				t.Errorf("%s: %v lacks %s, want %v", c.name, r.Timer, lackText(r.lack), c.want)
			}
		}
		if err != nil || !found {
			t.Errorf("%s: error %v, %d rows", c.name, err, len(rows))
		}
	}
}

func TestListUsers(t *testing.T) {
	for word, want := range map[string][]User{
		`(("node",pid=12,fd=33))`:                                {{"node", 12, 33}},
		`(("node",pid=12,fd=33),("a b",pid=13,fd=0))`:            {{"node", 12, 33}, {"a b", 13, 0}},
		`(("a"b",pid=12,fd=33))`:                                 {{`a"b`, 12, 33}},
		`(("a\"b)(",pid=12,fd=33))`:                              {{`a\"b)(`, 12, 33}},
		`(("",pid=1,fd=2",pid=666,fd=7))`:                        {{`",pid=1,fd=2`, 666, 7}},
		`(("",pid=1,fd=2))",pid=666,fd=7))`:                      {{`",pid=1,fd=2))`, 666, 7}},
		`(("",pid=12,fd=33))`:                                    {{"", 12, 33}},
		`(("java",pid=12,tid=14,fd=33))`:                         {{"java", 12, 33}},
		`(("java",pid=12,proc_ctx=system_u:system_r:x:s0,fd=3))`: {{"java", 12, 3}},
		`(("java",pid=12,proc_ctx=a,fd=3,sock_ctx=b))`:           {{"java", 12, 3}},
		`(("sshd",1234,3),("x",5,6))`:                            {{"sshd", 1234, 3}, {"x", 5, 6}}, // before 3.14
		`(("node",pid=12,fd=33)`:                                 nil,
		`(("node",pid=12,fd=`:                                    nil,
		`(("node",pid=99999999999,fd=3))`:                        nil,
		`(("node",pid=-1,fd=3))`:                                 nil,
		`((node,pid=1,fd=3))`:                                    nil,
		`(("node",pid=1,fd=3)),("x",pid=2,fd=3)`:                 nil,
	} {
		r := oneRow(t, ssHeader+"ESTAB 0 0 1.1.1.1:1 2.2.2.2:2 users:"+word+" timer:(on,1ms,1) ino:7 sk:8\n")
		if !slices.Equal(r.users, want) || (r.lack&LackHolders != 0) != (want == nil) {
			t.Errorf("%s: %+v lacks %s, want %+v", word, r.users, lackText(r.lack), want)
		}
		if want != nil && (r.Timer != TimerOn || r.Inode != 7) {
			t.Errorf("%s: what is behind it is %v, inode %d", word, r.Timer, r.Inode)
		}
		if want == nil && strings.HasSuffix(word, ",fd=") && r.Timer != TimerUnknown {
			t.Errorf("%s: the list has no end, and the timer is %v", word, r.Timer)
		}
	}
}

// A process may have the end of a line in its name, and a row of its own making behind it.
func TestListUsersOverLines(t *testing.T) {
	row := "ESTAB 0 0 1.1.1.1:1 2.2.2.2:2 users:((\"%s\",pid=12,fd=33)) timer:(keepalive,1min,0) ino:7 sk:8\n"
	for _, name := range []string{"a\nb", "\n", "a\n\nb", "\nx\ty\n", "\n\t ino:9", "\n1", "\n\t"} {
		r := oneRow(t, ssHeader+fmt.Sprintf(row, name))
		if len(r.users) != 1 || r.users[0] != (User{name, 12, 33}) || r.Timer != TimerKeepalive || r.Inode != 7 {
			t.Errorf("%q: %s users %+v", name, text(&r.Socket), r.users)
		}
	}
	for _, name := range []string{"\nESTAB 0 0 *:1", "\nESTAB 0 0 *:1 ", "\nLISTEN 0 0 a ", "\ntcp ESTAB 0 0"} {
		rows, _, err := readList(ssHeader + "ESTAB 0 0 1.1.1.1:1 2.2.2.2:3 timer:(on,1ms,0)\n" + fmt.Sprintf(row, name))
		if err != nil || len(rows) != 2 || rows[1].Timer != TimerUnknown || rows[1].users != nil || rows[1].Peer.Port() != 2 {
			t.Errorf("%q: error %v, %+v", name, err, rows)
		}
	}
}

func TestListInfo(t *testing.T) {
	old := "\t cubic wscale:7,7 rto:204 rtt:0.5/0.25 mss:1448 cwnd:10 "
	for _, c := range []struct {
		name, info string
		length     int
		check      func(i *TCPInfo) bool
	}{
		{"no words", "", 0, nil},
		{"before 3.18", old + "retrans:1/3 rcv_space:29200", infoHasOld, func(i *TCPInfo) bool { return i.RTO == 204000 && i.Retrans == 1 }},
		{"3.18: clocks", old + "lastsnd:10 lastrcv:20 lastack:30", InfoHasClocks, func(i *TCPInfo) bool { return i.LastDataSent == 10 && i.LastDataRecv == 20 && i.LastAckRecv == 30 }},
		{"one clock, and the others are 0", old + "lastack:30", InfoHasClocks, func(i *TCPInfo) bool { return i.LastDataSent == 0 && i.LastAckRecv == 30 }},
		{"4.2: no segments with data are told", old + "bytes_acked:1 segs_out:2 segs_in:3 lastsnd:1", 144, nil},
		{"4.7: nothing was sent", old + "bytes_received:5 segs_in:3 data_segs_in:1 lastsnd:1", InfoHasDataSegs, func(i *TCPInfo) bool { return i.DataSegsOut == 0 && i.DataSegsIn == 1 && i.BytesReceived == 5 }},
		{"4.20", old + "bytes_sent:18446744073709551615 delivered:1", InfoHasBytes, func(i *TCPInfo) bool { return i.BytesSent == 1<<64-1 }},
		{"a kernel that has no bytes sent", old + "delivered:1", InfoHasDelivered, nil},
		{"5.18", old + "snd_wnd:65535", InfoHasSndWnd, func(i *TCPInfo) bool { return i.SndWnd == 65535 }},
		{"6.6", old + "rcv_wnd:65535 retrans:1/3", 236, func(i *TCPInfo) bool { return i.TotalRetrans == 3 }},
		{"a number that is none", old + "lastsnd:1x snd_wnd:5", 0, nil},
		{"a number too great", old + "lastsnd:4294967296", 0, nil},
		{"a backoff too great", old + "backoff:256", 0, nil},
		{"rto with a fraction", "\t rto:203.333 lastsnd:1", InfoHasClocks, func(i *TCPInfo) bool { return i.RTO == 203333 }},
		{"rto that was rounded up", "\t rto:1206.67 lastsnd:1", InfoHasClocks, func(i *TCPInfo) bool { return i.RTO == 1206000 }},
		{"rto that is no number", "\t rto:1e+06 lastsnd:1", 0, nil},
		{"without rto: 3 s, or none", "\t cubic lastsnd:1", InfoHasClocks, func(i *TCPInfo) bool { return i.RTO == 0 }},
	} {
		r := oneRow(t, ssHeader+"ESTAB 0 0 1.1.1.1:1 2.2.2.2:2 timer:(on,200ms,3) ino:1 sk:1\n"+c.info+"\n")
		if r.InfoLen() != c.length || r.Has(AttrInfo) != (c.length > 0) || c.length == 0 && r.Info != (TCPInfo{}) {
			t.Errorf("%s: %d bytes, want %d: %+v", c.name, r.InfoLen(), c.length, r.Info)
		}
		if c.check != nil && !c.check(&r.Info) {
			t.Errorf("%s: %+v", c.name, r.Info)
		}
		if c.length > 0 && (r.Info.Retransmits != 3 || r.Info.State != uint8(Estab)) {
			t.Errorf("%s: %d retransmits, state %d", c.name, r.Info.Retransmits, r.Info.State)
		}
	}
}

// What one row has, the command prints of all, and a word that another row lacks is 0; a row that is cut tells nothing.
func TestListInfoOfRun(t *testing.T) {
	row := "ESTAB 0 0 1.1.1.1:1 2.2.2.2:%d timer:(on,1ms,0)\n\t cubic rto:204 %s\n"
	first := fmt.Sprintf(row, 1, "lastsnd:1")
	for _, c := range []struct {
		name, in string
		length   int
	}{
		{"alone", first, InfoHasClocks},
		{"with a newer one behind it", first + fmt.Sprintf(row, 2, "snd_wnd:1"), InfoHasSndWnd},
		{"with a newer one before it", fmt.Sprintf(row, 2, "snd_wnd:1") + first, InfoHasSndWnd},
		{"with another command's", first + ssHeader + fmt.Sprintf(row, 2, "snd_wnd:1"), InfoHasClocks},
		{"its words cut off", "ESTAB 0 0 1.1.1.1:1 2.2.2.2:1\n" + fmt.Sprintf(row, 2, "snd_wnd:1"), 0},
		{"the text ends in it", fmt.Sprintf(row, 2, "snd_wnd:1") + strings.TrimSuffix(first, "\n"), 0},
	} {
		rows, _, err := readList(ssHeader + c.in)
		for _, r := range rows {
			if r.Peer.Port() == 1 && r.InfoLen() != c.length {
				t.Errorf("%s: %d bytes, want %d", c.name, r.InfoLen(), c.length)
			}
		}
		if err != nil || len(rows) == 0 {
			t.Errorf("%s: error %v", c.name, err)
		}
	}
}

func TestListDetails(t *testing.T) {
	const words = "uid:1000 ino:123 sk:1bec1ba fwmark:0x2a cgroup:/a b <-> x v6only:1 --> "
	r := oneRow(t, ssHeader+"CLOSE-WAIT 1 2 [::1]:1 [::1]:2 "+words+"\n\t skmem:(r1,rb2,t3,tb4,f5,w6,o7,bl8,d9) ts cubic wscale:7,7 rto:204 tcp-ulp-tls\n")
	want := Socket{
		Family: Inet6, State: CloseWait, RecvQ: 1, SendQ: 2, Local: netip.MustParseAddrPort("[::1]:1"), Peer: netip.MustParseAddrPort("[::1]:2"),
		UID: 1000, Inode: 123, Cookie: 0x1bec1ba, Mark: 42, V6Only: 1, Shutdown: ShutdownRecv, SkMem: SkMem{1, 2, 3, 4, 5, 6, 7, 8, 9},
		Congestion: nameOf([]byte("cubic")), ULP: nameOf([]byte("tls")), Info: TCPInfo{State: 8, RTO: 204000}, infoLen: infoHasOld,
		present: AttrMark | AttrV6Only | AttrShutdown | AttrSkMem | AttrCong | AttrULP | AttrInfo,
	}
	if r.Socket != want || r.lack != LackHolders {
		t.Errorf("got  %s lacks %s\nwant %s", text(&r.Socket), lackText(r.lack), text(&want))
	}
	// Before Linux 4.2 the cookie was an address, which other sockets have later.
	if r := oneRow(t, "ESTAB 0 0 1.1.1.1:1 2.2.2.2:2 ino:1 sk:ffff880035b0d7c0 <->\n"); r.Cookie != 0 || r.lack&LackCookie == 0 || r.Inode != 1 {
		t.Errorf("cookie %x lacks %s", r.Cookie, lackText(r.lack))
	}
}

// Texts as people paste them.
func TestListPasted(t *testing.T) {
	row := "ESTAB 0 0 1.1.1.1:1 2.2.2.2:2 timer:(on,1ms,0) ino:1 sk:1\n"
	for _, c := range []struct {
		name, in string
		rows     int
		lost     map[string]int
	}{
		{"a prompt round it", "$ ss -tano\n" + ssHeader + row + row + "root@host:~# \n", 2, nil},
		{"blank lines", "\n\n" + ssHeader + "\n" + row + "\n" + row + "\n\n", 2, nil},
		{"indented", strings.ReplaceAll("    "+ssHeader+row+row, "\nESTAB", "\n    ESTAB"), 2, nil},
		{"a byte order mark", "\ufeff" + row, 1, nil},
		{"no end of the last line", row + strings.TrimSuffix(row, "\n"), 1, map[string]int{LossCut: 1}},
		{"no end of its words", row + row + "\t cubic rto:20", 2, map[string]int{LossCut: 1}},
		{"a row broken behind a digit", row + "ESTAB 0 0 1.1.1.1:1 2.2.2.2:22\n34 timer:(on,1ms,0)\n" + row, 2, map[string]int{LossCut: 1}},
		{"a row broken in its words", row + "ESTAB 0 0 1.1.1.1:1 2.2.2.2:2 ino:1\n23 sk:1\n", 1, map[string]int{LossCut: 1}},
		{"a separator", row + "--\n" + row, 2, nil},
		{"other protocols", "Netid " + ssHeader + "tcp " + row + "udp UNCONN 0 0 0.0.0.0:53 0.0.0.0:*\nu_str ESTAB 0 0 * 1 * 2\nnl UNCONN 0 0 4:1 *\nmptcp ESTAB 0 0 1.1.1.1:1 2.2.2.2:2\n", 1, map[string]int{LossOther: 4}},
		{"UNCONN without a protocol", ssHeader + row + "UNCONN 0 0 0.0.0.0:53 0.0.0.0:*\n", 1, map[string]int{LossOther: 1}},
		{"MPTCP's own", ssHeader + row + "ESTAB 0 0 1.1.1.1:1 2.2.2.2:2\n\t subflows:1 token:9 write_seq:5 snd_una:5\n", 1, map[string]int{LossOther: 1}},
		{"a state of no name", ssHeader + row + "UNDEF 0 0 1.1.1.1:1 2.2.2.2:2\n", 1, map[string]int{LossUnread: 1}},
		{"rows that are none", ssHeader + row + "ESTAB x 0 1.1.1.1:1 2.2.2.2:2\nESTAB -1 0 1.1.1.1:1 2.2.2.2:2\nESTAB 0\n", 1, map[string]int{LossUnread: 3}},
		{"a line without an end in sight", row + strings.Repeat("x", 3*listBuffer) + "\n" + row, 2, map[string]int{LossUnread: 1}},
		{"one state, with its command", "$ sudo ss -tn state close-wait\nRecv-Q Send-Q Local Address:Port Peer Address:Port\n0 0 1.1.1.1:1 2.2.2.2:2\n", 1, nil},
		{"two states", "$ ss -tn state close-wait state time-wait\nRecv-Q Send-Q Local Address:Port Peer Address:Port\n0 0 1.1.1.1:1 2.2.2.2:2\n" + row, 1, map[string]int{LossStateless: 1}},
		{"one state, without it", "Recv-Q Send-Q Local Address:Port Peer Address:Port\n0 0 1.1.1.1:1 2.2.2.2:2\n" + row, 1, map[string]int{LossStateless: 1}},
		{"nothing but its header", ssHeader, 0, nil},
		{"half of it quoted", ssHeader + row + "> " + row + ">" + row, 1, map[string]int{LossUnread: 2}},
		{"half of it from a log", ssHeader + row + "Nov 23 02:00:01 web-1 ss[412]: " + row + "2026-11-23T02:00:01.5Z stdout F " + row, 1, map[string]int{LossUnread: 2}},
		{"lines with numbers", row + "2:" + row + "     3\t" + row + "4 " + row, 1, map[string]int{LossUnread: 3}},
		{"names behind a quote", row + "> ESTAB 0 0 web:http db.local:postgresql\n", 1, map[string]int{LossUnread: 1}},
		{"a quote inside of a margin", row + "\t cubic rto:200\n  | " + row + "  |\t cubic rto:300\n", 1, map[string]int{LossUnread: 1}},
		{"the colours of grep", row + strings.Replace(row, "ESTAB", "\x1b[01;31m\x1b[KESTAB\x1b[m\x1b[K", 1), 1, map[string]int{LossUnread: 1}},
		{"a log of something else", strings.TrimSuffix(row, "\n") + " \nNov 23 02:00:01 web-1 node[412]: 3 4 to 10.0.0.1:80 10.0.0.2:80\n12:00:01 5 workers on 0.0.0.0:80\n", 1, nil},
	} {
		rows, losses, err := readList(c.in)
		for _, what := range []string{LossClocks, LossHolders, LossTimers, LossInodes, LossUIDs, LossCookies} {
			delete(losses, what)
		}
		if err != nil || len(rows) != c.rows || fmt.Sprint(losses) != fmt.Sprint(c.lost) && len(losses)+len(c.lost) > 0 {
			t.Errorf("%s: %d rows, lost %v, error %v, want %d, %v", c.name, len(rows), losses, err, c.rows, c.lost)
		}
	}
}

// Where every row has something before it, an empty list would read as a host without sockets.
func TestListHidden(t *testing.T) {
	ss := ssHeader + "ESTAB 0 0 1.1.1.1:1 2.2.2.2:2\nESTAB 0 0 1.1.1.1:1 2.2.2.2:3\n"
	netstat := netstatHeader + "tcp        0      0 127.0.0.1:8080          127.0.0.1:59646         ESTABLISHED\n"
	for name, in := range map[string]string{
		"a quoted mail":          quoted("> ", ss),
		"a log":                  quoted("2026-11-23T02:00:01.123456Z ", ss),
		"a string of JSON":       fmt.Sprintf("%q", ss),
		"a quoted netstat":       quoted("> ", netstat),
		"netstat, without lines": strings.ReplaceAll(netstat, "\n", "\r"),
		"the kernel's own":       quoted("web-1: ", procNetTitle+procNetLine),
	} {
		rows, _, err := readList(in)
		if !errors.Is(err, ErrMalformed) || len(rows) > 0 {
			t.Errorf("%s: %d rows, error %v", name, len(rows), err)
		}
	}
}

// quoted puts mark before every line.
func quoted(mark, in string) string {
	return mark + strings.ReplaceAll(strings.TrimSuffix(in, "\n"), "\n", "\n"+mark) + "\n"
}

// What rows ahead tell of the command holds in a text that was moved to the right, too.
func TestListIndentedTimers(t *testing.T) {
	rows, losses, err := readList(quoted("    ", ssHeader+"ESTAB 0 0 1.1.1.1:1 2.2.2.2:2\nESTAB 0 0 1.1.1.1:1 2.2.2.2:3 timer:(on,1ms,0)\n"))
	if err != nil || len(rows) != 2 || rows[0].Timer != TimerOff || losses[LossTimers] != 0 {
		t.Errorf("%d rows, lost %v, error %v: the first has timer %v, want off", len(rows), losses, err, rows[0].Timer)
	}
}

// cutLines cuts every line at a width, as a screen or cut -c does.
func cutLines(in string, width int) string {
	lines := strings.SplitAfter(in, "\n")
	for i, line := range lines {
		if len(line) > width {
			lines[i] = line[:width] + "\n"
		}
	}
	return strings.Join(lines, "")
}

// Where lines are cut, the last word of one of that length is not trusted, and what may have stood behind it is not known.
func TestListCutAtWidth(t *testing.T) {
	whole := ssHeader +
		"ESTAB      0      0           10.100.100.1:80           10.100.100.102:41234 users:((\"node\",pid=4711,fd=23)) timer:(keepalive,119min,0) uid:1000 ino:123456789 sk:1bec1ba <->\n" +
		"ESTAB      0      0           10.100.100.1:80           10.100.100.101:41235 users:((\"node\",pid=4711,fd=24)) uid:1000 ino:123456790 sk:1bec1bb <->\n" +
		"ESTAB      0      0           10.100.100.1:80           10.100.100.101:41236 users:((\"node\",pid=4711,fd=25)) timer:(keepalive,118min,0) uid:1000 ino:123456791 sk:1bec1bc <->\n" +
		"ESTAB      0      0           10.100.100.1:80                 10.0.0.1:41237\n"
	all, _, err := readList(whole)
	if err != nil || len(all) != 4 {
		t.Fatalf("error %v, %d rows", err, len(all))
	}
	for width := 58; width < 180; width++ {
		if width == 73 || width == 74 {
			continue // every line is of the same length, and ends in a column's name or in a port: nothing shows that it is cut
		}
		rows, losses, _ := readList(cutLines(whole, width))
		for i := range rows {
			if at := slices.IndexFunc(all, func(r listed) bool { return r.Peer == rows[i].Peer }); at < 0 {
				t.Errorf("width %d: %s", width, text(&rows[i].Socket))
			} else {
				wantPartOf(t, fmt.Sprint("width ", width), &rows[i], &all[at])
			}
		}
		if len(rows)+losses[LossCut]+losses[LossUnread] > 4 {
			t.Errorf("width %d: %d rows, lost %v", width, len(rows), losses)
		}
	}
}

// wantPartOf fails when a row tells something else than the whole one.
func wantPartOf(t *testing.T, name string, part, whole *listed) {
	t.Helper()
	p, w := &part.Socket, &whole.Socket
	for _, c := range []struct {
		bit       Lack
		got, want any
	}{
		{LackLocal, p.Local, w.Local}, {LackPeer, p.Peer, w.Peer}, {LackTimer, p.Timer, w.Timer}, {LackTimer, p.Expires, w.Expires}, {LackUID, p.UID, w.UID},
		{LackInode, p.Inode, w.Inode}, {LackCookie, p.Cookie, w.Cookie}, {LackHolders, fmt.Sprint(part.users), fmt.Sprint(whole.users)}, {0, p.State, w.State},
	} {
		if part.lack&c.bit == 0 && c.got != c.want {
			t.Errorf("%s: %v, want %v, in %s lacks %s", name, c.got, c.want, text(p), lackText(part.lack))
		}
	}
	if p.InfoLen() > 0 && (p.InfoLen() > w.InfoLen() || string(p.Info.bytes()[:p.InfoLen()]) != string(w.Info.bytes()[:p.InfoLen()])) {
		t.Errorf("%s: tcp_info %d %+v, want %d %+v", name, p.InfoLen(), p.Info, w.InfoLen(), w.Info)
	}
}

// A list in which not one row could be read is no empty list.
func TestListRefused(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"nothing":           {"", "empty"},
		"prose":             {"Dear reader,\nthere are no sockets here.\n", "no line of it"},
		"html":              {"<html><body>ESTAB</body></html>", "no line of it"},
		"bytes":             {"\xff\xfe\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10", "no line of it"},
		"gzip":              {"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", "compressed"},
		"zstd":              {"\x28\xb5\x2f\xfd\x00\x00\x00\x00", "compressed"},
		"macOS":             {"Active Internet connections\nProto Recv-Q Send-Q  Local Address          Foreign Address        (state)\ntcp4       0      0  127.0.0.1.8080         127.0.0.1.52313        ESTABLISHED\n", "BSD or macOS"},
		"macOS, its header": {"tcp4       0      0  127.0.0.1.8080         127.0.0.1.52313        ESTABLISHED\n", "BSD or macOS"},
		"unreadable rows":   {ssHeader + "ESTAB 0 0 what ever\n", "line 2: \"ESTAB 0 0 what ever\""},
		"udp alone":         {"Netid " + ssHeader + "udp UNCONN 0 0 0.0.0.0:53 0.0.0.0:*\n", "not one row is of TCP"},
		"half a row":        {ssHeader + "ESTAB 0 0 1.1.1.1:1 2.2.2.2:2", "not one row is whole"},
	} {
		rows, _, err := readList(c.in)
		if len(rows) != 0 || !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %d rows, error %v, want %s", name, len(rows), err, c.want)
		}
	}
}
