package report

import (
	"strings"
	"testing"
	"time"

	"github.com/sockleak/sockleak/procfd"
)

// exam is an examination with every state, of a host and a program of those names.
func exam(host, binary string) *Exam {
	return &Exam{
		At: noon, Host: procfd.Host{Name: host, Kernel: webHost.Kernel}, Took: 12 * time.Millisecond,
		Checks: []ExamCheck{
			{"kernel", "sock_diag", ExamOK, "lists sockets", ""},
			{"kernel", "CGROUP_ID", ExamNo, "no", "sockets are not told by cgroup (Linux 5.9)"},
			{"kernel", "module tcp_diag", ExamPart, "a file, not loaded", "modprobe tcp_diag"},
			{"who runs it", "binary", ExamNote, "/usr/bin/" + binary, ""},
		},
		Commands: []ExamCommand{
			{"tcpstat", ExamOK, "", ""},
			{"leakscan of every process (--all)", ExamPart, "the descriptors of 3 of 9 processes may not be read", "run " + binary + " as root"},
			{"tcpstat --by process", ExamPart, "the descriptors of 3 of 9 processes may not be read", "run " + binary + " as root"},
			{"other network namespaces", ExamNo, "they may not be entered", "needs CAP_SYS_ADMIN"},
			{"BPF iterators", ExamNote, "not yet used", ""},
		},
	}
}

// People read each remedy once.
func TestDoctorRemedies(t *testing.T) {
	out := string(write(t, "table", Doctor(exam("web-1", "app")), Options{}))
	for _, remedy := range []string{"run app as root", "needs CAP_SYS_ADMIN"} {
		if n := strings.Count(out, remedy); n != 1 {
			t.Errorf("%q stands there %d times:\n%s", remedy, n, out)
		}
	}
}

func TestExamWorks(t *testing.T) {
	for state, want := range map[ExamState]bool{ExamNote: true, ExamOK: true, ExamPart: false, ExamNo: false} {
		if got := (&Exam{Commands: []ExamCommand{{State: ExamOK}, {State: state}}}).Works(); got != want {
			t.Errorf("state %d: %v", state, got)
		}
	}
}
