package report

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sockleak/sockleak/diag"
)

// Colour changes nothing but colour, and only in tables.
func TestColor(t *testing.T) {
	for _, g := range goldens() {
		for _, f := range Formats() {
			o := g.options
			o.Color = false
			plain := string(write(t, f.Name, g.value, o))
			o.Color = true
			color := string(write(t, f.Name, g.value, o))
			if ownSGR.ReplaceAllString(color, "") != plain {
				t.Errorf("%s as %s: the colours taken off, it is not the plain one", g.name, f.Name)
			}
			if table := f.Name == "table" || f.Name == "wide"; table != (color != plain) {
				t.Errorf("%s as %s: coloured %v", g.name, f.Name, color != plain)
			}
			if strings.Count(color, "\x1b[0m")*2 != strings.Count(color, "\x1b[") {
				t.Errorf("%s as %s: a colour is not ended", g.name, f.Name)
			}
		}
	}
}

// NoHeader takes the names of columns away and no row.
func TestNoHeader(t *testing.T) {
	// The columns are narrower without their names, so words are compared.
	words := func(format string, v Value, o Options) []string {
		return strings.Fields(string(write(t, format, v, o)))
	}
	heads := strings.Fields("FD Local Address:Port Peer Address:Port State Timer Keepalive Recv-Q Send-Q Idle Age")
	v := Leakscan(manySamples(3))
	with, without := words("table", v, Options{}), words("table", v, Options{NoHeader: true})
	if !slices.Equal(deleteRun(with, heads), without) {
		t.Errorf("without names:\n%q\nwith:\n%q", without, with)
	}
	csv, bare := string(write(t, "csv", v, Options{})), string(write(t, "csv", v, Options{NoHeader: true}))
	if head, rest, _ := strings.Cut(csv, "\n"); rest != bare || !strings.HasPrefix(head, "table,") {
		t.Errorf("csv without its names is not the rest of it:\n%s", bare)
	}
	for _, format := range []string{"json", "jsonl"} {
		if got := write(t, format, v, Options{NoHeader: true}); string(got) != string(write(t, format, v, Options{})) {
			t.Errorf("%s has no header to leave out", format)
		}
	}
}

func deleteRun(list, run []string) []string {
	for i := range list {
		if i+len(run) <= len(list) && slices.Equal(list[i:i+len(run)], run) {
			return slices.Concat(list[:i], list[i+len(run):])
		}
	}
	return list
}

// fds are the descriptors of the first finding, in the order of the JSON report.
func fds(t *testing.T, v Value, o Options) (list []int) {
	t.Helper()
	var doc struct {
		Findings []struct{ Samples []struct{ FD int } }
	}
	if err := json.Unmarshal(write(t, "json", v, o), &doc); err != nil {
		t.Fatal(err)
	}
	for _, s := range doc.Findings[0].Samples {
		list = append(list, s.FD)
	}
	return list
}

func TestSampleSorts(t *testing.T) {
	r := leaking()
	f := found(r, "idle-no-keepalive")
	r.Findings = []*diag.Finding{f}
	slices.SortFunc(f.Samples, func(a, b diag.Sample) int { return cmp.Compare(b.FD, a.FD) }) // not the order of anything else
	for i := range f.Samples {
		f.Samples[i].RecvQ, f.Samples[i].SendQ = uint32(i%2), uint32(i%3)
	}
	keys := map[string]func(s diag.Sample) int{
		"idle":   func(s diag.Sample) int { return -int(s.Idle.D) },
		"age":    func(s diag.Sample) int { return -int(s.Age.D) },
		"held":   func(s diag.Sample) int { return -int(s.Held.D) },
		"fd":     func(s diag.Sample) int { return s.FD },
		"recv-q": func(s diag.Sample) int { return -int(s.RecvQ) },
		"send-q": func(s diag.Sample) int { return -int(s.SendQ) },
		"peer":   func(s diag.Sample) int { return int(s.Peer.Port()) }, // one address
	}
	for _, order := range append(SampleSorts(), "") {
		key := keys[cmp.Or(order, "idle")]
		if key == nil {
			t.Errorf("no test of the order %q", order)
			continue
		}
		want := slices.Clone(f.Samples)
		slices.SortFunc(want, func(a, b diag.Sample) int { return cmp.Or(cmp.Compare(key(a), key(b)), cmp.Compare(a.FD, b.FD)) })
		if order == "peer" {
			// A v4-mapped peer is not beside its IPv4 one yet: the order is that of the kernel's addresses.
			slices.SortStableFunc(want, func(a, b diag.Sample) int { return a.Peer.Addr().Compare(b.Peer.Addr()) })
		}
		for i, fd := range fds(t, Leakscan(r), Options{Sort: order}) {
			if fd != want[i].FD {
				t.Errorf("sorted by %q: descriptor %d stands at %d, want %d", order, fd, i, want[i].FD)
			}
		}
	}
	if len(SampleSorts()) != len(sampleSorts) {
		t.Errorf("%d orders are listed, %d there are", len(SampleSorts()), len(sampleSorts))
	}
	if f.Samples[0].FD < f.Samples[1].FD {
		t.Error("writing a report has changed the result")
	}
}

// Top cuts rows and never counts; what it cut is said.
func TestTop(t *testing.T) {
	v := Leakscan(manySamples(30))
	for top, want := range map[int]int{0: 30, 1: 1, 10: 10, 29: 29, 30: 30, 31: 30} {
		o := Options{Top: top}
		if got := len(fds(t, v, o)); got != want {
			t.Errorf("top %d: %d samples in JSON, want %d", top, got, want)
		}
		out := string(write(t, "table", v, o))
		if got := strings.Count(out, "10.0.0.7:"); got != want {
			t.Errorf("top %d: %d samples in the table, want %d", top, got, want)
		}
		more := "… and " + strconv.Itoa(30-want) + " more: --top 0 shows all"
		if strings.Contains(out, more) != (want < 30) || strings.Contains(out, "… and 0 more") {
			t.Errorf("top %d: what is left out is not told:\n%s", top, out)
		}
		if !strings.Contains(out, "30 leaked sockets in 1 finding") {
			t.Errorf("top %d changes the count", top)
		}
	}
	stats := Tcpstat(statOf(&diag.Tally{}, "sockets", 2))
	if out := string(write(t, "table", stats, Options{})); !strings.Contains(out, "… and 4 more") || !strings.Contains(out, "28806 TCP sockets") {
		t.Errorf("top 2 of six groups:\n%s", out)
	}
	var doc struct {
		Sockets int
		Groups  []struct{ Key string }
		LeftOut int `json:"groups_left_out"`
	}
	if err := json.Unmarshal(write(t, "json", Tcpstat(statOf(&diag.Tally{}, "close-wait", 2)), Options{}), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Sockets != 28806 || len(doc.Groups) != 2 || doc.LeftOut != 4 || doc.Groups[0].Key != "2001:db8::9" {
		t.Errorf("top 2 by CLOSE-WAIT: %+v", doc)
	}
}

// Numbers of a CSV are numbers, so that a program can count on a column; what is not known is empty.
func TestCSVNumbers(t *testing.T) {
	text := map[string]bool{
		"table": true, "rule": true, "severity": true, "name": true, "peer": true, "direction": true, "message": true, "advice": true,
		"exe": true, "runtime": true, "local": true, "state": true, "timer": true, "keepalive": true, "age_exact": true, "age_source": true,
		"cookie": true, "fd_first_looked_at": true, "what": true, "why": true, "by": true, "key": true,
		"onset_ongoing": true, "worst_rule": true, "worst_peer": true, "ports_out_peer": true,
		"watch": true, "others": true, "end_holders": true, "end_state": true,
		"leak": true, "host": true, "kernel": true, "judged": true, "whole": true, "kind": true, "match": true, "process": true, "subject": true,
		"side": true, "taken_at": true, "verdict": true, "pids_before": true, "pids_after": true,
		"area": true, "command": true, "found": true, "note": true, "remedy": true,
		"plot": true, "line": true, "at": true, "unit": true,
		"systemd_unit": true, "container_runtime": true, "container_id": true, "container_name": true, "pod_namespace": true, "pod_name": true, "pod_uid": true,
	}
	fraction := map[string]bool{
		"onset_per_minute": true, "leak_per_minute": true, "cpu_share": true, "open_per_minute": true, "sockets_per_minute": true, "rss_per_minute": true,
		"value": true, "first": true, "last": true, "change": true, "least": true, "most": true, "per_minute": true,
	}
	for _, g := range goldens() {
		o := g.options
		o.NoHeader = false
		rows := readCSV(t, write(t, "csv", g.value, o))
		for _, row := range rows[1:] {
			for i, cell := range row {
				if text[rows[0][i]] || cell == "" {
					continue
				}
				_, err := strconv.ParseInt(cell, 10, 64)
				if fraction[rows[0][i]] {
					_, err = strconv.ParseFloat(cell, 64)
				}
				if err != nil {
					t.Errorf("%s: %s of a %s is %q", g.name, rows[0][i], row[0], cell)
				}
			}
		}
		checkFormulas(t, g.name, rows)
	}
}
