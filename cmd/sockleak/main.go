// Command sockleak says which TCP sockets a process leaks, since when at the least, why the kernel keeps
// them, and what to change.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

func main() {
	// A look at a large process keeps some tens of MB and is over in a fraction of a second: collecting it four times on the way
	// costs more than it frees. A user's GOGC goes before.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	// A closed pipe is an error of the report, told in one line with the right status, and not a death by signal.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}
