package main

import (
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sockleak/sockleak/cmd/internal/pty"
)

func scriptKeys(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: keys NAME PROGRAM ARG…")
	}
	keys, terminal, err := pty.Open()
	ts.Check(err)
	ts.Defer(func() { keys.Close() })
	startJob(ts, args[0], args[1:], terminal)
	terminal.Close()
	jobNamed(ts, args[0]).keys = keys
}

func scriptEnter(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: enter NAME")
	}
	_, err := jobNamed(ts, args[0]).keys.WriteString("\n")
	ts.Check(err)
}

var (
	lookHead    = "Look for yourself in another terminal:\n"
	lookCommand = regexp.MustCompile(`(?m)^    \$ (.+)\n      (\d+)(?: to (\d+))?: `)
)

// scriptLooks runs the commands that a job has told last of all, and each has to print what the job says of it.
func scriptLooks(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: looks NAME TIMES")
	}
	said := strings.Split(jobNamed(ts, args[0]).stderr.String(), lookHead)
	if got := strconv.Itoa(len(said) - 1); got != args[1] {
		ts.Fatalf("it told of commands %s times, want %s", got, args[1])
	}
	list := lookCommand.FindAllStringSubmatch(said[len(said)-1], -1)
	if len(list) < 2 || len(list) != strings.Count(said[len(said)-1], "$ ") {
		ts.Fatalf("%d commands with what they show in %q", len(list), said[len(said)-1])
	}
	for _, m := range list {
		least, err := strconv.Atoi(m[2])
		ts.Check(err)
		most := least
		if m[3] != "" {
			most, err = strconv.Atoi(m[3])
			ts.Check(err)
		}
		got := -1
		for range 50 { // of those that talk, one may have something under way
			out, _ := exec.Command("sh", "-c", m[1]).Output() // grep -c ends with 1 when it counts nothing
			ts.Logf("$ %s\n%s", m[1], out)
			got, err = strconv.Atoi(strings.TrimSpace(string(out)))
			ts.Check(err)
			if got >= least && got <= most {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		if got < least || got > most {
			ts.Fatalf("%s shows %d, not what is said of it: %s", m[1], got, m[0])
		}
	}
}
