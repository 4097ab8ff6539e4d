// Command sockleak says which TCP sockets a process leaks, since when at the least, why the kernel keeps
// them, and what to change.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	tuneGC()
	// A closed pipe is an error of the report, told in one line with the right status, and not a death by signal.
	signal.Ignore(syscall.SIGPIPE)
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		// Who asks a second time is not to wait for what the first one begins.
		signal.Reset(os.Interrupt, syscall.SIGTERM)
		cancel()
	}()
	status := run(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr)
	os.Exit(status)
}
