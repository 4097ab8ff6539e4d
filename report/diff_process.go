package report

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/sockleak/sockleak/diag"
)

// processTable has a process in a row: people read 60 → 90, programs both numbers and the change.
func (v diff) processTable(o Options) *Table {
	t := &Table{Name: "process", Columns: []Column{
		{Key: "name", Data: true}, {Key: "subject", Head: "Process"}, {Key: "match", Head: "Match", Spare: 4},
		{Key: "pids_before", Data: true}, {Key: "pids_after", Data: true},
		{Key: "leaked_before", Data: true}, {Key: "leaked_after", Data: true}, {Key: "leaked_change", Head: "Leaked", Right: true},
		{Key: "open_before", Data: true}, {Key: "open_after", Data: true}, {Key: "open_change", Head: "Descriptors", Right: true},
		{Key: "open_per_minute", Head: "per minute", Right: true, Spare: 3},
		{Key: "sockets_before", Data: true}, {Key: "sockets_after", Data: true}, {Key: "sockets_change", Head: "TCP sockets", Right: true, Spare: 6},
		{Key: "sockets_per_minute", Data: true},
		{Key: "rss_before", Data: true}, {Key: "rss_after", Data: true}, {Key: "rss_change", Head: "RSS", Right: true, Spare: 5},
		{Key: "rss_per_minute", Data: true},
		{Key: "cpu_before_ms", Data: true}, {Key: "cpu_after_ms", Data: true}, {Key: "cpu_share", Head: "CPU between", Right: true, Spare: 2},
	}}
	for i := range v.d.Processes {
		t.Rows = append(t.Rows, processRow(&v.d.Processes[i]))
	}
	return t.cutTo(o)
}

func processRow(p *diag.ProcessChange) []Cell {
	row := []Cell{text(p.Name), text(p.Subject()), text(p.Match.String()), pidCell(p.PIDs[0]), pidCell(p.PIDs[1])}
	row = append(row, pair(p.Leaked, plainCount)...)
	row = append(append(row, pair(p.Open, plainCount)...), perMinute(p.OpenPerMinute))
	row = append(append(row, pair(p.Sockets, plainCount)...), perMinute(p.SocketsPerMinute))
	row = append(append(row, pair(p.RSS, bytesCount)...), perMinute(p.RSSPerMinute))
	return append(row, cpuCell(p.CPU[0]), cpuCell(p.CPU[1]), shareCell(p.CPUShare))
}

// pair are two numbers for programs, and a cell for people with the change for programs.
func pair(n [2]int, text func(int64) string) []Cell {
	cells := changeCells(wide(n), false, text)
	cells[2].Text = cells[0].Text + " → " + cells[1].Text
	if n[0] == n[1] {
		cells[2].Text = cells[0].Text
	}
	return cells
}

func pidCell(pids []int) Cell {
	list := make([]string, len(pids))
	for i, pid := range pids {
		list[i] = strconv.Itoa(pid)
	}
	return text(strings.Join(list, " "))
}

// perMinute is a rate that may be below 0; NaN is not known.
func perMinute(n float64) Cell {
	if math.IsNaN(n) || math.IsInf(n, 0) {
		return Cell{Text: unknownCount}
	}
	c := Cell{Text: "=", Raw: strconv.FormatFloat(math.Round(n*1e6)/1e6, 'f', -1, 64), num: true}
	switch {
	case n > 0:
		c.Text = "+" + strconv.FormatFloat(n, 'f', 1, 64)
	case n < 0:
		c.Text = "−" + strconv.FormatFloat(-n, 'f', 1, 64)
	}
	return c
}

// cpuCell: 0 is not known.
func cpuCell(d time.Duration) Cell {
	if d <= 0 {
		return Cell{Text: unknownCount}
	}
	return duration(d)
}

// shareCell is a part of one processor; NaN is not known.
func shareCell(part float64) Cell {
	if math.IsNaN(part) || math.IsInf(part, 0) {
		return Cell{Text: unknownCount}
	}
	return Cell{Text: strconv.FormatFloat(part*100, 'f', 1, 64) + " %", Raw: strconv.FormatFloat(math.Round(part*1e6)/1e6, 'f', -1, 64), num: true}
}
