package procfd

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestRecognise(t *testing.T) {
	nobody := &FS{root: "/nonexistent"}
	for _, tt := range []struct {
		exe  string
		args []string
		want string
	}{
		{"/usr/bin/node", nil, "node"},
		{"/usr/bin/nodejs", nil, "node"},
		{"/opt/bun/bin/bun", nil, "node"},
		{"/usr/bin/python3.11", nil, "python"},
		{"/usr/bin/python3", []string{"/usr/bin/node"}, "python"}, // the executable knows better
		{"/usr/bin/pypy3.10", nil, "python"},
		{"/usr/sbin/php-fpm8.2", nil, "php"},
		{"/usr/lib/jvm/java-17/bin/java", nil, "java"},
		{"/usr/lib/postgresql/15/bin/postgres", nil, "postgres"},
		{"/usr/bin/redis-server", nil, "redis"},
		{"/usr/local/bin/ruby-3.2", nil, "ruby"},
		{"/usr/bin/ruby3.1", nil, "ruby"},
		{"/usr/bin/deno", nil, "node"},
		{"/usr/lib/erlang/erts-13.1.5/bin/beam.smp", nil, "erlang"},
		{"/usr/share/dotnet/dotnet", nil, "dotnet"},
		{"/usr/bin/perl5.36", nil, "perl"},
		{"/usr/lib/openssh/sshd-session", nil, "sshd"},
		{"/usr/sbin/sshd", nil, "sshd"},
		{"/usr/sbin/mariadbd", nil, "mysql"},
		{"/usr/local/bin/envoy", nil, "envoy"},
		{"/usr/bin/nodeX", nil, ""},
		{"/usr/bin/sleep", []string{"node"}, ""},

		// The executable may not be seen: what the process calls itself must do.
		{"", []string{"/usr/bin/python3.12", "x.py"}, "python"},
		{"", []string{"nginx: master process /usr/sbin/nginx"}, "nginx"},
		{"", []string{"php-fpm: pool www"}, "php"},
		{"", []string{"postgres: checkpointer"}, "postgres"},
		{"", []string{"/usr/bin/redis-server *:6379"}, "redis"},
		{"", []string{"/opt/my app/bin/node"}, "node"},
		{"", []string{""}, ""},
		{"", []string{"7.7"}, ""},
		{"", nil, ""},
	} {
		if got := nobody.recognise(&Process{PID: 42, Exe: tt.exe, Args: tt.args}); got != tt.want {
			t.Errorf("%q %q: %q, want %q", tt.exe, tt.args, got, tt.want)
		}
	}
}

func TestRecogniseGo(t *testing.T) {
	exe, err := os.Executable()
	must(t, err)
	// Go tells by what is in the executable, under whatever name it runs.
	p := process42().with(tree{"42/exe": "-> " + exe}).read42(t)
	if p.Runtime != "go" {
		t.Errorf("the runtime of a Go binary is %q", p.Runtime)
	}
}

// An executable is read once, and again when it is another.
func TestRecogniseOnce(t *testing.T) {
	exe := filepath.Join(t.TempDir(), "payments")
	self, err := os.Executable()
	must(t, err)
	must(t, os.Symlink(self, exe))
	f := process42().with(tree{"42/exe": "-> " + exe}).mount(t)
	for range 3 {
		if !f.isGo(42) || len(f.executables) != 1 {
			t.Fatalf("%d executables were read", len(f.executables))
		}
	}
	must(t, os.Remove(exe))
	must(t, os.WriteFile(exe, []byte("#!/bin/sh\n"), 0o755))
	if f.isGo(42) || len(f.executables) != 2 {
		t.Errorf("another file by the name: %d executables were read", len(f.executables))
	}
}

// holes is an executable with so much in front, and zeros without end behind that. It counts what is read.
type holes struct {
	front []byte
	read  int
}

func (h *holes) ReadAt(b []byte, at int64) (int, error) {
	h.read += len(b)
	clear(b)
	if at < int64(len(h.front)) {
		copy(b, h.front[at:])
	}
	return len(b), nil
}

// hugeELF is an executable whose build information is said to have a terabyte, in a segment of that size, and which goes on with data.
func hugeELF(data []byte) []byte {
	const header, segment, section, names, addr, size = 64, 56, 64, "\x00.go.buildinfo\x00", 0x1000, 1 << 40
	le := binary.LittleEndian
	u16 := func(b []byte, list ...uint16) []byte {
		for _, v := range list {
			b = le.AppendUint16(b, v)
		}
		return b
	}
	u64 := func(b []byte, list ...uint64) []byte {
		for _, v := range list {
			b = le.AppendUint64(b, v)
		}
		return b
	}
	strings := uint64(header + segment + 3*section)
	at := strings + uint64(len(names))
	b := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 9)...)
	b = u16(b, 2, 62, 1, 0)                                                 // ET_EXEC, EM_X86_64, version
	b = u64(b, addr, header, header+segment)                                // entry, segments, sections
	b = u16(b, 0, 0, header, segment, 1, section, 3, 2)                     // flags, sizes and numbers
	b = u64(u16(b, 1, 0, 4, 0), at, addr, addr, size, size, 1)              // PT_LOAD, PF_R
	b = append(b, make([]byte, section)...)                                 // the first is none
	b = u64(u16(b, 1, 0, 1, 0), 3, addr, at, size, 0, 16, 0)                // SHT_PROGBITS
	b = u64(u16(b, 0, 0, 3, 0), 0, 0, strings, uint64(len(names)), 0, 1, 0) // SHT_STRTAB
	return append(append(b, names...), data...)
}

// The sizes in an executable are its author's: neither a search nor a string in it is followed for ever.
func TestRecogniseHuge(t *testing.T) {
	information := append([]byte("\xff Go buildinf:\x08\x02"), make([]byte, 16)...)
	for name, data := range map[string][]byte{
		"no build information": nil,
		"a string without end": binary.AppendUvarint(information, 1<<39),
	} {
		h := &holes{front: hugeELF(data)}
		if builtByGo(h) {
			t.Errorf("%s: it is taken for one of Go", name)
		}
		if h.read > mostExecutable || h.read < 1<<10 {
			t.Errorf("%s: %d bytes were read", name, h.read)
		}
	}
	small := &holes{front: hugeELF(append(binary.AppendUvarint(information, 5), "go1.0\x00"...))}
	if !builtByGo(small) {
		t.Error("build information that is no longer than it says was not found")
	}
}

func FuzzBuiltByGo(f *testing.F) {
	f.Add(hugeELF(nil))
	f.Add(hugeELF(binary.AppendUvarint(append([]byte("\xff Go buildinf:\x08\x02"), make([]byte, 16)...), 1<<39)))
	f.Fuzz(func(t *testing.T, b []byte) {
		h := &holes{front: b}
		_ = builtByGo(h)
		if h.read > mostExecutable {
			t.Errorf("%d bytes were read", h.read)
		}
	})
}

const mapsOfJava = `55e0a0000000-55e0a0001000 r-xp 00000000 08:01 131 /opt/launcher
7f0000000000-7f0000001000 rw-p 00000000 00:00 0
7f0000001000-7f0000002000 r-xp 00000000 08:01 132 /usr/lib/x86_64-linux-gnu/libpython3.11.so.1.0
7f0000002000-7f0000003000 r-xp 00000000 08:01 133 /usr/lib/jvm/java-17/lib/server/libjvm.so (deleted)
7ffd00000000-7ffd00001000 r-xp 00000000 00:00 0 [vdso]
`

func TestRecogniseLibraries(t *testing.T) {
	for _, tt := range []struct{ maps, want string }{
		{mapsOfJava, "java"},
		{"0-1 r--p 0 8:1 1 /usr/lib/libruby-3.1.so.3.1\n", "ruby"},
		{"0-1 r--p 0 8:1 1 /opt/app/libcoreclr.so", "dotnet"}, // no line end
		{"0-1 r--p 0 8:1 1 /usr/lib/apache2/modules/libphp8.2.so\n", "php"},
		{"0-1 r--p 0 8:1 1 /usr/lib/libnode.so.108\n", "node"},
		{"0-1 r--p 0 8:1 1 /usr/lib/libperl.so.5.36\n", "perl"},
		{"0-1 r--p 0 8:1 1 /usr/share/doc/libpython3/README\n0-1 r--p 0 8:1 1 /srv/libphp.txt\n", ""},
		{"libjvm.so\n", ""},
		{strings.Repeat("0-1 r--p 0 8:1 1 /x\n", mostMaps/20+1) + "0-1 r--p 0 8:1 1 /libjvm.so\n", ""},
		{"", ""},
		{absent, ""},
	} {
		if got := process42().with(tree{"42/maps": tt.maps}).read42(t).Runtime; got != tt.want {
			t.Errorf("%.200q: %q, want %q", tt.maps, got, tt.want)
		}
	}
}

func TestEachLine(t *testing.T) {
	long := strings.Repeat("y", 4<<10)
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"", nil}, {"a", []string{"a"}}, {"a\n\nb\n", []string{"a", "", "b"}},
		{long + "rest\nb", []string{long, "b"}}, {long + long + "\n", []string{long}}, {long[1:] + "\nb", []string{long[1:], "b"}},
	} {
		var got []string
		if err := eachLine(strings.NewReader(tt.text), func(line []byte) { got = append(got, string(line)) }); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%.20q: %.20q, %v; want %.20q", tt.text, got, err, tt.want)
		}
	}
}
