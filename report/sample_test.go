package report

import (
	"slices"
	"strings"
	"testing"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/procfd"
)

// A column that is about few sockets is there when one of the table has something in it; programs have all of them always.
func TestSampleColumns(t *testing.T) {
	for _, tt := range []struct {
		head string
		wide bool
		told func(*diag.Sample)
		want string
	}{
		{"PID", false, func(s *diag.Sample) { s.PID = 77 }, "77"},
		{"Thread", false, func(s *diag.Sample) { s.Task = 4277 }, "4277"},
		{"Watched", false, func(s *diag.Sample) { s.Watch = procfd.Watched }, "yes"},
		{"Watched", false, func(s *diag.Sample) { s.Watch = procfd.Abandoned }, "no"},
		{"Also held by", false, func(s *diag.Sample) { s.Others = []diag.Holder{{PID: 7, FD: 9, Name: "w"}} }, "w[7] fd 9"},
		{"Also held by", false, func(s *diag.Sample) { s.Others = make([]diag.Holder, 3) }, "[0] fd 0 (+2)"},
		{"Other end", false, func(s *diag.Sample) { s.End = &diag.EndSample{State: "FIN-WAIT-2"} }, "nobody, FIN-WAIT-2"},
		{"Other end", false, func(s *diag.Sample) { s.End = &diag.EndSample{State: "ESTAB", Unseen: true} }, "not found, ESTAB"},
		{"Other end", false, func(s *diag.Sample) {
			s.End = &diag.EndSample{State: "FIN-WAIT-1", RecvQ: 3, SendQ: 4, Holders: []diag.Holder{{PID: 77, FD: 5, Name: "client"}}}
		}, "client[77] fd 5 FIN-WAIT-1, Recv-Q 3, Send-Q 4"},
		{"Probes after", true, func(s *diag.Sample) { s.Options = &diag.Options{KeepAlive: true, KeepIdle: 60e9} }, "1m00s"},
		{"User time-out", true, func(s *diag.Sample) { s.Options = &diag.Options{UserTimeout: 30e9} }, "30s"},
		{"Receive time-out", true, func(s *diag.Sample) { s.Options = &diag.Options{} }, "none"},
		{"Linger", true, func(s *diag.Sample) { s.Options = &diag.Options{Linger: -1} }, "off"},
	} {
		r := manySamples(2)
		heads := func(format string) bool {
			return strings.Contains(rowsOf(t, write(t, format, Leakscan(r), Options{}))[0], tt.head+"  ") ||
				strings.HasSuffix(rowsOf(t, write(t, format, Leakscan(r), Options{}))[0], tt.head)
		}
		plain := readCSV(t, write(t, "csv", Leakscan(r), Options{}))[0]
		if heads("table") || heads("wide") {
			t.Errorf("%s of nothing takes room", tt.head)
		}
		tt.told(&r.Findings[0].Samples[1])
		if heads("table") == tt.wide || !heads("wide") {
			t.Errorf("%s is in the table: %v, in the wide one: %v", tt.head, heads("table"), heads("wide"))
		}
		if out := string(write(t, "wide", Leakscan(r), Options{})); !strings.Contains(out, "  "+tt.want) {
			t.Errorf("%s: no %q in\n%s", tt.head, tt.want, out)
		}
		if told := readCSV(t, write(t, "csv", Leakscan(r), Options{}))[0]; !slices.Equal(told, plain) {
			t.Errorf("%s changes the columns of CSV:\n%q\n%q", tt.head, plain, told)
		}
	}
	// Nor does what was found.
	want := readCSV(t, write(t, "csv", Leakscan(leaking()), Options{}))[0]
	for _, v := range []Value{Leakscan(clean()), Leakscan(partial()), LeakscanAll(crowd())} {
		if got := readCSV(t, write(t, "csv", v, Options{}))[0]; !slices.Equal(got, want) {
			t.Errorf("CSV has the columns\n%q\nwant\n%q", got, want)
		}
	}
}
