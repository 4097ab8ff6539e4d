package scan

import (
	"path"
	"strings"
	"testing"

	"github.com/sockleak/sockleak/procfd"
)

func TestInCgroup(t *testing.T) {
	id := strings.Repeat("3f2a9c1b", 8)
	const uid = "045b1e35-7f13-11e7-ac42-0050568ffca0"
	kube := "/kubepods/burstable/pod" + uid + "/" + id
	const unit = "/system.slice/nginx.service/worker"
	tests := []struct {
		pattern, path string
		want          bool
	}{
		{"nginx.service", unit, true},
		{"nginx.*", unit, true},
		{"nginx", unit, false},
		{"NGINX.service", unit, false},
		{"/system.slice/nginx.service", unit, true}, // and what is below it
		{"/system.slice", unit, true},
		{"/system.slice/*", unit, true},
		{"/system", unit, false},
		{"/*/worker", unit, true},
		{"/", unit, false},
		{"/", "/", true},
		{"*", "/", false}, // in no unit and no container
		{"*", unit, true},
		{"", unit, false},

		{id, kube, true},
		{"3f2a", kube, true},
		{"3f2", kube, false},
		{"3f2*", kube, true},
		{"9c1b", kube, false},
		{"app", kube, true},
		{"web-7d9", kube, true},
		{"shop/web-7d9", kube, true},
		{"shop/web-7d9/app", kube, true},
		{"shop/*", kube, true},
		{"shop", kube, false},
		{uid, kube, true},
		{"kube/worker", kube, true},
		{"web-7d?", kube, true},
	}
	for _, test := range tests {
		place := procfd.ParseCgroup(test.path)
		if c := place.Container; c != nil {
			c.Name, c.PodSpace, c.PodName, c.Service = "app", "shop", "web-7d9", "kube/worker"
		}
		if got := InCgroup(test.pattern, test.path, &place); got != test.want {
			t.Errorf("%q in %s: %t", test.pattern, test.path, got)
		}
	}
}

// TestGlobBound: many stars take no longer than both lengths allow.
func TestGlobBound(t *testing.T) {
	if glob(strings.Repeat("*a", 2000)+"b", strings.Repeat("a", 4000)) {
		t.Error("there is no b")
	}
}

// FuzzGlob: without a star that stands for a slash, it is as path.Match has it.
func FuzzGlob(f *testing.F) {
	f.Add("a*b?c", "axxbyc")
	f.Add("**", "")
	f.Add("?", "")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		got := glob(pattern, s)
		if strings.ContainsAny(pattern+s, `[\/`) || strings.ContainsFunc(pattern+s, func(r rune) bool { return r >= 0x80 }) {
			return
		}
		if want, err := path.Match(pattern, s); err == nil && got != want {
			t.Errorf("%q in %q: %t", pattern, s, got)
		}
	})
}
