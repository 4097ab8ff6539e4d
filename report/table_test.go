package report

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/olekukonko/tablewriter/pkg/twwidth"

	"github.com/sockleak/sockleak/diag"
)

// manySamples is a diagnosis with one finding of n sockets, whose rows are all of one width.
func manySamples(n int) *diag.Result {
	r := clean()
	f := &diag.Finding{Rule: "idle-no-keepalive", Severity: diag.Leak, Proc: r.Procs()[0], Peer: "10.0.0.7", Sockets: n, Message: "m", Why: "w", Advice: "a"}
	idle := diag.Span{D: 3*time.Hour + 5*time.Minute, Source: "tcp_info.last_data_sent"}
	for i := range n {
		f.Samples = append(f.Samples, diag.Sample{
			FD: 100_000 + i, Local: netip.MustParseAddrPort("10.0.0.1:8080"),
			Peer:  netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, 7}), uint16(10000+i%50000)),
			State: "ESTAB", Timer: "off", Keepalive: "off", Idle: idle, Age: idle, Cookie: 0x10000 + uint64(i), Inode: 100_000 + uint64(i),
		})
	}
	r.Findings = []*diag.Finding{f}
	return r
}

// rowsOf is the table of samples in a report, with its header.
func rowsOf(t *testing.T, out []byte) []string {
	t.Helper()
	all := strings.Split(string(out), "\n")
	head := slices.IndexFunc(all, func(s string) bool { return strings.Contains(s, "Peer Address:Port") })
	if head < 0 {
		t.Fatalf("no table in:\n%s", out)
	}
	return all[head:]
}

// A long table is written by hand and looks as a short one does.
func TestLongTable(t *testing.T) {
	for _, format := range []string{"table", "wide"} {
		short := rowsOf(t, write(t, format, Leakscan(manySamples(longTable)), Options{}))
		long := rowsOf(t, write(t, format, Leakscan(manySamples(longTable+1)), Options{}))
		if !slices.Equal(short[:longTable+1], long[:longTable+1]) {
			t.Errorf("%s:\n%s\nand in a long one:\n%s", format, short[0]+"\n"+short[1], long[0]+"\n"+long[1])
		}
		if len(long) != len(short)+1 {
			t.Errorf("%s: %d lines, want one more than %d", format, len(long), len(short))
		}
	}
}

// The locale of who looks does not change the bytes: a report is a function of its value.
func TestTableOfAnyLocale(t *testing.T) {
	was := twwidth.IsEastAsian()
	defer twwidth.SetEastAsian(was)
	v := Leakscan(leaking())
	twwidth.SetEastAsian(false)
	want := write(t, "table", v, Options{})
	twwidth.SetEastAsian(true) // what the library takes from LANG
	if got := write(t, "table", v, Options{}); !bytes.Equal(got, want) {
		t.Errorf("where ≥ is held to be wide the table differs: %s", firstDifference(got, want))
	}
}

// Both ways to write a table give the same bytes, whatever is in it.
func TestTableLayout(t *testing.T) {
	head := func(s string) Column { return Column{Key: "key", Head: s} }
	right := func(s string) Column { return Column{Key: "key", Head: s, Right: true} }
	row := func(cells ...string) (r []Cell) {
		for _, c := range cells {
			r = append(r, text(c))
		}
		return r
	}
	for _, tt := range []struct {
		name  string
		table *Table
	}{
		{"left and right", &Table{
			Columns: []Column{right("FD"), head("Local Address:Port"), right("Idle"), head("State")},
			Rows:    [][]Cell{row("7 (+2)", "10.0.0.1:8080", "1d02h", "ESTAB"), row("11", "[2001:db8::1]:50000", "≥ 3h00m", "CLOSE-WAIT"), row("1234567", "-", "-", "-")},
		}},
		{"right at the end", &Table{
			Columns: []Column{head("Count"), right("What")}, Rows: [][]Cell{row("1", "2"), row("longer", "100000"), row("", "3")},
		}},
		{"empty cells and heads", &Table{
			Columns: []Column{head(""), right(""), head("Why")}, Rows: [][]Cell{row("", "1", ""), row("a", "", ""), row("", "", "b")},
		}},
		{"text of others", &Table{
			Columns: []Column{head("\x1bhead"), right("What")}, Rows: [][]Cell{row("\x1b[31mred", "two\nlines"), row("tab\t", "a,b"), row("%d", `"q"`)},
		}},
		{"one column", &Table{Columns: []Column{head("Alone")}, Rows: [][]Cell{row("a"), row("bcdefghij"), row("c")}}},
		{"hidden columns", &Table{
			Columns: []Column{{Key: "data", Data: true}, head("Seen"), {Key: "wide", Head: "Wide", Wide: true}},
			Rows:    [][]Cell{row("x", "a", "1"), row("y", "b", "2"), row("z", "c", "3")},
		}},
	} {
		for _, o := range []Options{{}, {NoHeader: true}, {Color: true}, {wide: true}} {
			cols := tt.table.shown(o.wide)
			layout := func(f func(*printer, *Table, []int)) string {
				var b bytes.Buffer
				p := &printer{w: &b, o: o, width: defaultWidth}
				f(p, tt.table, cols)
				if p.err != nil {
					t.Error(p.err)
				}
				return b.String()
			}
			short, long := layout((*printer).short), layout((*printer).long)
			if short != long {
				t.Errorf("%s, %+v: short\n%s\nlong\n%s", tt.name, o, short, long)
			}
			for _, line := range strings.Split(short, "\n") {
				if strings.TrimRight(line, " ") != line {
					t.Errorf("%s, %+v: blanks at the end of %q", tt.name, o, line)
				}
			}
		}
	}
}

// A column that has nothing in any row takes no room; where the terminal is too narrow those go that say the least, and
// the report says which.
func TestTableWidth(t *testing.T) {
	heads := func(out string) string {
		for line := range strings.Lines(out) {
			if strings.HasPrefix(strings.TrimSpace(line)+" ", "FD ") {
				return strings.Join(strings.Fields(line), " ")
			}
		}
		return ""
	}
	f := manySamples(3)
	for i := range f.Findings[0].Samples {
		f.Findings[0].Samples[i].RecvQ = uint32(i) // something is in this queue, so the other one goes before it
	}
	const all = "FD Local Address:Port Peer Address:Port State Timer Keepalive Recv-Q Send-Q Idle Age"
	for _, tt := range []struct {
		format string
		width  int
		want   string
		left   string
	}{
		{"table", 0, all, ""},
		{"table", 120, all, ""},
		{"table", 100, "FD Local Address:Port Peer Address:Port State Timer Recv-Q Send-Q Idle Age", "Keepalive"},
		{"table", 80, "FD Local Address:Port Peer Address:Port State Recv-Q Idle Age", "Keepalive, Timer, Send-Q"},
		{"table", 40, "FD Peer Address:Port Idle", "Keepalive, Timer, Send-Q, Recv-Q, Age, Local Address:Port, State"},
		{"table", 12, "FD", "Keepalive, Timer, Send-Q, Recv-Q, Age, Local Address:Port, State, Idle, Peer Address:Port"},
		{"wide", 80, all + " Age from Inode Cookie", ""},
	} {
		out := string(write(t, tt.format, Leakscan(f), Options{Width: tt.width}))
		if got := heads(out); got != tt.want {
			t.Errorf("%s, %d columns: %q, want %q", tt.format, tt.width, got, tt.want)
		}
		if left := " -o wide adds " + tt.left; strings.HasSuffix(strings.Join(strings.Fields(out), " "), left) != (tt.left != "") {
			t.Errorf("%s, %d columns: what is left out is not told:\n%s", tt.format, tt.width, out)
		}
	}
}

// What is left out is said under each table, and once alone where it is the same for all.
func TestLeftOut(t *testing.T) {
	r := manySamples(2)
	other := *r.Findings[0]
	other.Samples = slices.Clone(other.Samples)
	r.Findings = append(r.Findings, &other)
	const left = "-o wide adds Keepalive, Timer, Send-Q, Recv-Q\n"
	out := string(write(t, "table", Leakscan(r), Options{Width: 78}))
	if strings.Count(out, "-o wide adds ") != 1 || !strings.HasSuffix(out, "\n\n"+left) {
		t.Errorf("not once, at the end:\n%s", out)
	}
	other.Samples[0].Others = []diag.Holder{{PID: 1, FD: 2, Name: "worker"}}
	out = string(write(t, "table", Leakscan(r), Options{Width: 78}))
	if strings.Count(out, "-o wide adds ") != 2 || !strings.Contains(out, "\n  "+left) ||
		!strings.HasSuffix(out, "\n  -o wide adds Keepalive, Timer, Send-Q, Recv-Q, Also held by\n") {
		t.Errorf("not under each table:\n%s", out)
	}
}

func TestWrapped(t *testing.T) {
	long := strings.Repeat("word ", 60) + strings.Repeat("x", 150)
	for _, width := range []int{1, 40, 100, 300} {
		var b bytes.Buffer
		p := &printer{w: &b, width: width}
		p.wrapped("  first  ", "         ", long)
		var words []string
		for i, line := range strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n") {
			if prefix := map[bool]string{true: "  first  ", false: "         "}[i == 0]; !strings.HasPrefix(line, prefix) {
				t.Errorf("width %d: line %q", width, line)
			}
			fields := strings.Fields(line[9:])
			if n := len(line); n > max(width, 29) && len(fields) > 1 {
				t.Errorf("width %d: a line of %d characters that could be broken: %q", width, n, line)
			}
			words = append(words, fields...)
		}
		if got, want := strings.Join(words, " "), long; got != want {
			t.Errorf("width %d: words lost: %q", width, got)
		}
	}
}

func TestBytesText(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 212 << 20: "212.0 MiB", 3 << 30: "3.0 GiB", 1 << 60: "1.0 EiB", 1<<64 - 1: "16.0 EiB",
	} {
		if got := bytesText(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	if got := plural(1, "socket") + ", " + plural(0, "socket") + ", " + plural(2, "socket"); got != "1 socket, 0 sockets, 2 sockets" {
		t.Error(got)
	}
	if s := fmt.Sprint(optional(-1), optional(0)); s != fmt.Sprint(Cell{Text: "-"}, Cell{Text: "0", Raw: "0", num: true}) {
		t.Error(s)
	}
}

// What a gap is and why it is one are broken between words, each under its head, and no word is lost.
func TestGapsFit(t *testing.T) {
	const what, why = "keepalive of idle sockets of a-name-of-15-ch[1234567]", "another timer hides it, and the socket could not be asked: it belongs to a thread with descriptors of its own"
	r := several(nil)
	r.Gaps = []diag.Gap{{What: what, Count: 2, Why: why}, {What: "dump", Why: "cut"}}
	for width, room := range map[int]int{0: 100, 80: 80, 100: 100, 120: 120, 60: 60} {
		for name, v := range map[string]Value{"leakscan": Leakscan(r), "all": LeakscanAll(r)} {
			_, out, _ := strings.Cut(string(write(t, "table", v, Options{Width: width})), "GAPS  ")
			lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")[1:]
			at := strings.Index(lines[0], "Why")
			var whats, whys []string
			for _, line := range lines[1:] {
				if n := len(line); n > room {
					t.Errorf("%s, width %d: %d columns: %q", name, width, n, line)
				}
				left, right := line, ""
				if len(line) > at {
					left, right = line[:at], line[at:]
				}
				whats, whys = append(whats, strings.Fields(left)...), append(whys, strings.Fields(right)...)
			}
			if got, want := strings.Join(whats, " "), "2 "+what+" ? dump"; got != want {
				t.Errorf("%s, width %d: %q, want %q", name, width, got, want)
			}
			if got, want := strings.Join(whys, " "), why+" cut"; got != want {
				t.Errorf("%s, width %d: %q, want %q", name, width, got, want)
			}
		}
	}
}
