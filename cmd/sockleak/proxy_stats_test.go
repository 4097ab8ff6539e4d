//go:build linux

package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/sockleak/sockleak/cmd/internal/pipe"
)

func someStats() pipe.Stats {
	s := pipe.Stats{
		Accepted: 10, Active: 2, AcceptRetries: 3, BytesUp: 1 << 40, BytesDown: 7,
		Targets: []pipe.TargetStats{
			{Target: "10.0.0.7:5432", Active: 2, Connected: 9, Failures: 1},
			{Target: "unix:/run/\"odd\\\n\xff", Failures: 4, Down: true},
		},
	}
	s.Closed[pipe.Finished], s.Closed[pipe.Idle] = 7, 1
	return s
}

// TestMetrics has the field's own parser read them.
func TestMetrics(t *testing.T) {
	var b strings.Builder
	writeProxyMetrics(&b, someStats())
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(b.String()))
	if err != nil {
		t.Fatalf("%v in\n%s", err, b.String())
	}
	got := map[string]float64{}
	for name, f := range families {
		for _, m := range f.Metric {
			value := m.GetCounter().GetValue()
			if f.GetType() == dto.MetricType_GAUGE {
				value = m.GetGauge().GetValue()
			}
			for _, l := range m.Label {
				name += "," + l.GetValue()
			}
			got[name] = value
		}
	}
	for name, want := range map[string]float64{
		"sockleak_proxy_connections_active":                      2,
		"sockleak_proxy_connections_accepted_total":              10,
		"sockleak_proxy_accept_retries_total":                    3,
		"sockleak_proxy_bytes_total,up":                          1 << 40,
		"sockleak_proxy_target_up,10.0.0.7:5432":                 1,
		"sockleak_proxy_target_failures_total,10.0.0.7:5432":     1,
		"sockleak_proxy_connections_closed_total,finished":       7,
		"sockleak_proxy_target_connections_active,10.0.0.7:5432": 2,
		"sockleak_proxy_target_connected_total,10.0.0.7:5432":    9,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v, want %v", name, v, want)
		}
	}
	if n := len(families["sockleak_proxy_connections_closed_total"].Metric); n != len(pipe.Causes()) {
		t.Errorf("%d causes, want %d", n, len(pipe.Causes()))
	}
	if got := families["sockleak_proxy_target_up"].Metric[1].Label[0].GetValue(); got != "unix:/run/\"odd\\\n\uFFFD" {
		t.Errorf("a hostile target reads %q", got)
	}
}

func TestStatsServer(t *testing.T) {
	addr, stop, err := serveStats(t.Context(), "127.0.0.1:0", someStats)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for path, want := range map[string]int{"/stats": 200, "/": 200, "/metrics": 200, "/else": 404} {
		resp, err := client.Get("http://" + addr + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != want {
			t.Errorf("%s: status %d, %v; want %d", path, resp.StatusCode, err, want)
		}
		if path == "/stats" {
			wantStats(t, body)
		}
	}
}

func wantStats(t *testing.T, body []byte) {
	t.Helper()
	var s proxyStats
	if err := json.Unmarshal(body, &s); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if s.Schema != "sockleak.proxy/1" || s.Active != 2 || s.Closed["finished"] != 7 || s.Closed["cut"] != 0 || len(s.Closed) != len(pipe.Causes()) ||
		len(s.Targets) != 2 || !s.Targets[1].Down {
		t.Errorf("stats %s", body)
	}
}
