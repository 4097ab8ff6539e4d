package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// programs are the paths of what is built for a run: sockleak, and the small programs beside this one.
type programs struct{ sockleak, floor, timed, holder, spin, profiled string }

func programsIn(dir string) programs {
	in := func(name string) string { return filepath.Join(dir, name) }
	return programs{in("sockleak"), in("floor"), in("timed"), in("holder"), in("spin"), in("profiled")}
}

// build builds the programs into a directory.
func build(ctx context.Context, dir string) error {
	const module = "github.com/sockleak/sockleak/"
	cmd := exec.CommandContext(ctx, "go", "build", "-o", dir+"/", module+"cmd/sockleak")
	for _, name := range []string{"floor", "timed", "holder", "spin", "profiled"} {
		cmd.Args = append(cmd.Args, module+"cmd/internal/bench/"+name)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build sockleak: %w", err)
	}
	return nil
}
