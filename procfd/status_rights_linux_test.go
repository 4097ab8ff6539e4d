package procfd

import (
	"reflect"
	"testing"
)

// The reader's own are those of a process with its number.
func TestKernelOwnCredentials(t *testing.T) {
	f := liveFS(t)
	own, err := f.Credentials(0)
	if err != nil {
		t.Fatal(err)
	}
	pid := own.PIDs[0]
	if same, err := f.Credentials(pid); err != nil || !reflect.DeepEqual(own, same) {
		t.Errorf("%+v, of %d %+v, %v", own, pid, same, err)
	}
	if soft, hard, err := f.Limits(); err != nil || soft == 0 || hard < soft {
		t.Errorf("limits %d, %d, %v", soft, hard, err)
	}
	if m := f.UIDMap(); m == "" {
		t.Error("no map of users")
	}
}
