//go:build zoo

package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Servers as they are operated: none of them leaks, whatever its clients do or do not.

// serverClients is how many clients of each kind a server has.
const serverClients = 6

// freePort is one that nobody listens on, nor is given by the kernel to who connects.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 10000 + rand.IntN(20000)
		if ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			ln.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

func at(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// startServer starts a server and returns when it listens on all its ports. It is told to end with the test.
func startServer(t *testing.T, cmd *exec.Cmd, end os.Signal, ports ...int) *zooProcess {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	must(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(end)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			t.Errorf("%s did not end\n%s", cmd, &out)
		}
	})
	for _, port := range ports {
		eventually(t, func() error {
			select {
			case err := <-ended:
				ended <- err
				t.Fatalf("%s has ended: %v\n%s", cmd, err, &out)
			default:
			}
			c, err := net.Dial("tcp", at(port))
			if err == nil {
				c.Close()
			}
			return err
		})
	}
	return &zooProcess{pid: cmd.Process.Pid, truth: zooTruth{Leaks: map[string]int{}, Family: true}}
}

// holds waits until the server and all its processes hold as many sockets in each state, or more.
func (p *zooProcess) holds(t *testing.T, want map[string]int) {
	t.Helper()
	eventually(t, func() error {
		got := map[string]int{}
		for _, pid := range p.all() {
			if err := zooHeld(pid, got); err != nil {
				return err
			}
		}
		for state, n := range want {
			if got[state] < n {
				return fmt.Errorf("it holds %v, and should %v", got, want)
			}
		}
		return nil
	})
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o644))
}

// client is a connection that stays until the test ends.
func client(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	must(t, err)
	must(t, c.SetDeadline(time.Now().Add(zooPatience)))
	t.Cleanup(func() { c.Close() })
	return c
}

// ask sends a request for a path and reads the answer; the connection stays.
func askPage(t *testing.T, c net.Conn, path string) {
	t.Helper()
	_, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: zoo\r\n\r\n", path)
	must(t, err)
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(t, err)
	_, err = io.Copy(io.Discard, answer.Body)
	must(t, err)
	if answer.StatusCode != http.StatusOK || answer.Close {
		t.Fatalf("GET %s: %s, to be closed: %t", path, answer.Status, answer.Close)
	}
}

// upstream is a web server behind others.
func upstream(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "well") }))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return strings.TrimPrefix(s.URL, "http://")
}

// nginx serves files, and hands on to an upstream with which it keeps connections; its clients stay for their next request.
func nginx(t *testing.T) *zooProcess {
	needTool(t, "nginx", "nginx-light")
	dir, port := t.TempDir(), freePort(t)
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;"
	}
	writeFile(t, filepath.Join(dir, "index.html"), "well")
	writeFile(t, filepath.Join(dir, "nginx.conf"), strings.NewReplacer("DIR", dir, "PORT", at(port), "UPSTREAM", upstream(t), "USER", user).Replace(`
USER
daemon off;
worker_processes 2;
pid DIR/nginx.pid;
error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path DIR/body;
	proxy_temp_path DIR/proxy;
	fastcgi_temp_path DIR/fastcgi;
	uwsgi_temp_path DIR/uwsgi;
	scgi_temp_path DIR/scgi;
	keepalive_timeout 600s;
	upstream behind {
		server UPSTREAM;
		keepalive 4;
	}
	server {
		listen PORT so_keepalive=on;
		root DIR;
		location /behind/ {
			proxy_pass http://behind;
			proxy_http_version 1.1;
			proxy_set_header Connection "";
			proxy_socket_keepalive on;
		}
	}
}
`))
	p := startServer(t, exec.Command("nginx", "-p", dir, "-c", filepath.Join(dir, "nginx.conf"), "-e", "stderr"), syscall.SIGTERM, port)
	for range serverClients {
		askPage(t, client(t, at(port)), "/index.html")
		askPage(t, client(t, at(port)), "/behind/")
	}
	p.holds(t, map[string]int{"LISTEN": 3, "ESTAB keepalive": 2*serverClients + 1})
	return p
}

// haproxy hands on bytes and requests to servers whose health it checks all the time.
func haproxy(t *testing.T) *zooProcess {
	needTool(t, "haproxy", "haproxy")
	dir, tcp, web := t.TempDir(), freePort(t), freePort(t)
	writeFile(t, filepath.Join(dir, "haproxy.cfg"), strings.NewReplacer("TCP", at(tcp), "WEB", at(web), "ECHO", echoServer(t), "UPSTREAM", upstream(t)).Replace(`
defaults
	timeout connect 5s
	timeout client 10m
	timeout server 10m
	timeout http-keep-alive 10m
	timeout check 10s
	option clitcpka
	option srvtcpka
listen bytes
	mode tcp
	bind TCP
	server a ECHO check inter 200ms fall 100
listen requests
	mode http
	bind WEB
	http-reuse always
	option httpchk GET /
	server b UPSTREAM check inter 200ms fall 100
`))
	p := startServer(t, exec.Command("haproxy", "-db", "-f", filepath.Join(dir, "haproxy.cfg")), syscall.SIGTERM, tcp, web)
	for range serverClients {
		c := client(t, at(tcp))
		_, err := io.WriteString(c, "hello\n")
		must(t, err)
		_, err = io.ReadFull(c, make([]byte, 6))
		must(t, err)
		askPage(t, client(t, at(web)), "/")
	}
	p.holds(t, map[string]int{"LISTEN": 2, "ESTAB keepalive": 3 * serverClients}) // and one behind, until it is purged
	return p
}

// echoServer echoes, in the process of the test.
func echoServer(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return ln.Addr().String()
}

// postgres has sessions that do nothing, listen, and have begun something; it forks for each.
func postgres(t *testing.T) *zooProcess {
	bin := postgresDir(t)
	dir, port := t.TempDir(), freePort(t)
	var as *syscall.SysProcAttr // it refuses to be root
	if os.Geteuid() == 0 {
		as = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		must(t, os.Chown(dir, 65534, 65534))
		for d := dir; d != filepath.Clean(os.TempDir()) && d != "/"; d = filepath.Dir(d) {
			must(t, os.Chmod(d, 0o755))
		}
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "zoo", "-A", "trust", "--no-sync", "--no-locale", "-E", "UTF8")
	initdb.SysProcAttr, initdb.Dir = as, dir
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", initdb, err, out)
	}
	cmd := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-p", strconv.Itoa(port), "-k", "", "-F", "-c", "listen_addresses=127.0.0.1")
	cmd.SysProcAttr, cmd.Dir = as, dir
	p := startServer(t, cmd, syscall.SIGINT, port)
	eventually(t, func() error { // it listens before it is ready
		c, err := net.Dial("tcp", at(port))
		if err != nil {
			return err
		}
		defer c.Close()
		return pgSession(c)
	})
	for i := range serverClients {
		c := client(t, at(port))
		must(t, pgSession(c, map[int][]string{0: {"LISTEN zoo"}, 1: {"BEGIN", "SELECT 1"}}[i]...))
	}
	p.holds(t, map[string]int{"LISTEN": 1, "ESTAB keepalive": serverClients})
	p.truth.Held = map[string]int{"LISTEN": 1, "ESTAB keepalive": serverClients}
	return p
}

// postgresDir is where the programs of PostgreSQL are, which Debian does not put into PATH.
func postgresDir(t *testing.T) string {
	t.Helper()
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	for _, dir := range slices.Backward(append(filepath.SplitList(os.Getenv("PATH")), dirs...)) {
		_, errServer := os.Stat(filepath.Join(dir, "postgres"))
		_, errInit := os.Stat(filepath.Join(dir, "initdb"))
		if errServer == nil && errInit == nil {
			return dir
		}
	}
	t.Fatal("postgres is missing: apt-get install postgresql")
	return ""
}

// pgSession begins a session and runs queries in it: protocol 3.0, simple queries.
func pgSession(c net.Conn, queries ...string) error {
	params := "user\x00zoo\x00database\x00postgres\x00\x00"
	start := binary.BigEndian.AppendUint32(nil, uint32(8+len(params)))
	start = binary.BigEndian.AppendUint32(start, 3<<16)
	if _, err := c.Write(append(start, params...)); err != nil {
		return err
	}
	r := bufio.NewReader(c)
	if err := pgReady(r); err != nil {
		return err
	}
	for _, q := range queries {
		m := binary.BigEndian.AppendUint32([]byte{'Q'}, uint32(4+len(q)+1))
		if _, err := c.Write(append(append(m, q...), 0)); err != nil {
			return err
		}
		if err := pgReady(r); err != nil {
			return fmt.Errorf("%s: %w", q, err)
		}
	}
	return nil
}

// pgReady reads messages until the server waits for a query.
func pgReady(r *bufio.Reader) error {
	for {
		var head [5]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return err
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
		if _, err := io.ReadFull(r, body); err != nil {
			return err
		}
		switch head[0] {
		case 'Z':
			return nil
		case 'E':
			return errors.New(string(bytes.ReplaceAll(body, []byte{0}, []byte(" "))))
		}
	}
}

// redis has a subscriber, a client that waits for a list, and clients that do nothing.
func redis(t *testing.T) *zooProcess {
	needTool(t, "redis-server", "redis-server")
	dir, port := t.TempDir(), freePort(t)
	p := startServer(t, exec.Command("redis-server", "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir,
		"--save", "", "--appendonly", "no", "--daemonize", "no", "--tcp-keepalive", "300"), syscall.SIGTERM, port)
	for i := range serverClients {
		c := client(t, at(port))
		_, err := io.WriteString(c, "PING\r\n")
		must(t, err)
		if answer, err := bufio.NewReader(c).ReadString('\n'); answer != "+PONG\r\n" {
			t.Fatalf("PING: %q, %v", answer, err)
		}
		_, err = io.WriteString(c, map[int]string{0: "SUBSCRIBE zoo\r\n", 1: "BLPOP zoo 0\r\n"}[i])
		must(t, err)
	}
	p.truth.Held = map[string]int{"LISTEN": 1, "ESTAB keepalive": serverClients}
	return p
}
