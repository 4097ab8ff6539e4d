package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	hints "github.com/sockleak/sockleak/cmd/internal/hint"
)

// Exit statuses. Only leakscan and diff use statusLeak and statusPartial, and doctor the first.
const (
	statusOK      = 0
	statusLeak    = 1 // a finding of severity leak
	statusFailed  = 2 // could not run
	statusPartial = 3 // nothing found, but not everything could be seen
)

// version is set by the linker: -ldflags "-X main.version=v1.2.3".
var version = "dev"

// program is what every command works with.
type program struct {
	ui     *ui
	stdin  io.Reader
	stdout io.Writer
	status int
	// spooled is what was read from pipes.
	spooled []*os.File
}

// run is the whole program: it returns the exit status and never exits.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &program{ui: &ui{w: stderr}, stdin: stdin, stdout: stdout}
	defer func() {
		for _, f := range p.spooled {
			f.Close()
			if runtime.GOOS == "windows" {
				_ = os.Remove(f.Name())
			}
		}
	}()
	app := p.app()
	help := &watchedWriter{Writer: stdout}
	app.Writer = help
	err := app.RunContext(ctx, permute(app, args))
	if err == nil {
		err = unwritten(help.err)
	}
	if err != nil {
		p.ui.error(err)
		return statusFailed
	}
	return p.status
}

// watchedWriter keeps the first error, which the library's help texts pass over.
type watchedWriter struct {
	io.Writer
	err error
}

func (w *watchedWriter) Write(b []byte) (int, error) {
	n, err := w.Writer.Write(b)
	w.err = cmp.Or(w.err, err)
	return n, err
}

func (p *program) app() *cli.App {
	return &cli.App{
		Name:            "sockleak",
		Usage:           "says which TCP sockets a process leaks, why, and what to change",
		Version:         version,
		HideHelpCommand: true,
		ErrWriter:       p.ui.w,
		ExitErrHandler:  func(*cli.Context, error) {}, // errors come back to run
		OnUsageError:    usageError,
		Action:          p.noCommand,
		Commands: []*cli.Command{
			p.tcpstatCommand(), p.leakscanCommand(), p.recordCommand(), p.diffCommand(), p.proxyCommand(), p.demoCommand(), p.demoPartCommand(), p.rulesCommand(), p.doctorCommand(),
		},
	}
}

func (p *program) noCommand(c *cli.Context) error {
	if c.NArg() == 0 {
		return cli.ShowAppHelp(c)
	}
	names := []string{}
	for _, cmd := range c.App.VisibleCommands() {
		names = append(names, cmd.Name)
	}
	return hint(fmt.Errorf("unknown command %q", c.Args().First()), "the commands are %s", join(names))
}

// usageError gives the parser's complaint one line and a hint.
func usageError(c *cli.Context, err error, _ bool) error {
	if name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); ok {
		err = fmt.Errorf("unknown flag %s", dashed(strings.TrimLeft(name, "-")))
	} else if msg := strings.Replace(err.Error(), "for flag -", "for flag --", 1); msg != err.Error() {
		err = errors.New(msg) // the help writes --name, too
	}
	command := "sockleak"
	if c.Command != nil && c.Command.Name != "" && c.Command.Name != "sockleak" {
		command += " " + c.Command.Name
	}
	return hint(err, "%s --help lists the flags", command)
}

// dashed writes a flag as the help does.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// permute puts the flags of a command before its arguments: the library takes all that follows the
// first argument for arguments, and `leakscan 1234 --json` must work.
func permute(app *cli.App, args []string) []string {
	if len(args) < 2 || strings.HasPrefix(args[1], "-") {
		return args
	}
	if args[1] == "help" { // of the program, or of a command
		return append(append([]string{args[0]}, args[2:min(3, len(args))]...), "--help")
	}
	cmd := app.Command(args[1])
	if cmd == nil {
		return args
	}
	flags, rest := []string{}, []string{}
	for i := 2; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			rest = append(rest, args[i+1:]...)
			break
		}
		if arg == "--help" || arg == "-h" {
			return []string{args[0], args[1], "--help"} // of the command, whatever else is asked of it
		}
		if len(arg) < 2 || arg[0] != '-' {
			rest = append(rest, arg)
			continue
		}
		flags = append(flags, arg)
		if !takesValue(cmd, arg) {
			continue
		}
		if strings.TrimLeft(arg, "-") == watchFlag && !isDuration(args[i+1:]) {
			flags = append(flags, defaultWatch.String())
			continue
		}
		if i++; i == len(args) {
			return append(slices.Clone(args[:2]), flags...) // the parser says which flag needs a value
		}
		flags = append(flags, args[i])
	}
	out := append(slices.Clone(args[:2]), flags...)
	if len(rest) > 0 {
		out = append(append(out, "--"), rest...)
	}
	return out
}

// isDuration reports whether the first of the arguments is one.
func isDuration(args []string) bool {
	if len(args) == 0 {
		return false
	}
	_, err := time.ParseDuration(args[0])
	return err == nil
}

// takesValue reports whether the argument behind a flag is its value.
func takesValue(cmd *cli.Command, arg string) bool {
	name := strings.TrimLeft(arg, "-")
	if strings.Contains(name, "=") {
		return false
	}
	for _, f := range cmd.Flags {
		if slices.Contains(f.Names(), name) {
			_, isBool := f.(*cli.BoolFlag)
			return !isBool
		}
	}
	return false
}

func hint(err error, format string, args ...any) error { return hints.Add(err, format, args...) }

// usage is a complaint about the command line.
func usage(format string, args ...any) error { return fmt.Errorf(format, args...) }
