package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/procfd"
)

// What changes seldom is written as a word: an object that is written once for each key, and named by its number from then on.
// Lists that are nil are null, so that they are nil again.

type wireGap struct {
	What  text `json:"what"`
	Count int  `json:"count"`
	Why   text `json:"why"`
	Minor bool `json:"minor"`
}

func wireGaps(gaps []diag.Gap) []wireGap {
	return each(gaps, func(g diag.Gap) wireGap { return wireGap{text(g.What), g.Count, text(g.Why), g.Minor} })
}

func gapsOf(gaps []wireGap) []diag.Gap {
	return each(gaps, func(g wireGap) diag.Gap {
		return diag.Gap{What: string(g.What), Count: g.Count, Why: string(g.Why), Minor: g.Minor}
	})
}

// each makes a list of another; nil of nil.
func each[T, U any](list []T, f func(T) U) []U {
	if list == nil {
		return nil
	}
	all := make([]U, len(list))
	for i, v := range list {
		all[i] = f(v)
	}
	return all
}

// wireHost is what is told of the host and of the look as a whole.
type wireHost struct {
	Name   text      `json:"name"`
	Kernel text      `json:"kernel"`
	Gaps   []wireGap `json:"gaps"`
}

// wireSpace is what stays of a namespace.
type wireSpace struct {
	Netns   uint64            `json:"netns"`
	Sysctls procfd.NetSysctls `json:"sysctls"`
	Source  text              `json:"time_wait_source"`
	Listed  text              `json:"listed,omitempty"`
	Listens []uint16          `json:"listens"`
	Gaps    []wireGap         `json:"gaps"`
}

type wireProcGap struct {
	What   text `json:"what"`
	Count  int  `json:"count"`
	Why    text `json:"why"`
	Denied bool `json:"denied"`
	Remedy text `json:"remedy,omitempty"`
}

// recordedError is what an error said.
type recordedError struct {
	text   string
	denied bool
}

func (e *recordedError) Error() string { return e.text }

// Is tells [fs.ErrPermission], which [procfd.Gap.Denied] asks for.
func (e *recordedError) Is(target error) bool { return e.denied && target == fs.ErrPermission } //nolint:errorlint // this is what errors.Is calls

func wireProcGaps(gaps []procfd.Gap) []wireProcGap {
	return each(gaps, func(g procfd.Gap) wireProcGap {
		w := wireProcGap{What: text(g.What), Count: g.Count, Denied: g.Denied(), Remedy: text(g.Remedy)}
		if g.Err != nil {
			w.Why = text(g.Err.Error())
		}
		return w
	})
}

func procGapsOf(gaps []wireProcGap) []procfd.Gap {
	return each(gaps, func(g wireProcGap) procfd.Gap {
		return procfd.Gap{What: string(g.What), Count: g.Count, Err: &recordedError{string(g.Why), g.Denied}, Remedy: string(g.Remedy)}
	})
}

// wireWho is what stays of a process.
type wireWho struct {
	PID       int           `json:"pid"`
	PPID      int           `json:"ppid"`
	TGID      int           `json:"tgid"`
	Start     uint64        `json:"start"`
	Name      text          `json:"name"`
	Exe       text          `json:"exe"`
	Args      []text        `json:"args"`
	Runtime   text          `json:"runtime"`
	UID       uint32        `json:"uid"`
	Cgroup    text          `json:"cgroup"`
	Kernel    bool          `json:"kernel,omitempty"`
	Netns     uint64        `json:"netns"`
	SoftLimit uint64        `json:"soft_limit"`
	Epolls    []int         `json:"epolls"`
	Urings    []int         `json:"urings"`
	FDTask    int           `json:"fd_task"`
	NetTask   int           `json:"net_task"`
	Gaps      []wireProcGap `json:"gaps"`
	Parent    text          `json:"parent"`
	EventLoop bool          `json:"event_loop"`
	Alone     bool          `json:"alone"`
	Inner     []int         `json:"ns_pids,omitempty"`
	Container *wireNames    `json:"container,omitempty"`
}

// wireNames are what files told of a process's container; what its cgroup's path tells is read from that again.
type wireNames struct {
	Runtime  text `json:"runtime"`
	Name     text `json:"name"`
	Service  text `json:"service"`
	PodName  text `json:"pod_name"`
	PodSpace text `json:"pod_namespace"`
}

func wireNamesOf(c *procfd.Container) *wireNames {
	if c == nil || c.Name == "" && c.PodName == "" {
		return nil
	}
	return &wireNames{text(c.Runtime), text(c.Name), text(c.Service), text(c.PodName), text(c.PodSpace)}
}

// placeOf is where a process was.
func (w *wireWho) placeOf() procfd.Place {
	p := procfd.ParseCgroup(string(w.Cgroup))
	if n, c := w.Container, p.Container; n != nil && c != nil {
		c.Runtime, c.Name, c.Service = string(n.Runtime), string(n.Name), string(n.Service)
		c.PodName, c.PodSpace = string(n.PodName), string(n.PodSpace)
	}
	return p
}

// mostArgs is how many bytes of arguments are kept: a class path may have megabytes. A report shows fewer.
const mostArgs = 16 << 10

func cutArgs(args []string) []string {
	room := mostArgs
	for i, arg := range args {
		if room -= len(arg) + 1; room < 0 {
			return append(args[:i:i], "…")
		}
	}
	return args
}

func whoOf(p *diag.Proc) *wireWho {
	return &wireWho{
		PID: p.PID, PPID: p.PPID, TGID: p.TGID, Start: p.Start, Name: text(p.Name), Exe: text(p.Exe), Args: texts(cutArgs(p.Args)),
		Runtime: text(p.Runtime), UID: p.UID, Cgroup: text(p.Cgroup), Kernel: p.Kernel, Netns: p.Netns, SoftLimit: p.SoftLimit,
		Epolls: p.Epolls, Urings: p.Urings, FDTask: p.FDTask, NetTask: p.NetTask, Gaps: wireProcGaps(p.Process.Gaps),
		Parent: text(p.Parent), EventLoop: p.EventLoop, Alone: p.Alone,
		Inner: p.Inner, Container: wireNamesOf(p.Place.Container),
	}
}

func (w *wireWho) restore(p *diag.Proc) {
	p.Process = &procfd.Process{
		PID: w.PID, PPID: w.PPID, TGID: w.TGID, Start: w.Start, Name: string(w.Name), Exe: string(w.Exe), Args: plain(w.Args),
		Runtime: string(w.Runtime), UID: w.UID, Cgroup: string(w.Cgroup), Kernel: w.Kernel, Netns: w.Netns, SoftLimit: w.SoftLimit,
		Epolls: w.Epolls, Urings: w.Urings, FDTask: w.FDTask, NetTask: w.NetTask, Gaps: procGapsOf(w.Gaps),
		Place: w.placeOf(), Inner: w.Inner,
	}
	p.Parent, p.EventLoop, p.Alone = string(w.Parent), w.EventLoop, w.Alone
}

// wireLoose is what few processes have, and those seldom otherwise than before. Sockets and processes are named by their slots.
type wireLoose struct {
	Queues       []wireQueue        `json:"queues,omitempty"`
	Destinations []diag.Destination `json:"destinations,omitempty"`
	Passed       []diag.Passed      `json:"passed,omitempty"`
	Again        *wireAgain         `json:"again,omitempty"`
	Kin          []uint32           `json:"kin,omitempty"`
	Gaps         []wireGap          `json:"gaps,omitempty"`
	Protocols    []int              `json:"protocols,omitempty"` // of its sockets, in the order of procfd
}

type wireQueue struct {
	Task    int      `json:"task"`
	FD      int      `json:"fd"`
	Waiting []uint32 `json:"waiting"`
	Others  int      `json:"others"`
}

type wireAgain struct {
	Took time.Duration `json:"took"`
	Legs []uint32      `json:"legs"`
}

type wireHolder struct {
	PID  int  `json:"pid"`
	FD   int  `json:"fd"`
	Task int  `json:"task,omitempty"`
	Name text `json:"name"`
}

func wireHolders(list []diag.Holder) []wireHolder {
	return each(list, func(h diag.Holder) wireHolder { return wireHolder{h.PID, h.FD, h.Task, text(h.Name)} })
}

func holdersOf(list []wireHolder) []diag.Holder {
	return each(list, func(h wireHolder) diag.Holder {
		return diag.Holder{PID: h.PID, FD: h.FD, Task: h.Task, Name: string(h.Name)}
	})
}

// wireMore is what few sockets have.
type wireMore struct {
	FDs     []int         `json:"fds,omitempty"` // when they are several
	Others  []wireHolder  `json:"others,omitempty"`
	Holders []wireHolder  `json:"end,omitempty"` // of the other end
	Options *diag.Options `json:"options,omitempty"`
}

// wireSample is the line that ends a sample.
type wireSample struct {
	Sample int             `json:"sample"` // from 1 on
	At     time.Time       `json:"at"`
	Began  time.Time       `json:"began,omitzero"`
	Set    time.Duration   `json:"set,omitempty"` // by how much the host's clock was set since the first sample
	Up     time.Duration   `json:"up"`
	Host   uint32          `json:"host"` // word
	Spaces []wireSpaceLine `json:"spaces"`
	Rest   bool            `json:"rest"`
}

// wireSpaceLine is a namespace in one sample.
type wireSpaceLine struct {
	Space    uint32        `json:"space"` // word
	TimeWait int           `json:"time_wait"`
	Orphans  int           `json:"orphans"`
	Took     time.Duration `json:"took"`
	Ended    time.Duration `json:"ended"`
	Late     time.Duration `json:"late"`
	Foreign  bool          `json:"foreign,omitempty"` // it is of none of the processes
}

// vocabulary are the words of a writer.
type vocabulary struct {
	numbers map[string]uint32
	fresh   [][]byte // that no line has yet
	size    int      // of all words, in bytes
}

// word is the number of an object, from 1 on; 0 is none.
func (v *vocabulary) word(object any) (uint32, error) {
	b, err := json.Marshal(object)
	if err != nil {
		return 0, err
	}
	if n, ok := v.numbers[string(b)]; ok {
		return n, nil
	}
	if v.size += len(b); v.size > maxWords || len(v.numbers) == maxSockets {
		return 0, errWords
	}
	n := uint32(len(v.numbers) + 1)
	v.numbers[string(b)] = n
	v.fresh = append(v.fresh, b)
	return n, nil
}

// dictionary are the words of a reader.
type dictionary struct {
	raw    []json.RawMessage
	parsed []any
	size   int // of raw, in bytes
}

func (d *dictionary) add(l *lexer) error {
	var list []json.RawMessage
	dec := json.NewDecoder(bytes.NewReader(l.b[l.i:]))
	if err := dec.Decode(&list); err != nil {
		return fmt.Errorf("words: %w", err)
	}
	l.i += int(dec.InputOffset())
	for _, word := range list {
		d.size += len(word)
	}
	if len(d.raw)+len(list) > maxSockets || d.size > maxWords {
		return errWords
	}
	d.raw = append(d.raw, list...)
	d.parsed = append(d.parsed, make([]any, len(list))...)
	return nil
}

// wordAs is the word of that number.
func wordAs[T any](d *dictionary, n uint32) (*T, error) {
	if n == 0 || int(n) > len(d.raw) {
		return nil, fmt.Errorf("there is no word %d", n)
	}
	if v, ok := d.parsed[n-1].(*T); ok {
		return v, nil
	}
	v := new(T)
	if err := json.Unmarshal(d.raw[n-1], v); err != nil {
		return nil, fmt.Errorf("word %d: %w", n, err)
	}
	d.parsed[n-1] = v
	return v, nil
}

var (
	errNoDescriptor = errors.New("a held socket without a descriptor")
	errWords        = fmt.Errorf("more than %d words, or %d bytes of them, since the last key", maxSockets, maxWords)
)
