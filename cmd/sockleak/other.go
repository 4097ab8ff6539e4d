//go:build !linux

package main

import "github.com/urfave/cli/v2"

func (p *program) proxyCommand() *cli.Command { return linuxCommand("proxy", false) }

func (p *program) demoCommand() *cli.Command { return linuxCommand("demo", false) }

func (p *program) demoPartCommand() *cli.Command { return linuxCommand("demo-part", true) }

// linuxCommand is one that is of no use here.
func linuxCommand(name string, hidden bool) *cli.Command {
	return &cli.Command{
		Name: name, Usage: "on Linux only", Hidden: hidden, SkipFlagParsing: true,
		Action: func(*cli.Context) error { return linuxOnly("sockleak " + name) },
	}
}
