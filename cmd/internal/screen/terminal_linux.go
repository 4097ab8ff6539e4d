package screen

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"golang.org/x/term"
)

// framesPerSecond is how often the screen is written at the most: keys are answered at once to the eye, and nothing is sent
// for what nobody can read.
const framesPerSecond = 20

func run(ctx context.Context, in, out *os.File, o Options, sample Sample) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m := newModel(o)
	s := newSampler(o, m.want, sample)
	a := &app{model: m, sampler: s}
	p := tea.NewProgram(a, programOptions(out, o)...)
	a.quit = func() { go p.Send(tea.QuitMsg{}) }
	s.send = p.Send
	stop := endBySignal(a.quit)
	defer stop()
	defer context.AfterFunc(ctx, a.quit)()
	if term.IsTerminal(int(in.Fd())) {
		a.keyboard = &keyboard{file: in, send: p.Send, gone: func() {
			a.gone.Store(true)
			a.quit()
		}}
		if err := a.keyboard.open(); err != nil {
			return fmt.Errorf("screen: %w", err)
		}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.run(ctx)
	}()
	_, err := p.Run()
	if a.keyboard != nil {
		a.keyboard.close()
	}
	cancel()
	<-ended
	return a.outcome(err)
}

// outcome is why the screen has ended. A panic goes on, now that the terminal is as it was.
func (a *app) outcome(err error) error {
	for _, c := range []*crash{a.crash, a.sampler.crash} {
		if c != nil {
			panic(c.String())
		}
	}
	switch {
	case a.sampler.err != nil:
		return a.sampler.err
	case err == nil || a.gone.Load():
		return nil
	}
	return fmt.Errorf("screen: %w", err)
}

// programOptions: the library is told what the terminal can show, and does not ask it; keys, panics and signals are ours.
func programOptions(out *os.File, o Options) []tea.ProgramOption {
	profile := colorprofile.ANSI
	if !o.Color {
		profile = colorprofile.ASCII
	}
	return []tea.ProgramOption{
		tea.WithInput(nil), tea.WithOutput(out), tea.WithoutSignalHandler(), tea.WithoutCatchPanics(), tea.WithFPS(framesPerSecond),
		tea.WithColorProfile(profile),
	}
}

// endBySignal quits in an orderly way, so that the terminal is restored: that of a shell that is logged out is closed, and that of
// one which sends the signal is not.
func endBySignal(quit func()) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		select {
		case <-signals:
			quit()
		case <-done:
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}

// app is the model as the library wants it. A panic in it ends the program, and is raised again when the terminal is restored.
type app struct {
	model    *model
	sampler  *sampler
	keyboard *keyboard // nil where there is none
	quit     func()
	gone     atomic.Bool // the terminal is closed
	crash    *crash
}

func (a *app) Init() tea.Cmd { return nil }

func (a *app) Update(msg tea.Msg) (m tea.Model, _ tea.Cmd) {
	m = a // of what panics, too
	defer a.recover()
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		a.model.resize(msg.Width, msg.Height)
	case shotMsg:
		a.model.look(msg.shot)
	case savedMsg:
		a.model.saved(msg)
	case endMsg:
		return a, tea.Quit
	case tea.KeyPressMsg:
		return a, a.perform(a.model.key(msg.String(), msg.Text))
	}
	return a, nil
}

func (a *app) View() (v tea.View) {
	v.AltScreen, v.DisableBracketedPasteMode = true, true
	defer a.recover()
	if a.crash == nil {
		v.SetContent(a.model.view())
	}
	return v
}

func (a *app) recover() {
	if v := recover(); v != nil {
		if a.crash == nil {
			a.crash = caught(v)
		}
		a.quit()
	}
}

// perform does what a key has asked for.
func (a *app) perform(e effect) tea.Cmd {
	m, give := a.model, a.sampler.desk.give
	switch e {
	case quit:
		return tea.Quit
	case suspend:
		return tea.Exec(stopper{a}, nil)
	case redraw:
		return tea.ClearScreen
	case lookNow:
		give(func(o *orders) { o.look = true })
	case slower:
		give(func(o *orders) { o.interval = m.o.Interval })
	case retake:
		give(func(o *orders) { o.want, o.retake = m.want, true })
	case arrange:
		give(func(o *orders) { o.by, o.order, o.arrange = m.arranged() })
	case save:
		give(func(o *orders) { o.save = true })
	}
	return nil
}

// stopper gives the shell its terminal, and waits for fg.
type stopper struct{ app *app }

// stopsWithin is how soon a process has stopped that can be: one that no shell waits for cannot, and goes on.
const stopsWithin = 200 * time.Millisecond

// Run stops the process group, as the terminal does it where ctrl-z is not read as a key.
func (s stopper) Run() error {
	goesOn := make(chan os.Signal, 1)
	signal.Notify(goesOn, syscall.SIGCONT)
	defer signal.Stop(goesOn)
	s.app.keyboard.close() // it is from there that ctrl-z came
	if err := syscall.Kill(0, syscall.SIGTSTP); err == nil {
		select {
		case <-goesOn:
		case <-time.After(stopsWithin):
		}
	}
	if err := s.app.keyboard.open(); err != nil {
		s.app.quit() // nobody could
		return err
	}
	return nil
}

// SetStdin, SetStdout and SetStderr do nothing: there is no other program.
func (stopper) SetStdin(io.Reader)  {}
func (stopper) SetStdout(io.Writer) {}
func (stopper) SetStderr(io.Writer) {}
