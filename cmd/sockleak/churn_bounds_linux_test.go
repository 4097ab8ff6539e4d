package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockleak/sockleak/cmd/internal/scan"
	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/procfd"
)

// The main thread is that of the crowd's leader, which may have to exit.
func init() { runtime.LockOSThread() }

// churnCrowd is a process of many threads that holds 3 connections which its peer, the server, has closed. With the argument "leaderless"
// its main thread has exited.
func churnCrowd() error {
	threads, _ := strconv.Atoi(os.Args[2])
	debug.SetMaxThreads(threads + 1000)
	for range crowdLeaks {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := unix.Connect(fd, toServer()); err != nil {
			return err
		}
		_, _ = unix.Write(fd, []byte("f"))
		_, _ = unix.Read(fd, make([]byte, 1))
	}
	var asleep [2]int
	if err := unix.Pipe2(asleep[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	var began sync.WaitGroup
	for range threads {
		began.Add(1)
		go func() {
			runtime.LockOSThread()
			began.Done()
			_, _, _ = unix.Syscall(unix.SYS_PPOLL, 0, 0, 0) // for ever
		}()
	}
	began.Wait()
	ready("")
	if len(os.Args) > 3 {
		unix.RawSyscall(unix.SYS_EXIT, 0, 0, 0)
	}
	forEver(0, nil)
	return nil
}

const crowdLeaks = 3

// A process of thousands of threads is read in full, and is where its leader has exited: then its files are empty, and a thread's are read.
func TestManyThreads(t *testing.T) {
	threads := 1000
	if n, err := strconv.Atoi(os.Getenv("SOCKLEAK_BOUNDS_THREADS")); err == nil {
		threads = n
	}
	s := &stage{}
	defer s.end()
	port, err := s.play("peer")
	must(t, err)
	fs, err := procfd.New("/proc")
	must(t, err)
	kinds := map[string]string{"auto": "sock_diag"} // and where it reads a process of which the iterators can tell
	if scan.TryIterators(fs) == nil {
		kinds[scan.SourceBPF] = diag.SourceIterators
	}
	for _, extra := range [][]string{nil, {"leaderless"}} {
		_, err := s.play("crowd", append([]string{port, strconv.Itoa(threads)}, extra...)...)
		must(t, err)
		for kind, listed := range kinds {
			if extra != nil {
				listed = "sock_diag" // which is said of it, whatever the others are read from
			}
			manyThreads(t, fs, s.pids[len(s.pids)-1], threads, kind, listed)
		}
	}
}

func manyThreads(t *testing.T, fs *procfd.FS, pid, threads int, kind, listed string) {
	source := &scan.Source{Kind: kind, FS: fs, Detail: func(string, ...any) {}}
	one := &scan.Scan{Source: source, PIDs: []int{pid}, Thresholds: diag.Thresholds{Idle: time.Hour, Grace: time.Millisecond, Settle: time.Millisecond}, Rules: diag.Rules()}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	r, err := one.Run(context.Background())
	must(t, err)
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	p, leaked := r.Procs()[0], 0
	for _, f := range r.Findings {
		if f.Rule == "close-wait" && f.Severity == diag.Leak {
			leaked += f.Sockets
		}
	}
	t.Logf("%d threads by %s: %v, %d KiB allocated; gaps %v", p.Threads, kind, took, (after.TotalAlloc-before.TotalAlloc)>>10, r.Gaps)
	if leaked != crowdLeaks || p.Threads < threads || p.Source() != listed {
		t.Errorf("by %s: %d leaked of %d, %d threads of %d, from %s, want %s", kind, leaked, crowdLeaks, p.Threads, threads, p.Source(), listed)
	}
}
