//go:build linux

// Package lab is what the benchmarks share: programs that are built for a run, namespaces of their own to run in, and how
// figures are written.
package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
)

// Build builds commands of this module into a directory: each is a path below cmd, and its last word names the program.
func Build(ctx context.Context, dir string, commands ...string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", dir+"/")
	for _, c := range commands {
		cmd.Args = append(cmd.Args, "github.com/sockleak/sockleak/cmd/"+c)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build sockleak: %w", err)
	}
	return nil
}
