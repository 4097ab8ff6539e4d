package procfd

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzRuntimes: whatever a runtime's file has, a name is none or one of a length that can be shown.
func FuzzRuntimes(f *testing.F) {
	f.Add([]byte(`{"Name":"/web-1","Config":{"Labels":{"com.docker.compose.project":"shop","com.docker.compose.service":"web"}}}`))
	f.Add([]byte(`{"annotations":{"io.kubernetes.cri.container-name":"app","io.kubernetes.cri.sandbox-name":"web","io.kubernetes.cri.sandbox-namespace":"shop"}}`))
	f.Add([]byte(`[{"id":"` + idA + `","names":["web"]},{"id":"../../etc","names":null}]`))
	f.Add([]byte("shop_web_" + podUID))
	f.Add([]byte(`{"Name":"` + strings.Repeat("日", 200) + `"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := &Runtimes{read: func(string, int) []byte { return b }, list: func(string) []string { return strings.Split(string(b), "\n") }}
		for _, path := range []string{
			"/docker/" + idA, "/machine.slice/libpod-" + idA + ".scope", "/k8s.io/" + idA, "/" + idA, "/kubepods/pod" + podUID + "/crio-" + idA,
			"/user.slice/user@0.service/docker-" + idA + ".scope",
		} {
			p := ParseCgroup(path)
			r.Refresh()
			r.Name(&p)
			c := p.Container
			for _, s := range []string{c.Name, c.PodName, c.PodSpace} {
				if len(s) > mostNameLen+len("…") || utf8.Valid(b) && !utf8.ValidString(s) {
					t.Errorf("%s: %q", path, s)
				}
			}
			if c.ID != idA {
				t.Errorf("%s: %s", path, c.ID)
			}
		}
	})
}
