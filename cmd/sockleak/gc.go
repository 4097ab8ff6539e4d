package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// A look at a large process keeps some tens of MB and is over in a fraction of a second: collecting it four times on the way
// costs more than it frees. A look at a whole host may keep hundreds, and then what waits to be collected must not be five times that.
var gcSteps = []struct {
	live    uint64 // up to so many bytes that are in use
	percent int
}{{16 << 20, 400}, {48 << 20, 100}, {1 << 63, 40}}

// tuneGC has the collector run the more often the more is in use. A user's GOGC goes before.
func tuneGC() {
	if os.Getenv("GOGC") != "" {
		return
	}
	percent := gcSteps[0].percent
	debug.SetGCPercent(percent)
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	var afterGC func(*[16]byte)
	afterGC = func(sentinel *[16]byte) {
		metrics.Read(live)
		for _, step := range gcSteps {
			if live[0].Value.Uint64() > step.live {
				continue
			}
			if step.percent != percent {
				percent = step.percent
				debug.SetGCPercent(percent)
			}
			break
		}
		runtime.SetFinalizer(sentinel, afterGC)
	}
	runtime.SetFinalizer(new([16]byte), afterGC)
}
