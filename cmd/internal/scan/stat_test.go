package scan

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/sockleak/sockleak/procfd"
)

// A reader who is shown no other process (hidepid, another PID namespace) reads none in vain either: the gap must not say that
// nobody holds the sockets.
func TestOwnerGaps(t *testing.T) {
	for _, tt := range []struct {
		name  string
		owned procfd.Owned
		want  string // "": no gap
	}{
		{"all found", procfd.Owned{}, ""},
		{"none that can be seen", procfd.Owned{Missing: 3}, "hidden"},
		{"denied", procfd.Owned{Missing: 3, Unread: []procfd.Unread{{PID: 1, Err: fs.ErrPermission}}}, "one process may not be read"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			gaps := ownerGaps(&tt.owned)
			switch {
			case tt.want == "" && len(gaps) > 0:
				t.Errorf("gaps %v, want none", gaps)
			case tt.want != "" && (len(gaps) != 1 || gaps[0].Count != 3 || !strings.Contains(gaps[0].Why, tt.want)):
				t.Errorf("gaps %v, want one of 3 with %q", gaps, tt.want)
			}
		})
	}
}
