//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/sockleak/sockleak/cmd/internal/pipe"
)

// proxyStats is what /stats says, schema sockleak.proxy/1.
type proxyStats struct {
	Schema        string             `json:"schema"`
	TakenAt       time.Time          `json:"taken_at"`
	Active        uint64             `json:"active"`
	Accepted      uint64             `json:"accepted"`
	Closed        map[string]uint64  `json:"closed"` // by cause, all of them
	AcceptRetries uint64             `json:"accept_retries"`
	BytesUp       uint64             `json:"bytes_up"`
	BytesDown     uint64             `json:"bytes_down"`
	Targets       []proxyTargetStats `json:"targets"`
}

type proxyTargetStats struct {
	Target    string `json:"target"`
	Active    uint64 `json:"active"`
	Connected uint64 `json:"connected"`
	Failures  uint64 `json:"failures"`
	Down      bool   `json:"down"`
}

// serveStats serves the proxy's counts over HTTP until the returned function is called.
func serveStats(ctx context.Context, addr string, stats func() pipe.Stats) (bound string, stop func(), err error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return "", nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { writeProxyJSON(w, stats()) })
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { writeProxyJSON(w, stats()) })
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		writeProxyMetrics(w, stats())
	})
	// Every wait is bounded: this is no place to leak a socket.
	srv := &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: 30 * time.Second,
		MaxHeaderBytes: 16 << 10,
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(ln) // http.ErrServerClosed, by stop
	}()
	return ln.Addr().String(), func() {
		_ = srv.Close()
		<-done
	}, nil
}

func writeProxyJSON(w http.ResponseWriter, s pipe.Stats) {
	out := proxyStats{
		Schema: "sockleak.proxy/1", TakenAt: time.Now(), Active: s.Active, Accepted: s.Accepted, Closed: map[string]uint64{},
		AcceptRetries: s.AcceptRetries, BytesUp: s.BytesUp, BytesDown: s.BytesDown, Targets: []proxyTargetStats{},
	}
	for _, c := range pipe.Causes() {
		out.Closed[c.String()] = s.Closed[c]
	}
	for _, t := range s.Targets {
		out.Targets = append(out.Targets, proxyTargetStats(t))
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out) // to a client that may have gone
}

// writeProxyMetrics writes the Prometheus text format, version 0.0.4. It comes to so little that the field's library,
// with its protocol buffers, would be most of the program's start.
func writeProxyMetrics(w io.Writer, s pipe.Stats) {
	m := promText{w}
	m.family("connections_active", "gauge", "Connections that are open, or still connecting to a target.")
	m.sample("connections_active", "", s.Active)
	m.family("connections_accepted_total", "counter", "Connections accepted.")
	m.sample("connections_accepted_total", "", s.Accepted)
	m.family("connections_closed_total", "counter", "Connections that have ended, by what ended them.")
	for _, c := range pipe.Causes() {
		m.sample("connections_closed_total", label("cause", c.String()), s.Closed[c])
	}
	m.family("accept_retries_total", "counter", "Times that accepting had to wait for descriptors or memory.")
	m.sample("accept_retries_total", "", s.AcceptRetries)
	m.family("bytes_total", "counter", "Payload bytes passed on: up to targets, down to clients.")
	m.sample("bytes_total", label("direction", "up"), s.BytesUp)
	m.sample("bytes_total", label("direction", "down"), s.BytesDown)
	m.targets("target_connections_active", "gauge", "Connections to the target that are open.", s.Targets,
		func(t pipe.TargetStats) uint64 { return t.Active })
	m.targets("target_connected_total", "counter", "Connections made to the target.", s.Targets,
		func(t pipe.TargetStats) uint64 { return t.Connected })
	m.targets("target_failures_total", "counter", "Attempts to connect to the target that failed.", s.Targets,
		func(t pipe.TargetStats) uint64 { return t.Failures })
	m.targets("target_up", "gauge", "0 while the target is passed over because it could not be reached.", s.Targets,
		func(t pipe.TargetStats) uint64 {
			if t.Down {
				return 0
			}
			return 1
		})
}

type promText struct{ w io.Writer }

func (m promText) family(name, kind, help string) {
	fmt.Fprintf(m.w, "# HELP sockleak_proxy_%s %s\n# TYPE sockleak_proxy_%s %s\n", name, help, name, kind)
}

func (m promText) sample(name, labels string, value uint64) {
	fmt.Fprintf(m.w, "sockleak_proxy_%s%s %d\n", name, labels, value)
}

func (m promText) targets(name, kind, help string, list []pipe.TargetStats, value func(pipe.TargetStats) uint64) {
	m.family(name, kind, help)
	for _, t := range list {
		m.sample(name, label("target", t.Target), value(t))
	}
}

// label writes a label as the format wants it escaped. Its value is UTF-8.
func label(name, value string) string {
	value = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`).Replace(strings.ToValidUTF8(value, "\uFFFD"))
	return "{" + name + `="` + value + `"}`
}
