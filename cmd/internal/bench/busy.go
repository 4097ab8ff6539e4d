//go:build linux

package main

import (
	"io"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// busyCores keeps all processors but one busy until the function that it returns is called.
func busyCores(p programs) (stop func(), err error) {
	var stdins []io.Closer
	var cmds []*exec.Cmd
	stop = func() {
		for _, stdin := range stdins {
			stdin.Close()
		}
		for _, cmd := range cmds {
			_ = cmd.Wait() // its status says nothing
		}
	}
	for range runtime.NumCPU() - 1 {
		cmd := exec.Command(p.spin)
		cmd.Stderr = os.Stderr
		cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true} // an interrupt is not for it
		stdin, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			return stop, err
		}
		stdins, cmds = append(stdins, stdin), append(cmds, cmd)
	}
	return stop, nil
}
