package procfd

import "testing"

// Where the files of namespaces are none of the kernel's own for them, their numbers tell nothing.
func TestOneNetns(t *testing.T) {
	f := tree{"self/ns/net": "-> net:[7]", "5/ns/net": "-> net:[8]", "6/ns/net": "-> net:[9]"}.mount(t)
	if f.OneNetns() {
		t.Error("links alone are taken for files of a proc filesystem")
	}
	f = tree{"self/ns/net": "-> /proc/version", "5/ns/net": "-> net:[8]", "6/ns/net": "-> net:[9]", "7/ns/net": "-> what"}.mount(t)
	five, err5 := f.NetnsOf(5)
	six, err6 := f.NetnsOf(6)
	_, err7 := f.NetnsOf(7)
	if !f.OneNetns() || five != six || five == 0 || err5 != nil || err6 != nil || err7 == nil {
		t.Errorf("%v: %d, %v and %d, %v; of no namespace: %v", f.OneNetns(), five, err5, six, err6, err7)
	}
}
