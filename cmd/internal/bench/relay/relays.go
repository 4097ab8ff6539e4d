//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// relay is one that is measured.
type relay struct {
	name string
	// needs are what must be installed for it.
	needs []need
	// command returns how it is started.
	command func(s site) ([]string, error)
	// ours are measured as another user, too.
	ours bool
	// most is how many idle connections it can have with so many descriptors; nil: as many as it is asked for.
	most func(c *config) (int, string)
}

// need is a program in PATH or a file, and the Debian package that has it.
type need struct{ what, debian string }

// site is where a relay runs.
type site struct {
	dir            string // for its files, and where the programs of a run are
	listen, target int    // ports of 127.0.0.1
	descriptors    int    // how many each process may have
}

const (
	directName = "direct"
	// baseName is the relay that the others are compared with.
	baseName = "haproxy"

	nginxStream = "/usr/lib/nginx/modules/ngx_stream_module.so"
)

// silent is how long each relay that can waits for a silent connection, in seconds, and connecting how long for its target.
const silent, connecting = 60, 10

// relays returns all relays, in the order in which they are printed. Where it is theirs to choose, they take as many threads and
// processes, and as large buffers, as their packages do.
func relays() []*relay {
	return []*relay{
		{name: directName},
		{name: "sockleak proxy", command: sockleak, ours: true},
		{name: baseName, command: haproxy, needs: []need{{"haproxy", "haproxy"}}},
		{name: "nginx", command: nginx, needs: []need{{"nginx", "nginx"}, {nginxStream, "libnginx-mod-stream"}}},
		{name: "socat", command: socat, needs: []need{{"socat", "socat"}}, most: func(c *config) (int, string) {
			return c.slowLimit, fmt.Sprintf("a process for each, and -slow-limit is %d", c.slowLimit)
		}},
		{name: "io.Copy", command: iocopy, ours: true, most: func(c *config) (int, string) {
			const each, beside = 6, 64 // two sockets and two pipes
			return (c.descriptors - beside) / each, fmt.Sprintf("%d descriptors for each, and a process may have %d", each, c.descriptors)
		}},
	}
}

// idle is how many idle connections the relay is given, and why they are fewer than is asked for.
func (r *relay) idle(c *config) (n int, why string) {
	if r.most == nil {
		return c.idle, ""
	}
	most, why := r.most(c)
	if most >= c.idle {
		return c.idle, ""
	}
	return most, why
}

// check reports what is not installed.
func (r *relay) check() error {
	for _, n := range r.needs {
		_, err := os.Stat(n.what)
		if !strings.HasPrefix(n.what, "/") {
			_, err = exec.LookPath(n.what)
		}
		if err != nil {
			return fmt.Errorf("%s: %s is not installed: apt-get install %s, or name other -relays", r.name, n.what, n.debian)
		}
	}
	return nil
}

func local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

func sockleak(s site) ([]string, error) {
	return []string{filepath.Join(s.dir, "sockleak"), "proxy", "--quiet", "--listen", local(s.listen), "--target", local(s.target)}, nil
}

func iocopy(s site) ([]string, error) {
	return []string{filepath.Join(s.dir, "iocopy"), local(s.listen), local(s.target)}, nil
}

func haproxy(s site) ([]string, error) {
	file, err := s.write("haproxy.cfg", fmt.Sprintf(`defaults
    mode tcp
    timeout connect %ds
    timeout client %ds
    timeout server %[2]ds
listen relay
    bind %s
    server target %s
`, connecting, silent, local(s.listen), local(s.target)))
	return []string{"haproxy", "-db", "-f", file}, err
}

// nginx has as many processes as Debian's configuration gives it, and for each as many connections as descriptors.
func nginx(s site) ([]string, error) {
	file, err := s.write("nginx.conf", fmt.Sprintf(`daemon off;
worker_processes auto;
worker_rlimit_nofile %d;
pid %s;
error_log stderr;
load_module %s;
events {
    worker_connections %[1]d;
}
stream {
    server {
        listen %[4]s;
        proxy_pass %s;
        proxy_connect_timeout %ds;
        proxy_timeout %ds;
    }
}
`, s.descriptors, filepath.Join(s.dir, "nginx.pid"), nginxStream, local(s.listen), local(s.target), connecting, silent))
	return []string{"nginx", "-e", "stderr", "-c", file}, err
}

// socat forks for every connection. Its own backlog is 5.
func socat(s site) ([]string, error) {
	return []string{
		"socat", "-T", fmt.Sprint(silent), fmt.Sprintf("TCP-LISTEN:%d,bind=127.0.0.1,fork,reuseaddr,backlog=4096", s.listen),
		fmt.Sprintf("TCP:%s,connect-timeout=%d", local(s.target), connecting),
	}, nil
}

func (s site) write(name, text string) (string, error) {
	file := filepath.Join(s.dir, name)
	return file, os.WriteFile(file, []byte(text), 0o644)
}
