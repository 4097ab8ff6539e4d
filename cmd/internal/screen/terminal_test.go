package screen

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockleak/sockleak/cmd/internal/pty"
	"github.com/sockleak/sockleak/diag"
)

// programEnv names the part that this test program plays when it is run again, on a terminal of its own.
const programEnv = "SOCKLEAK_SCREEN_TEST"

func TestMain(m *testing.M) {
	if part := os.Getenv(programEnv); part != "" {
		os.Exit(programs[part]())
	}
	os.Exit(m.Run())
}

var errLook = errors.New("the look has failed")

// programs are what runs on the terminal. The exit status is 0 where Run returns no error, 3 for that of a look.
var programs = map[string]func() int{
	"watch": func() int { return watch(context.Background(), filmed()) },
	"error": func() int {
		f := filmed()
		n := 0
		return watch(context.Background(), func(ctx context.Context) (*Frame, error) {
			if n++; n > 5 {
				return nil, errLook
			}
			return f(ctx)
		})
	},
	"cancelled": func() int {
		ctx, cancel := context.WithCancel(context.Background())
		f := filmed()
		n := 0
		return watch(ctx, func(c context.Context) (*Frame, error) {
			if n++; n == 3 {
				cancel()
				<-c.Done()
				return nil, c.Err()
			}
			return f(c)
		})
	},
	"panic in the look": func() int {
		f := filmed()
		n := 0
		return watch(context.Background(), func(ctx context.Context) (*Frame, error) {
			if n++; n > 5 {
				panic("made up")
			}
			return f(ctx)
		})
	},
	"panic in the screen": func() int {
		f := filmed()
		n := 0
		return watch(context.Background(), func(ctx context.Context) (*Frame, error) {
			frame, err := f(ctx)
			if n++; n > 5 {
				frame.Result.Findings = append(frame.Result.Findings, &diag.Finding{}) // of no process
			}
			return frame, err
		})
	},
	"shell": shell,
}

// watch runs the screen and counts the looks on stderr: no look may be under way when it is over.
func watch(ctx context.Context, sample Sample) int {
	var mu sync.Mutex // for the race detector: two looks at once would find it locked
	running := false
	err := Run(ctx, os.Stdin, os.Stdout, Options{Title: "leakscan 4242", Interval: 20 * time.Millisecond, Color: true}, func(ctx context.Context) (*Frame, error) {
		if !mu.TryLock() {
			panic("two looks at once")
		}
		defer mu.Unlock()
		running = true
		defer func() { running = false }()
		return sample(ctx)
	})
	switch {
	case running:
		return 4
	case errors.Is(err, errLook):
		return 3
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// session is a program on a terminal.
type session struct {
	t              *testing.T
	keys, terminal *os.File
	cmd            *exec.Cmd
	stderr         safeBuffer
	before         *unix.Termios
	done           chan struct{}

	mu     sync.Mutex
	output []byte
}

// safeBuffer may be read while it is written.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func start(t *testing.T, part string) *session {
	t.Helper()
	keys, terminal, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	s := &session{t: t, keys: keys, terminal: terminal, done: make(chan struct{})}
	if err := pty.Resize(terminal, 100, 30); err != nil {
		t.Fatal(err)
	}
	s.before = s.termios()
	s.cmd = exec.Command(os.Args[0])
	s.cmd.Env = append(os.Environ(), programEnv+"="+part, "TERM=xterm-256color", "LC_ALL=C.UTF-8")
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = terminal, terminal, &s.stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go s.read()
	t.Cleanup(func() {
		s.cmd.Process.Kill()
		s.keys.Close()
		s.terminal.Close()
	})
	return s
}

func (s *session) read() {
	defer close(s.done)
	buf := make([]byte, 4096)
	for {
		n, err := s.keys.Read(buf)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.output = append(s.output, buf[:n]...)
		s.mu.Unlock()
	}
}

func (s *session) termios() *unix.Termios {
	s.t.Helper()
	v, err := unix.IoctlGetTermios(int(s.terminal.Fd()), unix.TCGETS)
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

func (s *session) written() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.output)
}

// await waits until the condition holds of what was written.
func (s *session) await(what string, holds func(string) bool) {
	s.t.Helper()
	for end := time.Now().Add(30 * time.Second); !holds(s.written()); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			out := s.written()
			s.t.Fatalf("%s: not after 30 s; written at last:\n%q\n%s", what, out[max(len(out)-500, 0):], s.stderr.String())
		}
	}
}

func (s *session) awaitText(text string) {
	s.t.Helper()
	s.await(text, func(out string) bool { return strings.Contains(out, text) })
}

func (s *session) press(keys string) {
	s.t.Helper()
	if _, err := s.keys.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

// wait is the exit status.
func (s *session) wait() int {
	s.t.Helper()
	timer := time.AfterFunc(30*time.Second, func() { s.cmd.Process.Signal(syscall.SIGQUIT) })
	defer timer.Stop()
	err := s.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return s.cmd.ProcessState.ExitCode()
}

const (
	altOn, altOff       = "\x1b[?1049h", "\x1b[?1049l"
	cursorOff, cursorOn = "\x1b[?25l", "\x1b[?25h"
)

// restored checks that the terminal is as it was.
func (s *session) restored() {
	s.t.Helper()
	s.await("the last of the output", func(out string) bool { return strings.LastIndex(out, altOff) > strings.LastIndex(out, altOn) })
	if now := s.termios(); *now != *s.before {
		s.t.Errorf("terminal settings %+v, before %+v", now, s.before)
	}
	out := s.written()
	if !strings.Contains(out, altOn) || strings.LastIndex(out, cursorOn) < strings.LastIndex(out, cursorOff) {
		s.t.Errorf("the cursor does not come back: %q", out[max(len(out)-300, 0):])
	}
	for _, query := range []string{"\x1b[?u", "$p", "\x1b[c", "\x1b[6n", "\x1b]11;?"} {
		if strings.Contains(out, query) {
			s.t.Errorf("the terminal is asked something: %q", query)
		}
	}
	for _, m := range []string{"?2004", "?1000", "?1002", "?1003", "?1004", "?2026", "?2027"} {
		if strings.LastIndex(out, "\x1b["+m+"h") > strings.LastIndex(out, "\x1b["+m+"l") {
			s.t.Errorf("mode %s stays on", m)
		}
	}
}

func TestTerminalIsRestored(t *testing.T) {
	sig := func(n os.Signal) func(*session) { return func(s *session) { s.cmd.Process.Signal(n) } }
	keys := func(k string) func(*session) { return func(s *session) { s.press(k) } }
	for _, tt := range []struct {
		name, part string
		end        func(*session)
		status     int
		says       string // on stderr
	}{
		{"q", "watch", keys("q"), 0, ""},
		{"q behind keys", "watch", keys("\t\r\x1b[B?qq"), 0, ""},
		{"ctrl-c", "watch", keys("\x03"), 0, ""},
		{"SIGINT", "watch", sig(os.Interrupt), 0, ""},
		{"SIGTERM", "watch", sig(syscall.SIGTERM), 0, ""},
		{"SIGHUP", "watch", sig(syscall.SIGHUP), 0, ""},
		{"context", "cancelled", nil, 0, ""},
		{"error", "error", nil, 3, ""},
		{"panic in the look", "panic in the look", nil, 2, "made up"},
		{"panic in the screen", "panic in the screen", nil, 2, "nil pointer dereference"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, tt.part)
			if tt.end != nil {
				s.awaitText("proxy[4242]")
				tt.end(s)
			}
			status := s.wait()
			s.restored()
			if status != tt.status || !strings.Contains(s.stderr.String(), tt.says) || tt.says == "" && s.stderr.String() != "" {
				t.Errorf("exit status %d, want %d; stderr: %s", status, tt.status, s.stderr.String())
			}
		})
	}
}

// The terminal is closed under the program: there is nothing to restore, and it ends.
func TestTerminalIsClosed(t *testing.T) {
	s := start(t, "watch")
	s.awaitText("proxy[4242]")
	s.terminal.Close()
	s.keys.Close()
	if status := s.wait(); status != 0 {
		t.Errorf("exit status %d; stderr: %s", status, s.stderr.String())
	}
}

// A session leader cannot be stopped: it goes on.
func TestSuspendOfWhatCannotStop(t *testing.T) {
	s := start(t, "watch")
	s.awaitText("proxy[4242]")
	s.press("\x1a")
	s.await("the screen once more", func(out string) bool { return strings.Count(out, altOn) == 2 })
	s.press("q")
	if status := s.wait(); status != 0 {
		t.Errorf("exit status %d; stderr: %s", status, s.stderr.String())
	}
	s.restored()
}

// ctrl-z gives the shell its terminal back, and fg the screen.
func TestSuspend(t *testing.T) {
	s := start(t, "shell")
	s.awaitText("proxy[4242]")
	s.press("\x1a")
	s.awaitText("STOPPED")
	s.restored()
	s.press("fg\n")
	s.await("the screen once more", func(out string) bool { return strings.Count(out, altOn) == 2 })
	s.await("the picture once more", func(out string) bool {
		return strings.Contains(out[strings.LastIndex(out, altOn):], "proxy[4242]")
	})
	s.press("q")
	s.awaitText("ENDED 0")
	if status := s.wait(); status != 0 {
		t.Errorf("exit status %d; stderr: %s", status, s.stderr.String())
	}
	s.restored()
}

// shell runs the screen as a job, once into the background and back.
func shell() int {
	signal.Ignore(syscall.SIGTTOU) // it takes the terminal back
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), programEnv+"=watch")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Foreground: true, Ctty: 0}
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	pid := cmd.Process.Pid
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		fmt.Fprintln(os.Stderr, "not stopped:", err, status)
		return 1
	}
	foreground(os.Getpid())
	fmt.Println("STOPPED")
	line := make([]byte, 16)
	if n, err := os.Stdin.Read(line); err != nil || strings.TrimSpace(string(line[:n])) != "fg" {
		fmt.Fprintf(os.Stderr, "typed %q: %v\n", line[:n], err)
		return 1
	}
	foreground(pid)
	syscall.Kill(-pid, syscall.SIGCONT)
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	foreground(os.Getpid())
	fmt.Println("ENDED", status.ExitStatus())
	return 0
}

func foreground(group int) {
	if err := unix.IoctlSetPointerInt(0, unix.TIOCSPGRP, group); err != nil {
		fmt.Fprintln(os.Stderr, "foreground:", err)
	}
}

// A resize is followed, and what is written afterwards is for the new size.
func TestResize(t *testing.T) {
	s := start(t, "watch")
	s.awaitText("proxy[4242]")
	if err := pty.Resize(s.terminal, 60, 12); err != nil {
		t.Fatal(err)
	}
	s.await("all of the screen once more", func(out string) bool {
		_, after, _ := strings.Cut(out, "\x1b[2J")
		_, after, resized := strings.Cut(after, "\x1b[2J")
		return resized && strings.Contains(after, "proxy[4242]")
	})
	s.press("q")
	if status := s.wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	s.restored()
}

// Where nothing has changed, nothing is sent but what did.
func TestSendsOnlyChanges(t *testing.T) {
	s := start(t, "watch")
	s.awaitText("proxy[4242]")
	s.press(" ")
	s.awaitText("FROZEN")
	quiet, at := 0, len(s.written())
	for range 1000 {
		time.Sleep(10 * time.Millisecond)
		if n := len(s.written()); n == at {
			if quiet++; quiet == 20 {
				break
			}
		} else {
			quiet, at = 0, n
		}
	}
	if quiet < 20 {
		t.Error("a frozen screen is written again and again")
	}
	s.press("q")
	s.wait()
}

// Without keys, as where stdin is no terminal, the screen ends by signal.
func TestWithoutKeyboard(t *testing.T) {
	keys, terminal, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Close()
	defer terminal.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	go func() {
		buf := make([]byte, 4096)
		for {
			if _, err := keys.Read(buf); err != nil {
				return
			}
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	looks := 0
	err = Run(ctx, null, terminal, Options{Interval: time.Millisecond}, func(context.Context) (*Frame, error) {
		if looks++; looks == 3 {
			cancel()
		}
		return (&film{}).leaking(3), nil
	})
	if err != nil || looks != 3 {
		t.Errorf("%v after %d looks", err, looks)
	}
}

// openFiles counts the descriptors of this program.
func openFiles(t *testing.T) int {
	t.Helper()
	list, err := filepath.Glob("/proc/" + strconv.Itoa(os.Getpid()) + "/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// The screen leaves no descriptor open.
func TestLeavesNothingOpen(t *testing.T) {
	run := func() {
		ctx, cancel := context.WithCancel(t.Context())
		keys, terminal, err := pty.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer keys.Close()
		defer terminal.Close()
		go func() {
			buf := make([]byte, 4096)
			for {
				if _, err := keys.Read(buf); err != nil {
					return
				}
			}
		}()
		if err := Run(ctx, terminal, terminal, Options{Interval: time.Hour}, func(context.Context) (*Frame, error) {
			defer cancel()
			return (&film{}).leaking(3), nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	run() // the runtime opens some of its own
	before := openFiles(t)
	for range 5 {
		run()
	}
	for end := time.Now().Add(30 * time.Second); openFiles(t) > before; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d descriptors are open, %d were", openFiles(t), before)
		}
	}
}
