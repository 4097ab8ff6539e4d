//go:build linux

package main

import (
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// floorName is the row that the others are compared with.
const floorName = "floor"

// newRow makes a row of a command, which is left out by name when its program, or another that it needs, is not installed.
func newRow(fails func(int) bool, args []string, needs ...string) *row {
	r := &row{Name: strings.Join(args, " "), Args: slices.Clone(args), fails: fails}
	for _, program := range append([]string{args[0]}, needs...) {
		path, err := exec.LookPath(program)
		if err != nil {
			r.LeftOut = program + " is not installed"
		} else if program == args[0] {
			r.Args[0] = path
		}
	}
	if i := strings.LastIndex(args[0], "/"); i >= 0 {
		r.Name = r.Name[i+1:]
	}
	return r
}

// What a status says. A scan that finds a leak has 1, a partial view 3; lsof has 1 when there is a file that it could not see.
func failsAbove0(status int) bool   { return status != 0 }
func failsAbove1(status int) bool   { return status > 1 }
func sockleakFails(status int) bool { return status != 0 && status != 1 && status != 3 }

func floorRow(p programs) *row {
	r := newRow(failsAbove0, []string{p.floor})
	r.Name = floorName
	return r
}

func sockleakRow(p programs, args ...string) *row {
	return newRow(sockleakFails, append([]string{p.sockleak}, args...))
}

// ours are the rows of sockleak whose growth is watched.
func ours(p programs, pid int) []*row {
	return []*row{
		sockleakRow(p, "tcpstat"),
		sockleakRow(p, "tcpstat", "-i"),
		of(pid, sockleakRow(p, "leakscan", pidWord)),
		sockleakRow(p, "leakscan", "--all", "--settle", "0"),
	}
}

// netstatCount is what people type who have no ss.
const netstatCount = `netstat -ant | awk 'NR > 2 {n[$6]++} END {for (s in n) print n[s], s}'`

// compared are all rows, each of sockleak's before its peers.
func compared(p programs, pid int) []*row {
	own := ours(p, pid)
	netstat := newRow(failsAbove0, []string{"sh", "-c", netstatCount}, "netstat", "awk")
	netstat.Name = "netstat -ant | awk"
	return []*row{
		own[0],
		newRow(failsAbove0, []string{"ss", "-tan"}),
		netstat,
		own[1],
		newRow(failsAbove0, []string{"ss", "-tanoei"}),
		sockleakRow(p, "tcpstat", "--state", "close-wait"),
		newRow(failsAbove0, []string{"ss", "-tan", "state", "close-wait"}),
		own[2],
		of(pid, newRow(failsAbove1, []string{"lsof", "-nP", "-p", pidWord})),
		sockleakRow(p, "tcpstat", "--by", "process"),
		own[3],
		slow(newRow(failsAbove0, []string{"ss", "-tanp"})),
		slow(newRow(failsAbove1, []string{"lsof", "-nP", "-iTCP"})),
	}
}

func slow(r *row) *row { r.slow = true; return r }

// pidWord stands in a row's name for the process that it is about.
const pidWord = "PID"

func of(pid int, r *row) *row {
	r.Args[slices.Index(r.Args, pidWord)] = strconv.Itoa(pid)
	return r
}

// ofEmpty are the rows of a namespace without sockets: what it takes to start.
func ofEmpty(p programs) []*row {
	return []*row{sockleakRow(p, "tcpstat"), newRow(failsAbove0, []string{"ss", "-tan"})}
}

// choose takes the rows whose name, with the prefix, matches, and the floor before them.
func choose(p programs, rows []*row, prefix string, match *regexp.Regexp) []*row {
	rows = slices.DeleteFunc(rows, func(r *row) bool { return !match.MatchString(prefix + r.Name) })
	if len(rows) == 0 {
		return nil
	}
	return append([]*row{floorRow(p)}, rows...)
}

// leaveOut leaves out the slow rows of a farm with more sockets than the limit.
func leaveOut(rows []*row, sockets, limit int) {
	for _, r := range rows {
		if r.slow && sockets > limit && r.LeftOut == "" {
			r.LeftOut = fmt.Sprintf("slow, and %d sockets are more than -slow-limit %d", sockets, limit)
		}
	}
}
