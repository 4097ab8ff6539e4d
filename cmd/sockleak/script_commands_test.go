package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// scriptCommands are what a script may use besides the commands of testscript.
var scriptCommands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"exits":   scriptExits,   // exits STATUS[|STATUS…] PROGRAM ARG…: run it, and it must end with that status
	"becomes": scriptBecomes, // becomes STATUS PROGRAM ARG…: run it until it ends with that status, when a clock has to advance
	"until":   scriptUntil,   // until PATH WANT PROGRAM ARG…: run it until the JSON that it prints has that value at a.0.b
	"refused": scriptRefused, // refused ARG…: sockleak may not be able to run with these: status 2, an error in one line
	"mask":    scriptMask,    // in stdout: what differs from run to run gets a fixed value of the same width
	"json":    scriptJSON,    // json PATH WANT: stdout is one JSON document, with that value at a.0.b; len counts
	"plain":   scriptPlain,   // [!] plain: nothing in stdout and stderr that a terminal obeys
	"sorted":  scriptSorted,  // sorted PATH KEY asc|desc: the objects of a list, by a number
	"mkdump":  scriptDump,    // mkdump TEXT FILE: a recorded dump
	"mkproc":  scriptProc,    // mkproc TEXT DIR: a proc filesystem
	"cut":     scriptCut,     // cut FILE BYTES NEW: the first bytes of a file, or all but the last when negative
	"start":   scriptStart,   // start NAME PROGRAM ARG…: in the background
	"keys":    scriptKeys,    // keys NAME PROGRAM ARG…: in the background, with a terminal as stdin
	"enter":   scriptEnter,   // enter NAME: type Enter there
	"looks":   scriptLooks,   // looks NAME TIMES: the commands that it has told, the last of so many times, show what it says
	"await":   scriptAwait,   // await NAME REGEXP [VAR]: until it says so on stderr; the first group into a variable
	"send":    scriptSend,    // send NAME TERM|INT|KILL
	"ended":   scriptEnded,   // ended NAME STATUS: wait for it, its stdout and stderr are the last command's
	"nobody":  scriptNobody,  // nobody: no process that this script started is left
	"dark":    scriptDark,    // dark: this process has a TCP socket that is connected to nobody
	"echo":    scriptEcho,    // echo VAR: a server that answers with what it gets; its address into a variable
	"talk":    scriptTalk,    // talk [-half] [-hold] ADDR: send bytes and get them back
	"get":     scriptGet,     // get URL: what a web server says, on stdout
	"guest":   scriptGuest,   // guest [-talks] ends|resets|reads ADDR: a client that ends a connection in its own way
}

// scriptLimit is how long anything may take that a script waits for.
const scriptLimit = 30 * time.Second

func scriptBecomes(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: becomes STATUS PROGRAM ARG…")
	}
	var err error
	waitFor(ts, "status "+args[0], func() bool {
		err = ts.Exec(args[1], args[2:]...)
		return strconv.Itoa(exitStatus(ts, err)) == args[0]
	})
	checkStatus(ts, args[0], err)
}

func scriptUntil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: until PATH WANT PROGRAM ARG…")
	}
	waitFor(ts, args[0]+" "+args[1], func() bool {
		_ = ts.Exec(args[2], args[3:]...) // its status is not what is asked for
		v, err := jsonLookup(ts.ReadFile("stdout"), args[0])
		return err == nil && jsonText(ts, v) == args[1]
	})
}

func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS[|STATUS…] PROGRAM ARG…")
	}
	checkStatus(ts, args[0], ts.Exec(args[1], args[2:]...))
}

// checkStatus compares an exit status with "0", or with any of "0|1|3".
func checkStatus(ts *testscript.TestScript, want string, err error) {
	for _, word := range []string{"panic:", "goroutine ", "DATA RACE"} {
		if strings.Contains(ts.ReadFile("stderr"), word) {
			ts.Fatalf("%q on stderr", word)
		}
	}
	if status := exitStatus(ts, err); !slices.Contains(strings.Split(want, "|"), strconv.Itoa(status)) {
		ts.Fatalf("exit status %d, want %s", status, want)
	}
}

// exitStatus is -1 for a death by signal.
func exitStatus(ts *testscript.TestScript, err error) int {
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode()
	}
	ts.Check(err)
	return 0
}

// refusal is all that a program may say that could not run.
var refusal = regexp.MustCompile(`^sockleak: error: .+\n(sockleak: hint: .+\n)?$`)

func scriptRefused(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: refused ARG…")
	}
	checkStatus(ts, "2", ts.Exec("sockleak", args...))
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("something on stdout")
	}
	if said := ts.ReadFile("stderr"); !refusal.MatchString(said) {
		ts.Fatalf("stderr is not one error and at most one hint")
	}
}

// volatile is what no two runs have in common.
var volatile = []struct {
	re *regexp.Regexp
	to string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`), "2026-01-02T03:04:05.678Z"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ`), "2026-01-02 03:04:05Z"},
	{regexp.MustCompile(`(?m)took [<\dms.]+$`), "took 1ms"},
	{regexp.MustCompile(`("took_ms": ?)\d+`), "${1}1"},
}

func scriptMask(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: mask")
	}
	out, said := ts.ReadFile("stdout"), ts.ReadFile("stderr")
	for _, v := range volatile {
		out = v.re.ReplaceAllString(out, v.to)
	}
	fmt.Fprint(ts.Stdout(), out)
	fmt.Fprint(ts.Stderr(), said)
}

func scriptJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] json PATH WANT")
	}
	if got := jsonText(ts, jsonAt(ts, args[0])); (got == args[1]) == neg {
		ts.Fatalf("%s is %s", args[0], got)
	}
}

// jsonAt is what stands at a path in stdout, which must be one document.
func jsonAt(ts *testscript.TestScript, path string) any {
	v, err := jsonLookup(ts.ReadFile("stdout"), path)
	ts.Check(err)
	return v
}

// jsonLookup is what stands at a path in a text, which must be one document.
func jsonLookup(text, path string) (any, error) {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("stdout is no JSON: %w", err)
	}
	if dec.More() {
		return nil, errors.New("stdout is more than one JSON document")
	}
	for _, key := range strings.Split(path, ".") {
		var err error
		if v, err = jsonStep(v, key); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return v, nil
}

// jsonStep is what stands in v under a key, an index or "len".
func jsonStep(v any, key string) (any, error) {
	switch at := v.(type) {
	case map[string]any:
		if key == "len" {
			return len(at), nil
		}
		if below, ok := at[key]; ok {
			return below, nil
		}
		return nil, fmt.Errorf("no %q", key)
	case []any:
		if key == "len" {
			return len(at), nil
		}
		if i, err := strconv.Atoi(key); err == nil && i >= 0 && i < len(at) {
			return at[i], nil
		}
		return nil, fmt.Errorf("no %q in a list of %d", key, len(at))
	}
	return nil, fmt.Errorf("nothing below %q", key)
}

// jsonText is a string as it is, and JSON of all else.
func jsonText(ts *testscript.TestScript, v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	ts.Check(enc.Encode(v))
	return strings.TrimSpace(b.String())
}

func scriptSorted(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: sorted PATH KEY asc|desc")
	}
	list, ok := jsonAt(ts, args[0]).([]any)
	if !ok || len(list) < 2 {
		ts.Fatalf("%s is no list of two or more", args[0])
	}
	var values []float64
	for _, item := range list {
		object, _ := item.(map[string]any)
		n, _ := strconv.ParseFloat(fmt.Sprint(object[args[1]]), 64) // null is 0
		values = append(values, n)
	}
	if args[2] == "desc" {
		slices.Reverse(values)
	}
	if !slices.IsSorted(values) || values[0] == values[len(values)-1] {
		ts.Fatalf("%s by %s: %v", args[0], args[1], values)
	}
}

func scriptPlain(ts *testscript.TestScript, neg bool, _ []string) {
	isControl := func(r rune) bool {
		return r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r == '\u2028'
	}
	all := ts.ReadFile("stdout") + ts.ReadFile("stderr")
	if all == "" {
		ts.Fatalf("nothing was printed")
	}
	if i := strings.IndexFunc(all, isControl); (i >= 0) != neg {
		ts.Fatalf("control character at byte %d of stdout and stderr", i)
	}
}

func scriptCut(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: cut FILE BYTES NEW")
	}
	data := ts.ReadFile(args[0])
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	if n < 0 {
		n += len(data)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(data[:n]), 0o666))
}

// scriptNobody waits until no living process has this script's directory in its environment, which children
// inherit.
func scriptNobody(ts *testscript.TestScript, neg bool, _ []string) {
	if neg {
		ts.Fatalf("usage: nobody")
	}
	mark := []byte("WORK=" + ts.Getenv("WORK") + "\x00")
	waitFor(ts, "processes to be gone", func() bool {
		files, _ := filepath.Glob("/proc/[0-9]*/environ")
		return !slices.ContainsFunc(files, func(file string) bool {
			env, err := os.ReadFile(file)
			return err == nil && bytes.Contains(env, mark)
		})
	})
}

// waitFor repeats f until it holds.
func waitFor(ts *testscript.TestScript, what string, f func() bool) {
	for deadline := time.Now().Add(scriptLimit); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			ts.Fatalf("waited %s for %s", scriptLimit, what)
		}
	}
}
