package procfd

import (
	"reflect"
	"strings"
	"testing"
)

const someStatus = "Name:\tev\\nUid:\\til\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t7\nUid:\t1000\t1001\t1002\t1003\nGid:\t100\t100\t100\t100\n" +
	"Groups:\t4 27 \nNStgid:\t812\t7\nNSpid:\t812\t7\nCapInh:\t0000000000000000\nCapPrm:\t0000000000080004\nCapEff:\t0000000000080000\n" +
	"CapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t3\n"

func TestCredentials(t *testing.T) {
	got, err := parseCredentials([]byte(someStatus))
	want := Credentials{
		UIDs: [4]uint32{1000, 1001, 1002, 1003}, GIDs: [4]uint32{100, 100, 100, 100}, Groups: []uint32{4, 27},
		Permitted: SysPtrace | DACReadSearch, Effective: SysPtrace, Bounding: 1<<41 - 1, NoNewPrivs: true, Seccomp: 2, PIDs: []int{812, 7},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v, want\n%+v", got, err, want)
	}
	if got.Uniform() {
		t.Error("four users are one")
	}
	old := someStatus[:strings.Index(someStatus, "NoNewPrivs:")]
	if got, err := parseCredentials([]byte(old)); err != nil || got.Seccomp != -1 || got.NoNewPrivs {
		t.Errorf("of an old kernel: %+v, %v", got, err)
	}
}

func TestCredentialsMalformed(t *testing.T) {
	for _, swap := range [][2]string{
		{"Uid:\t1000\t", "Uid:\t"}, {"Uid:\t1000", "Uid:\t-1"}, {"Uid:\t1000", "Uid:\t4294967296"}, {"Gid:", "Git:"}, {"CapEff:\t0", "CapEff:\tx"},
		{"CapPrm:", "CapXxx:"}, {"Groups:\t4", "Groups:\tfour"}, {"NSpid:\t812", "NSpid:\t99999999999"},
	} {
		if got, err := parseCredentials([]byte(strings.Replace(someStatus, swap[0], swap[1], 1))); err == nil {
			t.Errorf("%q for %q: %+v", swap[1], swap[0], got)
		}
	}
}

func FuzzCredentials(f *testing.F) {
	f.Add([]byte(someStatus))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseCredentials(b)
		if err == nil && len(c.Groups) > mostNumbers {
			t.Errorf("%d groups", len(c.Groups))
		}
	})
}

func TestLimits(t *testing.T) {
	for text, want := range map[string][2]uint64{
		"Max open files            1024                 1048576              files     \n": {1024, 1048576},
		"Max open files            unlimited            unlimited            files\n":      {NoLimit, NoLimit},
	} {
		if soft, hard, err := parseLimits([]byte("Limit Soft Hard Units\n" + text)); err != nil || soft != want[0] || hard != want[1] {
			t.Errorf("%q: %d, %d, %v", text, soft, hard, err)
		}
	}
	for _, text := range []string{"", "Max open files 1 files\n", "Max open files -1 1 files\n", "Max open files 1 x files\n"} {
		if soft, hard, err := parseLimits([]byte(text)); err == nil {
			t.Errorf("%q: %d, %d", text, soft, hard)
		}
	}
}
