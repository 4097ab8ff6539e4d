package report

import (
	"slices"
	"strconv"
	"time"

	"github.com/sockleak/sockleak/diag"
	"github.com/sockleak/sockleak/procfd"
)

// Exam is what was found of a host and of who runs the program there, and what will work.
type Exam struct {
	At       time.Time
	Host     procfd.Host
	Took     time.Duration
	Checks   []ExamCheck   // by area
	Commands []ExamCommand // in the order that they are told in
}

// ExamCheck is one thing that was looked at.
type ExamCheck struct {
	Area, Name string
	State      ExamState
	Value      string // what was found
	Note       string // what follows from it, "" for nothing
}

// ExamCommand is something that the program can do, or cannot.
type ExamCommand struct {
	Name   string
	State  ExamState
	Why    string // it does not work in full; else what is to be known of it, "" for nothing
	Remedy string // how it will, "" where it does or nobody can help
}

// ExamState is how well something works.
type ExamState uint8

// The states.
const (
	ExamNote ExamState = iota // neither good nor bad
	ExamOK
	ExamPart // not in full
	ExamNo
)

// Works reports whether everything does.
func (e *Exam) Works() bool {
	for _, c := range e.Commands {
		if c.State == ExamPart || c.State == ExamNo {
			return false
		}
	}
	return true
}

// Doctor is the view of an examination.
func Doctor(e *Exam) Value { return doctor{e} }

type doctor struct{ e *Exam }

// examWords are for people, and for programs.
var examWords = [...][2]string{ExamNote: {"-", "note"}, ExamOK: {"OK", "ok"}, ExamPart: {"PART", "part"}, ExamNo: {"NO", "no"}}

func (s ExamState) cell() Cell { return Cell{Text: examWords[s][0], Raw: examWords[s][1]} }

func (v doctor) document(Options) *Document {
	doc := &Document{Title: titleOf("doctor", &diag.Snapshot{Host: v.e.Host, At: v.e.At}, v.e.Took)}
	doc.Sections = append(doc.Sections, v.verdict())
	if steps := v.remedies(); len(steps) > 0 {
		doc.Sections = append(doc.Sections, Section{Heading: "how to get the rest", Steps: steps})
	}
	checks := &Table{Name: "check", Columns: []Column{
		{Key: "area", Head: "Area"}, {Key: "name", Head: "Check"}, {Key: "state", Head: "State"}, {Key: "found", Head: "Found", Wrap: true},
		{Key: "note", Head: "Note", Wrap: true},
	}}
	area := ""
	for _, c := range v.e.Checks {
		shown := text(c.Area)
		if c.Area == area {
			shown.Text = "" // people read on; programs have it in each row
		}
		area = c.Area
		checks.Rows = append(checks.Rows, []Cell{shown, text(c.Name), c.State.cell(), text(c.Value), text(c.Note)})
	}
	doc.Sections = append(doc.Sections, Section{Heading: "what there is", Table: checks})
	return doc
}

// verdict is what works, command by command.
func (v doctor) verdict() Section {
	s := Section{Tone: Good, Mark: "OK", Heading: "everything works"}
	if !v.e.Works() {
		s = Section{Tone: Warning, Mark: "PART", Heading: "not everything works, or not in full"}
	}
	s.Table = &Table{Name: "command", Columns: []Column{
		{Key: "command", Head: "What works"}, {Key: "state", Head: "State"}, {Key: "why", Head: "Why", Wrap: true}, {Key: "remedy", Head: "See"},
	}}
	for _, c := range v.e.Commands {
		s.Table.Rows = append(s.Table.Rows, []Cell{text(c.Name), c.State.cell(), text(c.Why), v.remedy(c)})
	}
	return s
}

// remedies are what helps, each once.
func (v doctor) remedies() []string {
	var list []string
	for _, c := range v.e.Commands {
		if c.Remedy != "" && !slices.Contains(list, c.Remedy) {
			list = append(list, c.Remedy)
		}
	}
	return list
}

// remedy is a number for people, who find it among the remedies.
func (v doctor) remedy(c ExamCommand) Cell {
	if c.Remedy == "" {
		return Cell{}
	}
	return Cell{Text: strconv.Itoa(slices.Index(v.remedies(), c.Remedy) + 1), Raw: c.Remedy}
}

// doctorSchema changes when a field changes its meaning or goes; new fields may come.
const doctorSchema = "sockleak.doctor/1"

type wireExam struct {
	wireHead
	Works    bool              `json:"works"`
	Commands []wireExamCommand `json:"commands"`
	Checks   []wireExamCheck   `json:"checks"`
}

type wireExamCommand struct {
	Command string `json:"command"`
	State   string `json:"state"` // ok, part, no or note
	Why     string `json:"why"`
	Remedy  string `json:"remedy"`
}

type wireExamCheck struct {
	Area  string `json:"area"`
	Name  string `json:"name"`
	State string `json:"state"`
	Found string `json:"found"`
	Note  string `json:"note"`
}

func (v doctor) wire(Options) any {
	w := wireExam{
		wireHead: wireHead{Schema: doctorSchema, TakenAt: momentOf(v.e.At), Host: v.e.Host.Name, Kernel: v.e.Host.Kernel, TookMS: v.e.Took.Milliseconds()},
		Works:    v.e.Works(), Commands: []wireExamCommand{}, Checks: []wireExamCheck{},
	}
	for _, c := range v.e.Commands {
		w.Commands = append(w.Commands, wireExamCommand{c.Name, examWords[c.State][1], c.Why, c.Remedy})
	}
	for _, c := range v.e.Checks {
		w.Checks = append(w.Checks, wireExamCheck{c.Area, c.Name, examWords[c.State][1], c.Value, c.Note})
	}
	return w
}
