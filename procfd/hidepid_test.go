package procfd

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestProcMount(t *testing.T) {
	const plain = "22 1 0:20 / /proc rw,relatime shared:5 - proc proc rw\n"
	for _, tt := range []struct {
		name, text, root string
		want             ProcMount
	}{
		{"plain", plain, "/proc", ProcMount{}},
		{"numbers", "22 1 0:20 / /proc rw - proc proc rw,gid=4,hidepid=2\n", "/proc", ProcMount{HidePID: 2, GID: 4}},
		{"names", "22 1 0:20 / /proc rw - proc proc rw,hidepid=ptraceable,subset=pid\n", "/proc", ProcMount{HidePID: 4, PIDOnly: true}},
		{"the last counts", plain + "30 1 0:9 / /proc rw - proc proc rw,hidepid=invisible\n", "/proc", ProcMount{HidePID: 2}},
		{"elsewhere", plain + "30 1 0:9 / /host/proc rw - proc proc rw,hidepid=noaccess\n", "/host/proc", ProcMount{HidePID: 1}},
		{
			"masked", plain + "31 22 0:30 / /proc/kcore rw - tmpfs tmpfs rw\n32 22 0:31 / /proc/a\\040b ro - tmpfs tmpfs rw\n" +
				"33 22 0:32 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 rw\n34 1 0:33 / /process rw - tmpfs tmpfs rw\n", "/proc",
			ProcMount{Masked: []string{"kcore", "a b"}},
		},
		{"a long line", plain + strings.Repeat("x", 3*mostMountLine) + "\n31 22 0:30 / /proc/kcore rw - tmpfs tmpfs rw\n", "/proc", ProcMount{Masked: []string{"kcore"}}},
	} {
		if got, err := parseProcMount(strings.NewReader(tt.text), tt.root); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, %v, want %+v", tt.name, got, err, tt.want)
		}
	}
	for _, text := range []string{"", "22 1 0:20 / /proc rw\n", "22 1 0:20 / /proc rw - tmpfs tmpfs rw\n", plain + "30 1 0:9 / /proc rw - tmpfs x rw\n"} {
		if got, err := parseProcMount(strings.NewReader(text), "/proc"); !errors.Is(err, ErrNoMount) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

func FuzzProcMount(f *testing.F) {
	f.Add("22 1 0:20 / /proc rw,relatime shared:5 - proc proc rw,gid=4,hidepid=2,subset=pid\n31 22 0:30 / /proc/k\\040e rw - tmpfs tmpfs rw\n")
	f.Fuzz(func(t *testing.T, text string) {
		if m, err := parseProcMount(strings.NewReader(text), "/proc"); err == nil && (m.HidePID < 0 || m.GID < 0 || len(m.Masked) > MaxMounts) {
			t.Errorf("%+v", m)
		}
	})
}

func TestYama(t *testing.T) {
	for text, want := range map[string]int{"0\n": 0, "3\n": 3, "": NoYama, "x": NoYama, "-1": NoYama, "77": NoYama} {
		f := tree{"sys/kernel/yama/ptrace_scope": text}.mount(t)
		if got := f.Yama(); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}
