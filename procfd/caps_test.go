package procfd

import "testing"

func TestCapabilities(t *testing.T) {
	for _, tt := range []struct {
		set  Capabilities
		want string
	}{
		{0, "none"},
		{SysPtrace, "CAP_SYS_PTRACE"},
		{SysPtrace | DACReadSearch, "CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE"},
		{SysPtrace | NetAdmin | 1<<63, "CAP_NET_ADMIN, CAP_SYS_PTRACE and CAP_63"},
		{DACOverride | SysAdmin | BPF | Perfmon, "CAP_DAC_OVERRIDE, CAP_SYS_ADMIN, CAP_PERFMON and CAP_BPF"},
	} {
		if got := tt.set.String(); got != tt.want {
			t.Errorf("%#x is %q, want %q", uint64(tt.set), got, tt.want)
		}
	}
	if c, ok := ParseCapabilities("cap_sys_ptrace, DAC_READ_SEARCH"); !ok || c != SysPtrace|DACReadSearch {
		t.Errorf("parsed %v, %v", c, ok)
	}
	if _, ok := ParseCapabilities("cap_sys_everything"); ok {
		t.Error("an unknown name was taken")
	}
}
