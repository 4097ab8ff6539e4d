package scan

import (
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/sockleak/sockleak/procfd"
)

// A reader who is shown no other process (hidepid, another PID namespace) reads none in vain either: the gap must not say that
// nobody holds the sockets.
func TestOwnerGaps(t *testing.T) {
	for _, tt := range []struct {
		name   string
		owned  procfd.Owned
		rights Rights
		want   string // "": no gap
	}{
		{"all found", procfd.Owned{}, Rights{Known: true}, ""},
		{"nobody", procfd.Owned{Missing: 3}, Rights{Known: true}, "no process has a descriptor on them"},
		{"hidden", procfd.Owned{Missing: 3}, Rights{Known: true, Mount: procfd.ProcMount{HidePID: 2}}, "hidepid=2"},
		{"elsewhere", procfd.Owned{Missing: 3}, Rights{Known: true, Confined: procfd.Confined{PID: true}}, "--pid=host"},
		{"denied", procfd.Owned{Missing: 3, Unread: []procfd.Unread{{PID: 1, Err: fs.ErrPermission}}}, ordinary(), "one process may not be read: needs CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE: run as root"},
		{"links denied", procfd.Owned{Missing: 3, Unread: []procfd.Unread{{PID: 1, Descriptors: 2, Err: fs.ErrPermission}}}, ordinary(), "one process may not be read: needs CAP_SYS_PTRACE: run as root"},
		{"broken", procfd.Owned{Missing: 3, Unread: []procfd.Unread{{PID: 1, Err: io.ErrUnexpectedEOF}}}, ordinary(), "could not be read: unexpected EOF"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			gaps := ownerGaps(&tt.owned, func() *Rights { return &tt.rights })
			switch {
			case tt.want == "" && len(gaps) > 0:
				t.Errorf("gaps %v, want none", gaps)
			case tt.want != "" && (len(gaps) != 1 || gaps[0].Count != 3 || !strings.Contains(gaps[0].Why, tt.want)):
				t.Errorf("gaps %v, want one of 3 with %q", gaps, tt.want)
			}
		})
	}
}
