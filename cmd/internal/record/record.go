package record

import (
	"errors"
	"iter"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/netlinkss"
)

// Schema is what a file begins with. It changes when an older reader would read it wrong.
const Schema = "sockleak.record/1"

// Header is what a recording says of itself before its samples.
type Header struct {
	Schema    string // [Schema]; a writer sets it
	Program   string // and its version
	Host      string
	Kernel    string
	Began     time.Time
	Interval  time.Duration // between samples, as it was asked for; 0: there is one
	Arguments []string      // how the processes were chosen, as on the command line
	PIDs      []int         // that were chosen at the beginning
	// Whole: all sockets of the namespaces are in it, and not only those of the processes.
	Whole bool
}

// Sample is one look.
type Sample struct {
	Snapshot *diag.Snapshot
	// Rest are the sockets of the namespaces that no process of the snapshot holds, by the inode of their namespace; nil: they were
	// not recorded. A *Socket of it is valid until the next step, and what a reader gives until its next sample.
	Rest iter.Seq2[uint64, *netlinkss.Socket]
}

// Options of a writer. The zero value writes lines of JSON, as many as there are.
type Options struct {
	Zstd bool
	// MaxSize is how many bytes the file may have; 0: any.
	MaxSize int64
}

var (
	// ErrFull: another sample would make the file larger than it may be. What is in it stays whole.
	ErrFull = errors.New("the recording is as large as it may be")
	// ErrNotRecording: a file is something else.
	ErrNotRecording = errors.New("this is no recording")
)

// Bounds of what is read: what comes from a file may come from anybody.
const (
	// maxLine is how long a line may be; the longest that is written are those of raw bytes, and of processes with many gaps.
	maxLine = 64 << 20
	// maxSockets is how many sockets, descriptors, processes and words there may be at a time. A table takes some 160 bytes for each.
	maxSockets = 1 << 21
	// maxWords is how many bytes the words may have that one key and what follows it name.
	maxWords = 256 << 20
	// maxWindow is how much memory the decompression of a frame may ask for.
	maxWindow = 8 << 20
	// maxRaw is how many raw bytes stand in one line: with base64 it has 1 MiB.
	maxRaw = 768 << 10
)

// keyEvery is how many times the size of a key may follow it before the next one: so much more is read for the last sample, and
// no more than one part in so many of a file are keys.
const keyEvery = 8

type wireHeader struct {
	Schema    string    `json:"schema"`
	Program   text      `json:"program"`
	Host      text      `json:"host"`
	Kernel    text      `json:"kernel"`
	Began     time.Time `json:"began"`
	Interval  int64     `json:"interval_ms"`
	Arguments []text    `json:"arguments"`
	PIDs      []int     `json:"pids"`
	Whole     bool      `json:"whole"`
}

func (h *Header) wire() *wireHeader {
	return &wireHeader{
		Schema: Schema, Program: text(h.Program), Host: text(h.Host), Kernel: text(h.Kernel), Began: h.Began.UTC(),
		Interval: h.Interval.Milliseconds(), Arguments: texts(h.Arguments), PIDs: h.PIDs, Whole: h.Whole,
	}
}

func (w *wireHeader) header() Header {
	return Header{
		Schema: w.Schema, Program: string(w.Program), Host: string(w.Host), Kernel: string(w.Kernel), Began: w.Began,
		Interval: time.Duration(w.Interval) * time.Millisecond, Arguments: plain(w.Arguments), PIDs: w.PIDs, Whole: w.Whole,
	}
}
