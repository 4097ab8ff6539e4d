package report

import (
	"encoding/json"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
	"github.com/sockleak/sockleak/procfd"
)

// The shape of JSON: an object has these fields at the least, list is one of a shape, and leaves are
// the names of types. A type with a "?" may be null, and so may what orNull is of.
type (
	object   map[string]any
	list     struct{ of any }
	orNull   struct{ of any }
	numbered map[string]any // of any keys: {"": type}
)

const (
	str     = "string"
	num     = "number"
	boolean = "boolean"
	numNull = "number?"
	strNull = "string?"
	instant = "time"
)

var gapShape = object{"what": str, "count": num, "why": str}

var holderShape = object{"pid": num, "fd": num, "task": num, "name": str}

var containerShape = orNull{object{
	"runtime": strNull, "id": strNull, "name": strNull, "service": strNull, "nested": boolean,
	"pod": orNull{object{"uid": strNull, "namespace": strNull, "name": strNull}},
}}

var leakscanShape = object{
	"schema": str, "taken_at": instant, "host": str, "kernel": str, "took_ms": num,
	"thresholds": object{"idle_ms": num, "grace_ms": num}, "rules": list{str},
	"processes": list{object{
		"pid": num, "name": str, "exe": str, "runtime": str, "uid": num, "started_at": instant, "cgroup": str, "netns": num, "source": str,
		"unit": strNull, "container": containerShape, "ns_pids": list{num},
		"fds":       object{"open": numNull, "soft_limit": numNull, "by_kind": numbered{"": num}, "pipe_pairs": num, "sockets_by_protocol": orNull{numbered{"": num}}},
		"rss_bytes": num, "args": list{str}, "sockets": object{"by_state": numbered{"": num}, "closed_fd": num, "orphans": num},
		"leaked": num, "risks": num, "leak_per_minute": numNull, "fd_limit_in_ms": numNull, "ports_out_in_ms": numNull, "ports_out_peer": strNull,
		"accept_queues": list{object{"local": str, "waiting": num, "backlog": num, "peer_closed": numNull}},
		"destinations":  list{object{"local": str, "peer": str, "used": num, "time_wait": num, "range": num}},
	}},
	"findings": list{object{
		"rule": str, "severity": str, "pid": num, "peer": str, "sockets": num, "message": str, "advice": str,
		"evidence": list{object{"field": str, "value": str, "source": str}},
		"samples": list{object{
			"fd": num, "local": str, "peer": str, "state": str, "timer": str, "idle_ms": numNull, "age_ms": numNull,
			"age_exact": boolean, "cookie": str, "inode": num, "pid": num, "task": num, "others": list{holderShape}, "watch": str,
			"end": orNull{object{"state": str, "recv_q": num, "send_q": num, "holders": list{holderShape}}},
			"options": orNull{object{
				"keepalive": boolean, "keep_idle_ms": num, "keep_interval_ms": num, "keep_count": num, "user_timeout_ms": num,
				"receive_timeout_ms": num, "send_timeout_ms": num, "linger_ms": numNull,
			}},
		}},
		"onset": orNull{object{
			"oldest_ms": num, "youngest_ms": num, "bucket_ms": num, "buckets": list{num}, "per_minute": numNull, "ongoing": boolean, "source": str,
		}},
	}},
	"gaps": list{gapShape},
}

var timersShape = object{"sockets": num, "timers": numbered{"": num}}

var tcpstatShape = object{
	"schema": str, "taken_at": orNull{instant}, "host": str, "kernel": str, "took_ms": num, "source": str, "sockets": num, "by": str, "idle_times": boolean,
	"states": list{object{"state": str, "sockets": num, "timers": numbered{"": num}, "ipv4": timersShape, "ipv6": timersShape}},
	"groups": list{object{
		"key": str, "sockets": num, "estab": num, "estab_timer": num, "estab_no_timer": num, "close_wait": num,
		"oldest_idle_ms": numNull, "recv_q": num, "send_q": num, "process": orNull{object{"pid": num, "name": str, "uid": num}},
		"cgroup": orNull{object{"id": numNull, "path": strNull, "unit": strNull, "container": containerShape}},
	}},
	"groups_left_out": num, "gaps": list{gapShape},
}

// trialShape is that of a comparison, with more fields.
func trialShape() object {
	shape := maps.Clone(compareShape)
	maps.Copy(shape, object{"leak": str, "about": str, "proved": boolean, "proof": str, "looks": list{object{"command": str, "shows": str}}})
	return shape
}

var compareShape = object{
	"schema": str, "names": list{str}, "counts": numbered{"": list{numNull}}, "by_state": numbered{"": list{num}},
	"by_peer": list{object{"direction": str, "peer": strNull, "sockets": list{num}}}, "scans": list{leakscanShape},
}

var changeShape = object{"key": str, "count": list{numNull}, "change": numNull}

var diffShape = object{
	"schema": str, "verdict": str, "worse": boolean, "reasons": list{str}, "notes": list{str}, "interval_ms": numNull, "idle_limit_ms": num,
	"sides": list{object{
		"name": str, "taken_at": strNull, "host": str, "kernel": str, "judged": boolean, "whole": boolean, "sockets": num, "gaps": list{gapShape},
	}},
	"leaks": list{object{
		"rule": str, "process": str, "direction": str, "port": numNull, "match": str, "count": list{numNull}, "change": numNull,
	}},
	"states": list{changeShape}, "timers": list{changeShape}, "suspects": list{changeShape}, "descriptors": list{changeShape},
	"peers":      list{object{"peer": str, "direction": str, "count": list{numNull}, "change": numNull}},
	"peers_rest": object{"peers": numNull, "count": list{numNull}}, "peers_unkept": list{num},
	"processes": list{object{
		"name": str, "match": str, "pids": list{list{num}}, "open": list{numNull}, "sockets": list{numNull}, "leaked": list{numNull},
		"rss_bytes": list{numNull}, "cpu_ms": list{numNull}, "open_per_minute": numNull, "sockets_per_minute": numNull,
		"rss_bytes_per_minute": numNull, "cpu_share": numNull,
	}},
	"findings": list{object{
		"rule": str, "severity": str, "process": str, "peer": str, "direction": str, "local_port": num, "count": list{numNull}, "change": numNull,
	}},
	"turnover": orNull{object{"gone": num, "new": num, "stayed": num, "silent": num, "moved": num, "state_changed": num, "untold": num}},
	"residue": list{object{
		"rule": strNull, "severity": strNull, "pid": numNull, "name": strNull, "peer": str, "direction": str, "local_port": num, "state": str,
		"timer": strNull, "keepalive": str, "sockets": num, "oldest_idle_ms": numNull,
		"samples": list{object{
			"fd": numNull, "local": str, "peer": str, "state": str, "timer": strNull, "recv_q": num, "send_q": num, "idle_ms": numNull,
			"age_ms": numNull, "cookie": str, "inode": num,
		}},
	}},
	"residue_leaked": num, "residue_idle": num, "gaps": list{gapShape},
}

var seriesShape = object{
	"schema": str, "taken_at": instant, "host": str, "kernel": str, "took_ms": num, "span_ms": num, "times": list{instant},
	"tracks": list{object{
		"pid": num, "start": num, "name": str, "soft_limit": numNull, "ended": boolean,
		"lines": list{object{
			"kind": str, "name": str, "unit": str, "values": list{numNull}, "born": orNull{list{num}}, "died": orNull{list{num}},
		}},
	}},
	"leakscan": orNull{leakscanShape}, "tcpstat": orNull{tcpstatShape},
}

var doctorShape = object{
	"schema": str, "taken_at": orNull{instant}, "host": str, "kernel": str, "took_ms": num, "works": boolean,
	"commands": list{object{"command": str, "state": str, "why": str, "remedy": str}},
	"checks":   list{object{"area": str, "name": str, "state": str, "found": str, "note": str}},
}

// bare values have nothing in any list, and know nothing that may be unknown.
func bareResult() *diag.Result {
	p := &procfd.Process{PID: 1, Open: -1}
	space := &diag.Space{}
	proc := &diag.Proc{Process: p, Space: space}
	space.Procs = []*diag.Proc{proc}
	return &diag.Result{
		Snapshot: &diag.Snapshot{At: noon, Spaces: []*diag.Space{space}},
		Findings: []*diag.Finding{{Rule: "rule", Proc: proc}, {Rule: "rule", Proc: proc, Samples: []diag.Sample{{}}}},
	}
}

func TestSchema(t *testing.T) {
	empty := &diag.Result{Snapshot: &diag.Snapshot{At: noon}}
	for _, tt := range []struct {
		name   string
		value  Value
		schema string
		shape  object
	}{
		{"leaking", Leakscan(leaking()), "sockleak.leakscan/1", leakscanShape},
		{"clean", Leakscan(clean()), "sockleak.leakscan/1", leakscanShape},
		{"partial", Leakscan(partial()), "sockleak.leakscan/1", leakscanShape},
		{"bare", Leakscan(bareResult()), "sockleak.leakscan/1", leakscanShape},
		{"empty", Leakscan(empty), "sockleak.leakscan/1", leakscanShape},
		{"growing", Leakscan(growing()), "sockleak.leakscan/1", leakscanShape},
		{"all", LeakscanAll(crowd()), "sockleak.leakscan/1", leakscanShape},
		{"all of nothing", LeakscanAll(empty), "sockleak.leakscan/1", leakscanShape},
		{"count", Tcpstat(stat()), "sockleak.tcpstat/1", tcpstatShape},
		{"count by process", Tcpstat(byProcess("node")), "sockleak.tcpstat/1", tcpstatShape},
		{"empty count", Tcpstat(&diag.Stat{Tally: &diag.Tally{}}), "sockleak.tcpstat/1", tcpstatShape},
		{"series", SeriesOf(overAWhile()), "sockleak.series/1", seriesShape},
		{"series of nothing", SeriesOf(empty), "sockleak.series/1", seriesShape},
		{"series of counts", StatSeries(stat(), hostSeries("web-1")), "sockleak.series/1", seriesShape},
		{"comparison", Compare("a", leaking(), "b", empty), "sockleak.compare/1", compareShape},
		{"trial", Trials(proved("a")), "sockleak.compare/1", trialShape()},
		{"diff", Diff(diffed(judged("a", poolAt(0)), judged("b", poolAt(5)))), "sockleak.diff/1", diffShape},
		{"diff of a restart", Diff(diffed(judged("a", leaking()), judged("b", restarted()))), "sockleak.diff/1", diffShape},
		{"diff of lists", Diff(diffed(ssList("a", 3, false), ssList("b", 3, true))), "sockleak.diff/1", diffShape},
		{"diff of nothing", Diff(diffed(judged("a", empty), judged("b", empty))), "sockleak.diff/1", diffShape},
		{"examination", Doctor(exam("web-1", "app")), "sockleak.doctor/1", doctorShape},
		{"examination of nothing", Doctor(&Exam{At: noon}), "sockleak.doctor/1", doctorShape},
		{"trials", Trials(proved("a"), doubted()), "sockleak.demo/1", object{"schema": str, "trials": list{trialShape()}}},
	} {
		for _, format := range []string{"json", "jsonl"} {
			var doc map[string]any
			if err := json.Unmarshal(write(t, format, tt.value, Options{}), &doc); err != nil {
				t.Fatal(err)
			}
			if doc["schema"] != tt.schema {
				t.Errorf("%s: schema %v, want %s", tt.name, doc["schema"], tt.schema)
			}
			checkShape(t, tt.name, doc, tt.shape)
		}
	}
}

func checkShape(t *testing.T, path string, got, shape any) {
	t.Helper()
	switch shape := shape.(type) {
	case object:
		o, ok := got.(map[string]any)
		if !ok {
			t.Errorf("%s is %T, want an object", path, got)
			return
		}
		for field, of := range shape {
			if v, ok := o[field]; ok {
				checkShape(t, path+"."+field, v, of)
			} else {
				t.Errorf("%s has no field %s", path, field)
			}
		}
	case numbered:
		o, ok := got.(map[string]any)
		if !ok {
			t.Errorf("%s is %T, want an object", path, got)
		}
		for key, v := range o {
			checkShape(t, path+"."+key, v, shape[""])
		}
	case orNull:
		if got != nil {
			checkShape(t, path, got, shape.of)
		}
	case list:
		l, ok := got.([]any)
		if !ok {
			t.Errorf("%s is %T, want a list", path, got)
		}
		for i, v := range l {
			checkShape(t, fmt.Sprintf("%s[%d]", path, i), v, shape.of)
		}
	case string:
		checkLeaf(t, path, got, shape)
	}
}

func checkLeaf(t *testing.T, path string, got any, want string) {
	t.Helper()
	ok := false
	switch want {
	case str:
		_, ok = got.(string)
	case boolean:
		_, ok = got.(bool)
	case strNull:
		_, ok = got.(string)
		ok = ok || got == nil
	case numNull:
		_, ok = got.(float64)
		ok = ok || got == nil
	case num:
		_, ok = got.(float64)
	case instant:
		s, _ := got.(string)
		at, err := time.Parse(time.RFC3339, s)
		ok = err == nil && at.Location() == time.UTC
	}
	if !ok {
		t.Errorf("%s is %v (%T), want %s", path, got, got, want)
	}
}

// What is unknown is null and no number; what is known keeps its value.
func TestJSONValues(t *testing.T) {
	var doc struct {
		TookMS     int64 `json:"took_ms"`
		Looks      int
		Thresholds map[string]int64
		Processes  []struct {
			StartedAt time.Time `json:"started_at"`
			FDs       struct {
				Open      *int
				SoftLimit *uint64        `json:"soft_limit"`
				ByKind    map[string]int `json:"by_kind"`
			}
			Sockets struct {
				ByState      map[string]int `json:"by_state"`
				EstabTimer   *int           `json:"estab_timer"`
				EstabNoTimer *int           `json:"estab_no_timer"`
				ClosedFD     int            `json:"closed_fd"`
				TimeWait     int            `json:"time_wait"`
			}
		}
	}
	decode := func(r *diag.Result) {
		t.Helper()
		doc.Processes = nil
		if err := json.Unmarshal(write(t, "json", Leakscan(r), Options{}), &doc); err != nil {
			t.Fatal(err)
		}
	}
	decode(leaking())
	p := doc.Processes[0]
	if doc.TookMS != 3142 || doc.Looks != 2 || doc.Thresholds["idle_ms"] != 7_200_000 || doc.Thresholds["grace_ms"] != 60_000 ||
		doc.Thresholds["settle_ms"] != 3000 {
		t.Errorf("took %d, looks %d, thresholds %v", doc.TookMS, doc.Looks, doc.Thresholds)
	}
	if *p.FDs.Open != 60 || *p.FDs.SoftLimit != 1024 || p.FDs.ByKind["epoll"] != 1 || len(p.FDs.ByKind) != 3 {
		t.Errorf("descriptors %+v", p.FDs)
	}
	if s := p.Sockets; s.ByState["ESTAB"] != 10 || *s.EstabNoTimer != 8 || *s.EstabTimer != 2 || s.ClosedFD != 4 || s.TimeWait != 150 {
		t.Errorf("sockets %+v", s)
	}
	if want := noon.Add(-30*time.Hour - 5*time.Minute); !p.StartedAt.Equal(want) {
		t.Errorf("started at %v, want %v", p.StartedAt, want)
	}
	untold := leaking()
	held := untold.Procs()[0].Held
	for i := range held {
		if held[i].State == netlinkss.Estab {
			held[i].Timer = netlinkss.TimerUnknown // one is enough
			break
		}
	}
	decode(untold)
	if s := doc.Processes[0].Sockets; s.EstabTimer != nil || s.EstabNoTimer != nil || s.ByState["ESTAB"] != 10 {
		t.Errorf("timers that are not told: %+v", s)
	}
	c := comparedOf(untold)
	if c.timer != -1 || c.noTimer != -1 || c.byState["ESTAB"] != 10 {
		t.Errorf("timers that are not told, compared: %+v", c)
	}
	decode(clean())
	if p := doc.Processes[0]; *p.FDs.Open != 3 || p.FDs.SoftLimit != nil {
		t.Errorf("no limit: %+v", p.FDs)
	}
	decode(partial())
	if p := doc.Processes[0]; p.FDs.Open != nil || p.FDs.SoftLimit != nil {
		t.Errorf("nothing known: %+v", p.FDs)
	}
}
