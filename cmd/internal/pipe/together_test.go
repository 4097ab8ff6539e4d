//go:build linux

package pipe

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

// A part is one of several tests that run at the same time. They spend it waiting, so that they need not be as few as
// the processors, as parallel tests are.
type part struct {
	testing.TB
	name   string
	failed atomic.Bool
}

// together runs f for each of all at the same time.
func together[T fmt.Stringer](tb testing.TB, all []T, f func(T, testing.TB)) {
	tb.Helper()
	var wg sync.WaitGroup
	for _, v := range all {
		wg.Go(func() { f(v, &part{TB: tb, name: v.String()}) })
	}
	wg.Wait()
}

func (p *part) Failed() bool { return p.failed.Load() }

// FailNow ends the goroutine of the part, and not the test.
func (p *part) FailNow() {
	p.failed.Store(true)
	p.TB.FailNow()
}

func (p *part) Error(args ...any) {
	p.Helper()
	p.failed.Store(true)
	p.TB.Errorf("%s: %s", p.name, fmt.Sprint(args...))
}

func (p *part) Errorf(format string, args ...any) {
	p.Helper()
	p.Error(fmt.Sprintf(format, args...))
}

func (p *part) Fatal(args ...any) {
	p.Helper()
	p.Error(args...)
	p.FailNow()
}

func (p *part) Fatalf(format string, args ...any) {
	p.Helper()
	p.Fatal(fmt.Sprintf(format, args...))
}
