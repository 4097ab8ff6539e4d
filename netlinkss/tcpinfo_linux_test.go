package netlinkss

import (
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The struct is copied from the kernel's bytes, so its layout is the decoder.
func TestTCPInfoLayout(t *testing.T) {
	theirs := fieldsByName(reflect.TypeFor[unix.TCPInfo]())
	ours := reflect.TypeFor[TCPInfo]()
	matched := 0
	var next uintptr
	for f := range fields(ours) {
		if f.Offset != next {
			t.Errorf("%s: offset %d, want %d: padding", f.Name, f.Offset, next)
		}
		next = f.Offset + f.Type.Size()
		their, ok := theirs[fold(f.Name)]
		if !ok {
			continue
		}
		matched++
		if f.Offset != their.Offset || f.Type.Kind() != their.Type.Kind() {
			t.Errorf("%s: %v at %d, the kernel has %v at %d", f.Name, f.Type, f.Offset, their.Type, their.Offset)
		}
	}
	if next != unsafe.Sizeof(TCPInfo{}) {
		t.Errorf("size %d, the fields end at %d", unsafe.Sizeof(TCPInfo{}), next)
	}
	// The two bytes of bit fields have no name in the other struct.
	if want := ours.NumField() - 2; matched != want {
		t.Errorf("%d fields have the kernel's name, want %d", matched, want)
	}
	if end := unsafe.Offsetof(unix.TCPInfo{}.Total_rto_time) + 4; end != next {
		t.Errorf("ends at %d, total_rto_time at %d", next, end)
	}
	if w, f := unsafe.Offsetof(TCPInfo{}.WScale), unsafe.Offsetof(TCPInfo{}.Flags); w != 6 || f != 7 {
		t.Errorf("bit fields at %d and %d, want 6 and 7", w, f)
	}
}

func fields(t reflect.Type) func(func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		for i := range t.NumField() {
			if !yield(t.Field(i)) {
				return
			}
		}
	}
}

func fieldsByName(t reflect.Type) map[string]reflect.StructField {
	m := map[string]reflect.StructField{}
	for f := range fields(t) {
		m[fold(f.Name)] = f
	}
	return m
}

// fold takes off what differs between LastDataSent and Last_data_sent.
func fold(name string) string { return strings.ToLower(strings.ReplaceAll(name, "_", "")) }

func TestInfoHas(t *testing.T) {
	var i TCPInfo
	for _, c := range []struct {
		name string
		has  int
		end  uintptr
	}{
		{"InfoHasClocks", InfoHasClocks, unsafe.Offsetof(i.LastAckRecv) + 4},
		{"InfoHasDataSegs", InfoHasDataSegs, unsafe.Offsetof(i.DataSegsOut) + 4},
		{"InfoHasBytes", InfoHasBytes, unsafe.Offsetof(i.BytesRetrans) + 8},
		{"InfoHasSndWnd", InfoHasSndWnd, unsafe.Offsetof(i.SndWnd) + 4},
	} {
		if c.has != int(c.end) {
			t.Errorf("%s is %d, the field ends at %d", c.name, c.has, c.end)
		}
	}
}
