package procfd

import (
	"debug/buildinfo"
	"path/filepath"
	"strings"
)

// runtimes maps the name of an executable, without version digits, to what it runs.
var runtimes = map[string]string{
	"node": "node", "nodejs": "node", "bun": "node", "deno": "node",
	"java": "java", "python": "python", "pypy": "python", "uwsgi": "python",
	"ruby": "ruby", "puma": "ruby", "php": "php", "php-fpm": "php", "php-cgi": "php",
	"nginx": "nginx", "openresty": "nginx", "haproxy": "haproxy", "envoy": "envoy",
	"postgres": "postgres", "redis-server": "redis", "redis-check-rdb": "redis", // Debian links the one to the other
}

// recognise tells the runtime from the executable's name, or from the build information that Go
// leaves in its binaries. exe is the path to open it by.
func recognise(p *Process, exe string) string {
	base := filepath.Base(p.Exe)
	if p.Exe == "" && len(p.Args) > 0 {
		base = filepath.Base(p.Args[0]) // not allowed to see the executable: its own word for it
	}
	name := strings.TrimRight(base, "0123456789.")
	if r, ok := runtimes[strings.TrimRight(name, "-")]; ok {
		return r
	}
	if p.Exe == "" {
		return ""
	}
	if _, err := buildinfo.ReadFile(exe); err == nil {
		return "go"
	}
	return ""
}
