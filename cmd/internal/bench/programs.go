//go:build linux

package main

import (
	"context"
	"path/filepath"

	"github.com/sockleak/sockleak/cmd/internal/bench/lab"
)

// programs are the paths of what is built for a run: sockleak, and the small programs beside this one.
type programs struct{ sockleak, floor, timed, holder, spin, profiled string }

func programsIn(dir string) programs {
	in := func(name string) string { return filepath.Join(dir, name) }
	return programs{in("sockleak"), in("floor"), in("timed"), in("holder"), in("spin"), in("profiled")}
}

// build builds the programs into a directory.
func build(ctx context.Context, dir string) error {
	const own = "internal/bench/"
	return lab.Build(ctx, dir, "sockleak", own+"floor", own+"timed", own+"holder", own+"spin", own+"profiled")
}
