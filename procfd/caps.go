package procfd

import (
	"slices"
	"strconv"
	"strings"
)

// Capabilities is a set of them, each a bit with the kernel's number.
type Capabilities uint64

// The capabilities that show more of other processes and of their sockets, see capabilities(7).
const (
	DACOverride   Capabilities = 1 << 1
	DACReadSearch Capabilities = 1 << 2  // list /proc/PID/fd
	NetAdmin      Capabilities = 1 << 12 // marks of sockets
	SysPtrace     Capabilities = 1 << 19 // read what the descriptors are, and borrow them
	SysAdmin      Capabilities = 1 << 21 // enter network namespaces
	BPF           Capabilities = 1 << 39
	Perfmon       Capabilities = 1 << 38
)

// capabilityNames are in the order of their numbers.
var capabilityNames = strings.Fields(`chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable
	net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct
	sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap mac_override
	mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore`)

// Has reports whether all of want are in the set.
func (c Capabilities) Has(want Capabilities) bool { return c&want == want }

// Names are those of the set, as setcap(8) writes them: cap_sys_ptrace. One that this program has no name for is cap_N.
func (c Capabilities) Names() []string {
	var names []string
	for i := range 64 {
		switch {
		case c&(1<<i) == 0:
		case i < len(capabilityNames):
			names = append(names, "cap_"+capabilityNames[i])
		default:
			names = append(names, "cap_"+strconv.Itoa(i))
		}
	}
	return names
}

// String is the names as capabilities(7) has them, "CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE"; "none" of an empty set.
func (c Capabilities) String() string {
	names := c.Names()
	for i := range names {
		names[i] = strings.ToUpper(names[i])
	}
	last := len(names) - 1
	switch {
	case last < 0:
		return "none"
	case last == 0:
		return names[0]
	}
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

// ParseCapabilities reads names as they are written in a command line; ok is false where one is not known.
func ParseCapabilities(list string) (c Capabilities, ok bool) {
	for name := range strings.SplitSeq(list, ",") {
		i := slices.Index(capabilityNames, strings.TrimPrefix(strings.ToLower(strings.TrimSpace(name)), "cap_"))
		if i < 0 {
			return 0, false
		}
		c |= 1 << i
	}
	return c, true
}
