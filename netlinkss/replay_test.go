package netlinkss

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
)

// dumpDir has recorded dumps, beside each what it says.
const dumpDir = "../testdata/dump"

func recordedDumps(t testing.TB) []string {
	t.Helper()
	littleEndian(t)
	files, err := filepath.Glob(filepath.Join(dumpDir, "*.nl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded dumps in %s: %v", dumpDir, err)
	}
	return files
}

// replayText is one line a socket, and one for the error at the end.
func replayText(r io.Reader) string {
	var b strings.Builder
	for s, err := range Replay(r) {
		if err != nil {
			fmt.Fprintf(&b, "error: %v\n", err)
			continue
		}
		fmt.Fprintln(&b, text(s))
	}
	return b.String()
}

func TestReplayGolden(t *testing.T) {
	for _, file := range recordedDumps(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			dump, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := replayText(bytes.NewReader(dump))
			golden := strings.TrimSuffix(file, ".nl") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			// How the bytes arrive changes nothing.
			if slow := replayText(iotest.OneByteReader(bytes.NewReader(dump))); slow != got {
				t.Errorf("byte by byte:\n%s", slow)
			}
			if last := replayText(iotest.DataErrReader(bytes.NewReader(dump))); last != got {
				t.Errorf("with the end beside the last bytes:\n%s", last)
			}
		})
	}
}

// Every recorded socket survives encoding.
func TestReplayRoundTrip(t *testing.T) {
	for _, file := range recordedDumps(t) {
		dump, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for s, err := range Replay(bytes.NewReader(dump)) {
			if err != nil {
				break // one of those that were cut
			}
			var again Socket
			if err := Decode(AppendEncode(nil, s), &again); err != nil || again != *s {
				t.Errorf("%s: error %v\ngot  %s\nwant %s", file, err, text(&again), text(s))
			}
		}
	}
}

// A dump that ends before its end gives the sockets up to there, and ErrTruncated wherever that is.
func TestReplayCutAnywhere(t *testing.T) {
	dump := cat(nlmsg(msgTCPDiag, 2, 1, recordOf(1)...), nlmsg(msgByFamily, 2, 1, recordOf(2)...), doneMsg(1, 0))
	one := len(nlmsg(msgByFamily, 2, 1, recordOf(1)...))
	whole := map[int]bool{0: true, len(dump): true}
	for n := range len(dump) + 1 {
		sockets, err := replayAll(dump[:n])
		if sockets != min(n/one, 2) {
			t.Errorf("%d bytes: %d sockets, want %d", n, sockets, min(n/one, 2))
		}
		if whole[n] && err != nil || !whole[n] && !errors.Is(err, ErrTruncated) {
			t.Errorf("%d bytes: error %v", n, err)
		}
	}
}

func replayAll(dump []byte) (sockets int, err error) {
	for s, e := range Replay(bytes.NewReader(dump)) {
		if e != nil {
			if s != nil {
				e = fmt.Errorf("a socket beside the error %w", e)
			}
			return sockets, e
		}
		sockets++
	}
	return sockets, nil
}

func TestReplay(t *testing.T) {
	rec := nlmsg(msgByFamily, 2, 1, recordOf(1)...)
	unpadded := nlmsg(msgByFamily, 2, 1, v4Record(nlattr(5, 7)[:5])...)
	unpadded = unpadded[:native.Uint32(unpadded)]
	for _, c := range []struct {
		name    string
		dump    []byte
		sockets int
		want    error
	}{
		{"nothing", nil, 0, nil},
		{"no end", cat(rec, rec), 2, ErrTruncated},
		{"an end and one record more", cat(rec, doneMsg(1, 0), rec), 2, ErrTruncated},
		{"two dumps in a row", cat(rec, doneMsg(1, 0), rec, rec, doneMsg(2, 0)), 3, nil},
		{"other messages", cat(nlmsg(1, 0, 1), rec, nlmsg(99, 0, 1, 1, 2, 3), rec, doneMsg(1, 0)), 2, nil},
		{"last padding missing", cat(rec, unpadded), 2, ErrTruncated},
		{"an error of the kernel", cat(rec, errorMsg(1, -1), rec), 1, syscall.EPERM},
		{"an acknowledgement", cat(rec, errorMsg(1, 0), rec, doneMsg(1, 0)), 2, nil},
		{"an error without a number", cat(rec, nlmsg(msgError, 0, 1, 1, 2), rec, doneMsg(1, 0)), 2, nil},
		{"an end that failed", cat(rec, doneMsg(1, -105)), 1, syscall.ENOBUFS},
		{"interrupted", cat(nlmsg(msgByFamily, 2|nlmFDumpIntr, 1, recordOf(1)...), doneMsg(1, 0)), 1, ErrInterrupted},
		{"length of 15", cat(rec, u32s(15, 0, 0, 0)), 1, ErrMalformed},
		{"length of 0", cat(rec, u32s(0, 0, 0, 0)), 1, ErrMalformed},
		{"length over the limit", cat(rec, u32s(maxRecord+1, 0, 0, 0), zeros(maxRecord)), 1, ErrMalformed},
		{"length of 2³²-1", cat(rec, u32s(1<<32-1, 0, 0, 0)), 1, ErrMalformed},
		{"length at the limit", cat(rec, u32s(maxRecord, 99, 0, 0), zeros(maxRecord-16), rec, doneMsg(1, 0)), 2, nil},
		{"a record cut by its length", cat(rec, nlmsg(msgByFamily, 2, 1, v4Record()[:40]...), rec), 1, ErrMalformed},
		{"a record of AF_UNIX", cat(rec, nlmsg(msgByFamily, 2, 1, append([]byte{1}, v4Record()[1:]...)...)), 1, ErrMalformed},
		{"of the other byte order", cat(rec, []byte{0, 0, 0, 88, 0, 20, 0, 2}, zeros(8)), 1, ErrMalformed},
		{"text", []byte("State Recv-Q Send-Q Local Address:Port\n"), 0, ErrMalformed},
	} {
		sockets, err := replayAll(c.dump)
		if sockets != c.sockets || !errors.Is(err, c.want) {
			t.Errorf("%s: %d sockets, error %v, want %d, %v", c.name, sockets, err, c.sockets, c.want)
		}
	}
}

// The error says where in the file.
func TestReplayErrorPosition(t *testing.T) {
	rec := nlmsg(msgByFamily, 2, 1, recordOf(1)...)
	_, err := replayAll(cat(rec, rec, u32s(3, 0, 0, 0)))
	if want := fmt.Sprintf("replay at byte %d: ", 2*len(rec)); err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s…", err, want)
	}
}

func TestReplayReaderFails(t *testing.T) {
	rec := nlmsg(msgByFamily, 2, 1, recordOf(1)...)
	for _, n := range []int{0, 10, 16, 60, len(rec), len(rec) + 20} {
		file := io.MultiReader(bytes.NewReader(cat(rec, rec)[:n]), iotest.ErrReader(syscall.EIO))
		var last error
		for _, last = range Replay(file) {
		}
		if !errors.Is(last, syscall.EIO) {
			t.Errorf("after %d bytes: error %v, want EIO", n, last)
		}
	}
}

func TestReplayBreak(t *testing.T) {
	rec := nlmsg(msgByFamily, 2, 1, recordOf(1)...)
	file := bytes.NewReader(bytes.Repeat(rec, 10000))
	for range Replay(file) {
		break
	}
	if file.Len() < 9000*len(rec) {
		t.Error("read on after the loop was left")
	}
}

func TestReplayAllocatesNothingPerSocket(t *testing.T) {
	rec := nlmsg(msgByFamily, 2, 1, recordOf(1)...)
	allocs := func(n int) float64 {
		dump := cat(bytes.Repeat(rec, n), doneMsg(1, 0))
		return testing.AllocsPerRun(5, func() {
			if got, err := replayAll(dump); got != n || err != nil {
				t.Errorf("%d sockets, error %v", got, err)
			}
		})
	}
	if few, many := allocs(1), allocs(2000); few != many {
		t.Errorf("%v allocations for one socket, %v for 2000", few, many)
	}
}
