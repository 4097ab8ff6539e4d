package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/internal/raced"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// hostile is what a process may call itself.
var hostile = []string{
	"\x1b[31mred\x1b[0m", "\x1b]0;title\a", "\x1b[2J\x1b[H", "two\nlines", "carriage\rreturn", "\r\n=1+1",
	"\u202egnp.exe", "\u2066iso\u2069", "c1 \u009b31m", "raw c1 \x9b31m", "del\x7f\b\b", "nul\x00", "bad \xff\xfe utf-8",
	"surrogate \xed\xa0\x80", "zero\u200bwidth", "\u2028line\u2029", "\ufeffbom", "\U000e0041\U000e0042tags", "\ue000private",
	"=cmd|'/c calc'!A1", "+1+1", "-2+3", "@SUM(A1:A9)", "\t=1+1", "|pipe", "%0A", "'quoted", `"quoted","cells"`, "a;b,c",
	"<script>alert(1)</script>&amp;", "日本語 ≥ 🙂", "  spaces  ", "", "%s%n%!d(MISSING)", `\x1b[31m`,
	strings.Repeat("long \xff\u202e", 60),
}

// hostilePlace is a container that is called so in every way.
func hostilePlace(s string) procfd.Place {
	return procfd.Place{Unit: "u" + s, Slice: s, User: -1, Pod: s, Container: &procfd.Container{
		Runtime: "r" + s, ID: "i" + s, Namespace: s, Name: s, Service: "s" + s, PodName: "p" + s, PodSpace: s,
	}}
}

// hostileResult has every hostile text wherever text from outside can stand.
func hostileResult() *diag.Result {
	r := result(func() *diag.Snapshot {
		var looks []*look
		for i, s := range hostile {
			l := &look{process: &procfd.Process{
				PID: 1000 + i, Start: 1, Name: s, Exe: s, Args: []string{s, s}, Runtime: s, Cgroup: "/x" + s, Open: 99, SoftLimit: 100,
				Place: hostilePlace(s), Inner: []int{7},
				Gaps: []procfd.Gap{{What: s, Count: 1, Err: errors.New("open: " + s)}},
			}}
			for k := range 5 {
				l.hold(10+k, sock(netlinkss.Estab, "10.0.0.1:8080", fmt.Sprintf("10.0.0.7:%d", 40000+k), traffic(3*60*60*1e9)))
			}
			looks = append(looks, l)
		}
		host := procfd.Host{Name: strings.Join(hostile, " "), Kernel: strings.Join(hostile, "/")}
		space := join(&diag.Space{Sysctls: procfd.NetSysctls{PortLow: 1, PortHigh: 60000}}, looks, 0, "")
		for _, s := range hostile {
			space.Gaps = append(space.Gaps, diag.Gap{What: s, Why: s})
		}
		return &diag.Snapshot{Host: host, Spaces: []*diag.Space{space}}
	})
	for _, f := range r.Findings {
		hold(f, hostile[f.Proc.PID-1000])
	}
	return r
}

// hold gives the name s to all that a finding names beside its process.
func hold(f *diag.Finding, s string) {
	f.Peer, f.Direction = s, diag.Connected
	f.Onset = &diag.Onset{Oldest: 3 * 60 * 60 * 1e9, Width: 60 * 60 * 1e9, Buckets: []int{4, 0, 1}, PerMinute: 1000, Ongoing: true, Source: s}
	for i := range f.Samples {
		f.Samples[i].Others = []diag.Holder{{PID: 1, FD: 2, Name: s}, {PID: 3, FD: 4, Task: 5, Name: s}}
		f.Samples[i].End = &diag.EndSample{State: "FIN-WAIT-2", Holders: []diag.Holder{{PID: 6, FD: 7, Name: s}}}
	}
}

func hostileStat() *diag.Stat {
	s := stat()
	s.Source = strings.Join(hostile, " ")
	s.Snapshot.Host = procfd.Host{Name: s.Source, Kernel: s.Source}
	s.Snapshot.Gaps = []diag.Gap{{What: s.Source, Why: s.Source}}
	return s
}

// hostileTracks are processes, and groups of sockets, that call themselves so.
func hostileTracks() (list []*diag.Track) {
	for i, s := range hostile {
		list = append(list, &diag.Track{PID: 5000 + i, Name: s, Lines: []*diag.Line{
			lineOf(diag.LineGroup, s, func(i int) float64 { return float64(i) }), lineOf(diag.LineFDs, s, func(int) float64 { return 1 }),
		}})
	}
	return list
}

// hostileValues are all views, one after the other with every text in the names of a comparison.
func hostileValues() map[string]Value {
	values := map[string]Value{"leakscan": Leakscan(hostileResult()), "leakscan --all": LeakscanAll(hostileResult()), "tcpstat": Tcpstat(hostileStat())}
	values["diff"] = Diff(diffed(judged("a", leaking()), judged("b", hostileResult())))
	values["diff, gone"] = Diff(diffed(judged("a", hostileResult()), judged("b", leaking())))
	over := measuredAs(partial(), "worker")
	over.Series.Tracks = append(over.Series.Tracks, hostileTracks()...)
	counted := hostSeries("host")
	counted.Tracks = append(counted.Tracks, hostileTracks()...)
	values["series"], values["tcpstat series"] = SeriesOf(over), StatSeries(hostileStat(), counted)
	for i, s := range hostile {
		values[fmt.Sprintf("tcpstat by process %d", i)] = Tcpstat(byProcess(s))
	}
	for i, s := range hostile {
		trial := &Trial{
			Name: s, About: s, Names: [2]string{s, s}, Results: [2]*diag.Result{partial(), partial()}, Proof: s, LooksWhen: s,
			Looks: []Command{{s, s}}, Story: []string{s},
		}
		values[fmt.Sprintf("trials %d", i)] = Trials(trial, trial)
		values[fmt.Sprintf("diff of lists %d", i)] = Diff(diffed(ssList(s, 1, true), ssList(s+s, 3, false)))
		values[fmt.Sprintf("doctor %d", i)] = Doctor(exam(s, s))
		values[fmt.Sprintf("compare %d", i)] = Compare(s, partial(), s+s, partial())
	}
	return values
}

// ownSGR are the colours that the tables use.
var ownSGR = regexp.MustCompile("\x1b\\[(0|1|2|1;31|1;33|1;36|1;32)m")

// No format lets a control, a mark that turns the direction, or a broken byte through: only line feeds,
// and with Color the colours of our own.
func TestHostileText(t *testing.T) {
	if raced.On {
		t.Skip("nothing here is concurrent, and the race detector makes it several times slower")
	}
	for name, v := range hostileValues() {
		for _, f := range Formats() {
			for _, o := range []Options{{}, {Color: true, Width: 30}, {NoHeader: true, Top: 2}} {
				out := string(write(t, f.Name, v, o))
				if o.Color {
					out = ownSGR.ReplaceAllString(out, "")
				}
				checkSafe(t, fmt.Sprintf("%s as %s", name, f.Name), strings.ReplaceAll(out, "\n", " "))
			}
		}
	}
}

// A text from outside cannot add a line to a table that is wide enough.
func TestHostileLines(t *testing.T) {
	tame := hostileResult()
	for _, p := range tame.Procs() {
		p.Name, p.Args, p.Cgroup, p.Runtime = "tame", []string{"tame"}, "/tame", "tame"
		p.Place = hostilePlace("tame")
	}
	wide := Options{Width: 1 << 20}
	for _, f := range tame.Findings {
		hold(f, "tame")
	}
	for _, view := range []func(*diag.Result) Value{Leakscan, LeakscanAll} {
		for _, format := range []string{"table", "wide"} {
			want := bytes.Count(write(t, format, view(tame), wide), []byte("\n"))
			if got := bytes.Count(write(t, format, view(hostileResult()), wide), []byte("\n")); got != want {
				t.Errorf("%s: %d lines with hostile names, %d with tame ones", format, got, want)
			}
		}
	}
}

func TestHostileJSON(t *testing.T) {
	// What is no UTF-8 cannot stand in JSON: each such byte is U+FFFD.
	text := func(s string) string { return string([]rune(s)) }
	for _, format := range []string{"json", "jsonl"} {
		out := write(t, format, Leakscan(hostileResult()), Options{})
		if lines := bytes.Count(out, []byte("\n")); format == "jsonl" && lines != 1 {
			t.Errorf("jsonl: %d lines", lines)
		}
		var doc struct {
			Host      string
			Processes []struct {
				Name, Exe, Cgroup, Runtime string
				Args                       []string
				Unit                       string
				Container                  struct {
					Runtime, ID, Service string
					Pod                  struct{ Name string }
				}
				NSPIDs       []int   `json:"ns_pids"`
				PortsOutPeer *string `json:"ports_out_peer"`
			}
			Findings []struct {
				PID     int
				Peer    string
				Onset   struct{ Source string }
				Samples []struct {
					Others []struct{ Name string }
					End    struct{ Holders []struct{ Name string } }
				}
			}
			Gaps []struct{ What, Why string }
		}
		if err := json.Unmarshal(out, &doc); err != nil {
			t.Fatal(err)
		}
		if want := text(strings.Join(hostile, " ")); doc.Host != want {
			t.Errorf("%s: host %q, want %q", format, doc.Host, want)
		}
		for i, s := range hostile {
			p, s := doc.Processes[i], text(s)
			if p.Name != s || p.Exe != s || p.Runtime != s || p.Cgroup != "/x"+s || !slices.Equal(p.Args, []string{s, s}) {
				t.Errorf("%s: %q came back as %+v", format, s, p)
			}
			if c := p.Container; p.Unit != "u"+s || c.Runtime != "r"+s || c.ID != "i"+s || c.Service != "s"+s || c.Pod.Name != "p"+s || len(p.NSPIDs) != 1 {
				t.Errorf("%s: the place of %q came back as %+v", format, s, p)
			}
			if (p.PortsOutPeer == nil) != (s == "") || s != "" && *p.PortsOutPeer != s {
				t.Errorf("%s: the ports towards %q are those towards %v", format, s, p.PortsOutPeer)
			}
			if g := doc.Gaps[i]; g.What != s || g.Why != s {
				t.Errorf("%s: gap %q came back as %+v", format, s, g)
			}
		}
		for _, f := range doc.Findings {
			if len(f.Samples) == 0 {
				continue // the limit of descriptors
			}
			want := text(hostile[f.PID-1000])
			for _, got := range []string{f.Peer, f.Onset.Source, f.Samples[0].Others[0].Name, f.Samples[0].Others[1].Name, f.Samples[0].End.Holders[0].Name} {
				if got != want {
					t.Errorf("%s: %q of a finding came back as %q", format, want, got)
				}
			}
		}
	}
}

func TestHostileCSV(t *testing.T) {
	for name, v := range hostileValues() {
		checkFormulas(t, name, readCSV(t, write(t, "csv", v, Options{})))
	}
	r := hostileResult()
	table := readCSV(t, write(t, "csv", Leakscan(r), Options{}))
	var names, gaps []string
	holders := map[string]string{} // of others, by process
	for _, row := range table[1:] {
		switch cell := func(key string) string { return row[slices.Index(table[0], key)] }; row[0] {
		case "process":
			names = append(names, cell("name"), cell("exe"), cell("runtime"))
		case "gap":
			gaps = append(gaps, cell("what"), cell("why"))
		case "socket":
			holders[cell("pid")] = cell("others") + " and " + cell("end_holders")
		}
	}
	for i, s := range hostile {
		want := Clean(s)
		if s != "" && strings.ContainsRune("=+-@|%", rune(s[0])) {
			want = "'" + want
		}
		if got := names[3*i : 3*i+3]; !slices.Equal(got, []string{want, want, want}) {
			t.Errorf("process %q came back as %q", s, got)
		}
		c := Clean(s)
		if got, want := holders[fmt.Sprint(1000+i)], fmt.Sprintf("%s[1] fd 2; %s[3] thread 5 fd 4 and %s[6] fd 7", c, c, c); strings.ReplaceAll(got, "'", "") != strings.ReplaceAll(want, "'", "") {
			t.Errorf("the holders %q came back as %q, want %q", s, got, want)
		}
		if got := gaps[2*i : 2*i+2]; !slices.Equal(got, []string{want, want}) {
			t.Errorf("gap %q came back as %q", s, got)
		}
	}
	if len(names) != 3*len(hostile) || len(gaps) != 2*len(r.Gaps) {
		t.Errorf("%d names and %d gaps came back, want %d and %d", len(names), len(gaps), 3*len(hostile), 2*len(r.Gaps))
	}
}

// readCSV reads rows of one length; a reader is strict about quotes.
func readCSV(t *testing.T, b []byte) [][]string {
	t.Helper()
	rows, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) == 0 {
		t.Fatal("no rows")
	}
	return rows
}

// checkFormulas: no spreadsheet may take a cell for a formula.
func checkFormulas(t *testing.T, name string, rows [][]string) {
	t.Helper()
	for _, row := range rows {
		for _, cell := range row {
			if _, err := strconv.ParseFloat(cell, 64); err == nil {
				continue // a change may be below 0
			}
			if cell != "" && strings.ContainsRune("=+-@|%\t\r\n", rune(cell[0])) {
				t.Errorf("%s: a spreadsheet may run %q", name, cell)
			}
		}
	}
}
