package report

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sockleak/sockleak/diag"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden is a value with the options that it is written with.
type golden struct {
	name    string
	value   Value
	options Options
	only    string // the one format that these options bear on; "": all
}

func goldens() []golden {
	looked := leaking()
	looked.Findings[0].Samples[0].FirstLooked = noon.Add(-1)
	return append(diffGoldens(), []golden{
		{"leak", Leakscan(looked), Options{}, ""},
		{"leak-top", Leakscan(leaking()), Options{Top: 1, Sort: "fd", NoHeader: true, Width: 60}, "table"},
		{"leak-color", Leakscan(leaking()), Options{Color: true, Top: 3, Width: 200}, "table"},
		{"growing", Leakscan(growing()), Options{Top: 4}, ""},
		{"growing-80", Leakscan(growing()), Options{Top: 4, Width: 80}, "table"},
		{"growing-120", Leakscan(growing()), Options{Top: 4, Width: 120}, "table"},
		{"all", LeakscanAll(crowd()), Options{Top: 10}, "table"},
		{"all-80", LeakscanAll(crowd()), Options{Top: 10, Width: 80}, "table"},
		{"all-120", LeakscanAll(crowd()), Options{Top: 2, Width: 120, Sort: "pid", Color: true}, "table"},
		{"few", LeakscanAll(leaking()), Options{}, ""},
		{"series", SeriesOf(overAWhile()), Options{Top: 2}, ""},
		{"series-80", SeriesOf(overAWhile()), Options{Top: 2, Width: 80, Color: true}, "table"},
		{"leakscan-series", Leakscan(overAWhile()), Options{Top: 1}, "table"},
		{"tcpstat-series", StatSeries(stat(), hostSeries("web-1")), Options{}, ""},
		{"clean", Leakscan(clean()), Options{}, ""},
		{"partial", Leakscan(partial()), Options{}, ""},
		{"tcpstat", Tcpstat(stat()), Options{}, ""},
		{"tcpstat-top", Tcpstat(statOf(&diag.Tally{Idle: true}, "send-q", 2)), Options{NoHeader: true}, "table"},
		{"tcpstat-process", Tcpstat(byProcess("node")), Options{}, ""},
		{"tcpstat-bare", Tcpstat(statOf(&diag.Tally{}, "sockets", 0)), Options{}, ""},
		{"compare", Compare("before", leaking(), "after", clean()), Options{Top: 1}, ""},
		{"trial", Trials(proved("no-timeout")), Options{Top: 1}, ""},
		{"doctor", Doctor(exam("web-1", "app")), Options{}, ""},
		{"doctor-well", Doctor(&Exam{At: noon, Host: webHost, Commands: []ExamCommand{{Name: "tcpstat", State: ExamOK}}}), Options{}, "table"},
		{"trials", Trials(proved("no-timeout"), doubted()), Options{Top: 1}, ""},
		{"trials-80", Trials(proved("no-timeout"), doubted()), Options{Top: 1, Width: 80, Color: true}, "table"},
	}...)
}

func write(t testing.TB, format string, v Value, o Options) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, format, v, o); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Every value in every format is as its golden file has it, and there is no golden of anything else.
func TestGoldens(t *testing.T) {
	const dir = "../testdata/report"
	var names []string
	for _, g := range goldens() {
		for _, f := range Formats() {
			if g.only != "" && g.only != f.Name {
				continue
			}
			name := g.name + "." + f.Name
			names = append(names, name)
			got := write(t, f.Name, g.value, g.options)
			if again := write(t, f.Name, g.value, g.options); !bytes.Equal(got, again) {
				t.Errorf("%s: written twice, the bytes differ", name)
			}
			if f.Name == "html" {
				got = bare(got)
			}
			file := filepath.Join(dir, name)
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Error(err)
			} else if !bytes.Equal(got, want) {
				t.Errorf("%s differs (-update writes it anew):\n%s", name, firstDifference(got, want))
			}
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains(names, e.Name()) {
			t.Errorf("%s is the golden of nothing", e.Name())
		}
	}
}

// firstDifference shows what stands around the first byte that differs.
func firstDifference(got, want []byte) string {
	n := 0
	for n < min(len(got), len(want)) && got[n] == want[n] {
		n++
	}
	around := func(b []byte) []byte { return b[max(n-80, 0):min(n+80, len(b))] }
	return fmt.Sprintf("byte %d: got  %q\nwant %q", n, around(got), around(want))
}

func TestUnknownFormat(t *testing.T) {
	var b bytes.Buffer
	if err := Write(&b, "yaml", Leakscan(clean()), Options{}); err == nil || b.Len() > 0 {
		t.Errorf("unknown format: %v, %d bytes written", err, b.Len())
	}
}
