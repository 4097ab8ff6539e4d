package procfd

import (
	"os"
	"testing"
)

func TestRecognise(t *testing.T) {
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
		{"/usr/bin/nodeX", nil, ""},
		{"/usr/bin/sleep", []string{"node"}, ""},

		// The executable may not be seen: what the process calls itself must do.
		{"", []string{"/usr/bin/python3.12", "x.py"}, "python"},
		{"", []string{"nginx: master process /usr/sbin/nginx"}, "nginx"},
		{"", []string{""}, ""},
		{"", []string{"7.7"}, ""},
		{"", nil, ""},
	} {
		if got := recognise(&Process{Exe: tt.exe, Args: tt.args}, "/nonexistent"); got != tt.want {
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
