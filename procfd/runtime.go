package procfd

import (
	"bufio"
	"bytes"
	"debug/buildinfo"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// runtimes maps the name of an executable, without version digits, to what it runs.
var runtimes = map[string]string{
	"node": "node", "nodejs": "node", "bun": "node", "deno": "node",
	"java": "java", "python": "python", "pypy": "python", "uwsgi": "python",
	"ruby": "ruby", "puma": "ruby", "php": "php", "php-fpm": "php", "php-cgi": "php",
	"perl": "perl", "dotnet": "dotnet", "beam.smp": "erlang", "beam": "erlang",
	"nginx": "nginx", "openresty": "nginx", "haproxy": "haproxy", "envoy": "envoy",
	"sshd": "sshd", "sshd-session": "sshd", "sshd-auth": "sshd",
	"mysqld": "mysql", "mariadbd": "mysql",
	"postgres": "postgres", "redis-server": "redis", "redis-check-rdb": "redis", // Debian links the one to the other
}

// libraries are files that a runtime is loaded from, by how their names begin. The first is the one that counts: a JVM
// can hold an interpreter.
var libraries = []struct{ prefix, runtime string }{
	{"libjvm.so", "java"}, {"libcoreclr.so", "dotnet"}, {"libnode.so", "node"},
	{"libpython", "python"}, {"libruby", "ruby"}, {"libphp", "php"}, {"libperl", "perl"},
}

// recognise tells the runtime from the executable: its name, the build information that Go leaves in its binaries, or
// the libraries that are mapped beside it. A process writes its own arguments, so these count where the executable may
// not be seen, and nowhere else.
func (f *FS) recognise(p *Process) string {
	if p.Exe == "" {
		return byArgs(p.Args)
	}
	if r := byName(p.Exe); r != "" {
		return r
	}
	if f.isGo(p.PID) {
		return "go"
	}
	return f.byLibraries(p.PID)
}

func byName(path string) string {
	name := strings.TrimRight(filepath.Base(path), "0123456789.")
	return runtimes[strings.TrimRight(name, "-")]
}

// byArgs: servers write what they are doing after their name, "nginx: worker process".
func byArgs(args []string) string {
	if len(args) == 0 {
		return ""
	}
	if r := byName(args[0]); r != "" {
		return r
	}
	title, _, _ := strings.Cut(args[0], " ")
	return byName(strings.TrimSuffix(title, ":"))
}

// mostExecutables bounds what is remembered; a machine runs some hundred.
const mostExecutables = 1024

// isGo reads an executable once, however many processes run it: that takes up to some tenths of a millisecond.
func (f *FS) isGo(pid int) bool {
	path := f.Path(pid, "exe")
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, known := range f.executables {
		if os.SameFile(known.FileInfo, info) && known.ModTime().Equal(info.ModTime()) {
			return known.isGo
		}
	}
	isGo := fileIsGo(path)
	if len(f.executables) == mostExecutables {
		f.executables = nil
	}
	f.executables = append(f.executables, executable{info, isGo})
	return isGo
}

func fileIsGo(path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	return builtByGo(file)
}

// mostExecutable bounds what is read of an executable, in bytes. Whoever wrote it chose the sizes in its headers, and a file
// with holes may claim to be larger than any disk; Go's own are done within some kilobytes.
const mostExecutable = 8 << 20

func builtByGo(r io.ReaderAt) bool {
	_, err := buildinfo.Read(&allowance{r, mostExecutable})
	return err == nil
}

// allowance reads as long as there is some of it left.
type allowance struct {
	io.ReaderAt
	left int
}

var errAllowance = errors.New("this is more than is read of an executable")

func (a *allowance) ReadAt(b []byte, at int64) (int, error) {
	if len(b) > a.left {
		a.left = 0
		return 0, errAllowance
	}
	a.left -= len(b)
	return a.ReaderAt.ReadAt(b, at)
}

// executable is a file and whether Go has built it.
type executable struct {
	fs.FileInfo
	isGo bool
}

// mostMaps bounds what is read of /proc/PID/maps.
const mostMaps = 1 << 20

// byLibraries looks for a runtime among the files that the process has mapped. It is not remembered: another process can
// load other libraries into the same executable.
func (f *FS) byLibraries(pid int) string {
	file, err := os.Open(f.Path(pid, "maps"))
	if err != nil {
		return ""
	}
	defer file.Close()
	return mapped(io.LimitReader(file, mostMaps))
}

func mapped(maps io.Reader) string {
	best := len(libraries)
	// What was read before an error counts.
	_ = eachLine(maps, func(line []byte) {
		name := line[bytes.LastIndexByte(line, '/')+1:] // the kernel escapes line ends in it
		if len(name) == len(line) || !bytes.Contains(name, []byte(".so")) {
			return
		}
		for i := range best {
			if bytes.HasPrefix(name, []byte(libraries[i].prefix)) {
				best = i
				return
			}
		}
	})
	if best == len(libraries) {
		return ""
	}
	return libraries[best].runtime
}

// eachLine calls f for each line, without its end and valid during the call. Of a line of more than 4 KiB, longer than
// any path, the rest is left out. It allocates nothing per line.
func eachLine(r io.Reader, f func(line []byte)) error {
	b := bufio.NewReaderSize(r, 4<<10)
	for rest := false; ; {
		line, err := b.ReadSlice('\n')
		if len(line) > 0 && !rest {
			f(bytes.TrimSuffix(line, []byte("\n")))
		}
		rest = errors.Is(err, bufio.ErrBufferFull)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !rest:
			return err
		}
	}
}
