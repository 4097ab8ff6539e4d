package netlinkss

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const netstatHeader = "Active Internet connections (servers and established)\nProto Recv-Q Send-Q Local Address           Foreign Address         State       \n"

func TestListNetstatAddresses(t *testing.T) {
	for _, c := range []struct {
		proto, local, peer string
		want               string
		lack               Lack
	}{
		{"tcp", "127.0.0.1:8080", "10.0.0.7:59632", "IPv4 127.0.0.1:8080 10.0.0.7:59632", 0},
		{"tcp", "0.0.0.0:22", "0.0.0.0:*", "IPv4 0.0.0.0:22 0.0.0.0:0", 0},
		{"tcp", "*:22", "*:*", "IPv4 0.0.0.0:22 0.0.0.0:0", 0},
		{"tcp6", ":::22", ":::*", "IPv6 [::]:22 [::]:0", 0},
		{"tcp6", "[::]:22", "[::]:*", "IPv6 [::]:22 [::]:0", 0},
		{"tcp6", "::1:22", "::1:4000", "IPv6 [::1]:22 [::1]:4000", 0},
		{"tcp6", "127.0.0.1:9090", "127.0.0.1:49256", "IPv6 [::ffff:127.0.0.1]:9090 [::ffff:127.0.0.1]:49256", 0},
		{"tcp6", "::ffff:127.0.0.1:9090", "::1:49256", "IPv6 [::ffff:127.0.0.1]:9090 [::1]:49256", 0},
		{"tcp", "::1:22", ":::*", "IPv6 [::1]:22 [::]:0", 0},
		// of 23 bytes: cut, or just as long
		{"tcp6", "2001:db8::1234:567:4000", "2001:db8::1:22", "IPv6 - [2001:db8::1]:22", LackLocal},
		{"tcp6", "2001:db8::1:22", "2001:db8:1:2:3:4:5:6:22", "IPv6 [2001:db8::1]:22 -", LackPeer},
		{"tcp6", "2001:db8::1234:56:4000", "2001:db8::1234:5678:40001", "IPv6 [2001:db8::1234:56]:4000 [2001:db8::1234:5678]:40001", 0}, // -W
		{"tcp", "localhost:ssh", "db.example.org:51000", "IPv4 - -", LackLocal | LackPeer},
		{"tcp6", "ip6-localhost:ssh", "[::]:*", "IPv6 - [::]:0", LackLocal},
	} {
		r := oneRow(t, fmt.Sprintf("%s%-4s       1      2 %-23s %-23s ESTABLISHED\n", netstatHeader, c.proto, c.local, c.peer))
		got := fmt.Sprintf("%v %s %s", r.Family, addrText(r.Local), addrText(r.Peer))
		if got != c.want || r.lack&(LackLocal|LackPeer) != c.lack || r.State != Estab || r.RecvQ != 1 || r.SendQ != 2 {
			t.Errorf("%s %s %s: %s lacks %q, want %s, %q", c.proto, c.local, c.peer, got, lackText(r.lack), c.want, lackText(c.lack))
		}
	}
}

// Each option adds a column, and a program's name is as hostile as it can be.
func TestListNetstatColumns(t *testing.T) {
	program := func(s string) string { return fmt.Sprintf(" %-20s", s) }
	const e = " 1000       123456    "
	held := func(name string, pid int) []User { return []User{{name, pid, -1}} }
	for _, c := range []struct {
		columns string
		want    Socket
		users   []User
		lack    Lack
	}{
		{"", Socket{Timer: TimerUnknown}, nil, LackTimer | LackUID | LackInode | LackHolders},
		{e, Socket{Timer: TimerUnknown, UID: 1000, Inode: 123456}, nil, LackTimer | LackHolders},
		{" www-data   123456    ", Socket{Timer: TimerUnknown, Inode: 123456}, nil, LackTimer | LackUID | LackHolders},
		{program("4711/node"), Socket{Timer: TimerUnknown}, held("node", 4711), LackTimer | LackUID | LackInode},
		{program("-"), Socket{Timer: TimerUnknown}, nil, LackTimer | LackUID | LackInode | LackHolders},
		{" off (0.00/0/0)", Socket{Timer: TimerOff}, nil, LackUID | LackInode | LackHolders},
		{" keepalive (7183.98/0/3)", Socket{Timer: TimerKeepalive, Expires: 7183980 * time.Millisecond, Retrans: 3}, nil, LackUID | LackInode | LackHolders},
		{" on (0.20/7/0)", Socket{Timer: TimerOn, Expires: 200 * time.Millisecond, Retrans: 7}, nil, LackUID | LackInode | LackHolders},
		{" probe (0.20/0/300)", Socket{Timer: TimerPersist, Expires: 200 * time.Millisecond, Retrans: 255}, nil, LackUID | LackInode | LackHolders},
		{" timewait (57.95/0/0)", Socket{Timer: TimerTimeWait, Expires: 57950 * time.Millisecond}, nil, LackUID | LackInode | LackHolders},
		{" unkn-5 (0.20/0/0)", Socket{Timer: TimerUnknown}, nil, LackTimer | LackUID | LackInode | LackHolders},
		{" keepalive (7183.98/0/", Socket{Timer: TimerUnknown}, nil, LackTimer | LackUID | LackInode | LackHolders},
		{e + program("1/a b") + " off (0.00/0/0)", Socket{Timer: TimerOff, UID: 1000, Inode: 123456}, held("a b", 1), 0},
		{e + program("1/12 34 off") + " on (0.20/1/0)", Socket{Timer: TimerOn, Expires: 200 * time.Millisecond, Retrans: 1, UID: 1000, Inode: 123456}, held("12 34 off", 1), 0},
		{program("1/off (0.00/0/0)"), Socket{Timer: TimerUnknown}, held("off (0.00/0/0)", 1), LackTimer | LackUID | LackInode},
		{program("1/x off (0.00/0/0)"), Socket{Timer: TimerUnknown}, held("x off (0.00/0/0)", 1), LackTimer | LackUID | LackInode},
		{program("1/ 1000 99"), Socket{Timer: TimerUnknown}, held(" 1000 99", 1), LackTimer | LackUID | LackInode},
		{" 0 99 4711/node off (0.00/0/0)", Socket{Timer: TimerUnknown, Inode: 99}, held("node", 4711), LackTimer},
		{" 0 99 4711/node-exporter keepalive (7183.98/0/0)", Socket{Timer: TimerUnknown, Inode: 99}, held("node-exporter", 4711), LackTimer},
		{"\t4711/node\ton\t(0.20/1/0)", Socket{Timer: TimerUnknown}, held("node", 4711), LackTimer | LackUID | LackInode},
		{" 4711/nginx: worker", Socket{Timer: TimerUnknown}, held("nginx: worker", 4711), LackTimer | LackUID | LackInode},
		{e + program("-") + " off (0.00/0/0)", Socket{Timer: TimerOff, UID: 1000, Inode: 123456}, nil, LackHolders},
	} {
		r := oneRow(t, netstatHeader+"tcp        0      0 127.0.0.1:8080          127.0.0.1:59646         CLOSE_WAIT "+c.columns+"\n")
		if r.Timer != c.want.Timer || r.Expires != c.want.Expires || r.Retrans != c.want.Retrans || r.UID != c.want.UID || r.Inode != c.want.Inode ||
			!slices.Equal(r.users, c.users) || r.lack != c.lack|LackCookie {
			t.Errorf("%q: %s lacks %s, users %+v", c.columns, text(&r.Socket), lackText(r.lack), r.users)
		}
	}
}

func TestListNetstatPasted(t *testing.T) {
	row := "tcp        0      0 127.0.0.1:8080          127.0.0.1:59646         ESTABLISHED\n"
	for _, c := range []struct {
		name, in string
		rows     int
		lost     map[string]int
	}{
		{"a prompt round it", "$ netstat -ant\n" + netstatHeader + row + row + "$ \n", 2, nil},
		{"without a header", row, 1, nil},
		{"indented", "    " + row + "    " + row, 2, nil},
		{"other protocols", netstatHeader + row + "udp        0      0 0.0.0.0:68    0.0.0.0:*\nunix  2      [ ]         DGRAM                    12345    /run/x\n", 1, map[string]int{LossOther: 2}},
		{"a state of another language", netstatHeader + row + strings.Replace(row, "ESTABLISHED", "VERBUNDEN", 1), 1, map[string]int{LossUnread: 1}},
		{"a cut state", netstatHeader + row + "tcp        0      0 127.0.0.1:8080          127.0.0.1:59646         ESTAB\n", 1, map[string]int{LossUnread: 1}},
		{"a row without its end", netstatHeader + row + strings.TrimSuffix(row, "\n"), 1, map[string]int{LossCut: 1}},
		{"nothing but its header", netstatHeader, 0, nil},
		{"half of it quoted", netstatHeader + row + "> " + row + "web-1: " + row, 1, map[string]int{LossUnread: 2}},
		{"the kernel's own, half of it quoted", procNetTitle + procNetLine + "> " + procNetLine + "Nov 23 web-1 " + procNetLine, 1, map[string]int{LossUnread: 2}},
		{"the kernel's own", procNetTitle + procNetLine + procNetLine, 2, nil},
		{"the kernel's own, both", procNetTitle + procNetLine + procNetTitle + procNet6Line, 2, nil},
		{"the kernel's own, before netstat's", procNetTitle + procNetLine + netstatHeader + row, 1, map[string]int{LossUnread: 1}},
		{"the kernel's own, behind netstat's", netstatHeader + row + procNetTitle + procNetLine, 1, map[string]int{LossUnread: 1}},
		{"the kernel's own, behind those of ss", ssHeader + "ESTAB 0 0 1.1.1.1:1 2.2.2.2:2 \n" + procNetTitle + procNetLine + procNetLine, 1, map[string]int{LossUnread: 2}},
		{"the kernel's own, in no state", procNetTitle + procNetLine + strings.Replace(procNetLine, " 08 ", " 00 ", 1), 1, map[string]int{LossUnread: 1}},
		{"the kernel's own, cut in the inode", procNetTitle + procNetLine + procNetLine[:strings.Index(procNetLine, "123456")+3] + "\n", 1, map[string]int{LossUnread: 1}},
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
