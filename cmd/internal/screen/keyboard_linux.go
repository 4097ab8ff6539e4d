package screen

import (
	"context"
	"fmt"
	"os"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"
	"github.com/muesli/cancelreader"
	"golang.org/x/sys/unix"
)

// keyboard reads keys from a terminal. The library would ask the terminal for what it can do as soon as it reads from it, and the
// answer is typed into the shell where the screen has ended by then, as after a first look that fails.
type keyboard struct {
	file *os.File
	send func(tea.Msg)
	gone func() // the terminal is closed

	before *unix.Termios // how the terminal is set when nobody reads keys; nil: nobody does
	reader cancelreader.CancelReader
	events chan uv.Event
	told   chan struct{} // closed when it is to end
	done   chan struct{} // closed when it has
}

// open begins to read keys, one by one and unseen.
func (k *keyboard) open() error {
	fd := int(k.file.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return fmt.Errorf("terminal settings: %w", err)
	}
	reader, err := uv.NewCancelReader(k.file)
	if err != nil {
		return fmt.Errorf("read keys: %w", err)
	}
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, keyByKey(*before)); err != nil {
		reader.Close()
		return fmt.Errorf("terminal settings: %w", err)
	}
	k.before, k.reader = before, reader
	k.events, k.told, k.done = make(chan uv.Event), make(chan struct{}), make(chan struct{})
	go k.stream(reader, k.events, k.told, k.done)
	go k.forward(k.events, k.told)
	return nil
}

// keyByKey are settings by which each key is read as it is typed, ctrl-c and ctrl-z among them. What is written is treated as
// before, so that a line feed begins a line, whoever writes it.
func keyByKey(t unix.Termios) *unix.Termios {
	t.Iflag &^= unix.BRKINT | unix.ICRNL | unix.INLCR | unix.IGNCR | unix.INPCK | unix.ISTRIP | unix.IXON
	t.Oflag |= unix.OPOST | unix.ONLCR
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.IEXTEN | unix.ISIG
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	return &t
}

// stream reads until it is told to end, or the terminal is closed.
func (k *keyboard) stream(reader cancelreader.CancelReader, events chan<- uv.Event, told <-chan struct{}, done chan<- struct{}) {
	defer close(done)
	_ = uv.NewTerminalReader(reader, os.Getenv("TERM")).StreamEvents(context.Background(), events)
	select {
	case <-told:
	default:
		k.gone()
	}
}

func (k *keyboard) forward(events <-chan uv.Event, told <-chan struct{}) {
	for {
		select {
		case e := <-events:
			k.send(e)
		case <-told:
			return
		}
	}
}

// close ends the reading and sets the terminal as it was. It may be opened again.
func (k *keyboard) close() {
	if k.before == nil {
		return
	}
	close(k.told)
	k.reader.Cancel()
	for reading := true; reading; {
		select {
		case <-k.events: // typed too late
		case <-k.done:
			reading = false
		}
	}
	k.reader.Close()
	_ = unix.IoctlSetTermios(int(k.file.Fd()), unix.TCSETS, k.before) // of a terminal that is gone there is nothing to restore
	k.before = nil
}
