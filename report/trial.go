package report

import "github.com/sockleak/sockleak/diag"

// Trial is a leak beside its cure: the same was done to two programs, and both were diagnosed.
type Trial struct {
	Name    string    // of the leak, one word
	About   string    // the leak in half a sentence
	Names   [2]string // of the two programs
	Results [2]*diag.Result
	// Proof is what was shown; Doubt is why nothing was, "" when all was as it should be.
	Proof, Doubt string
	// Looks are commands that show the same, and LooksWhen says when they did.
	Looks     []Command
	LooksWhen string
	Story     []string // what happened, step by step; none when it has been told
}

// Trials is the view of one trial, or of several in one document.
func Trials(list ...*Trial) Value { return trials{list} }

type trials struct{ list []*Trial }

func (v trials) document(o Options) *Document {
	d := &Document{Title: v.title()}
	for _, t := range v.list {
		if len(v.list) > 1 {
			d.Sections = append(d.Sections, Section{Part: true, Tone: t.verdict().Tone, Mark: t.verdict().Mark, Heading: t.Name + ": " + t.About})
		}
		for _, s := range t.sections(o) {
			s.Table.label("leak", t.Name)
			d.Sections = append(d.Sections, s)
		}
	}
	return d
}

// label gives every row a text that is for programs alone.
func (t *Table) label(key, value string) {
	if t == nil {
		return
	}
	t.Columns = append([]Column{{Key: key, Data: true}}, t.Columns...)
	for i, row := range t.Rows {
		t.Rows[i] = append([]Cell{text(value)}, row...)
	}
}

func (v trials) title() string {
	if len(v.list) == 0 {
		return "sockleak demo"
	}
	first := v.list[0]
	what := "demo of " + plural(len(v.list), "leak")
	if len(v.list) == 1 {
		what = "demo of " + first.Name + ", " + first.About
	}
	return titleAt(what, first.Results[0].Snapshot)
}

func (t *Trial) verdict() Section {
	if t.Doubt != "" {
		return Section{Tone: Alarm, Mark: "NOT PROVED", Heading: t.Doubt}
	}
	return Section{Tone: Good, Mark: "PROVED", Heading: t.Proof}
}

// sections are the answer, the counts, what the diagnoses say, what could not be seen, and how to look for oneself.
func (t *Trial) sections(o Options) []Section {
	c := compareOf(t.Names, t.Results)
	list := append([]Section{t.verdict()}, c.sections(o)...)
	for i, r := range t.Results {
		list = append(list, t.diagnosis(i, leakscan{r}, o)...)
	}
	list = append(list, c.gaps()...)
	if len(t.Looks) > 0 {
		list = append(list, Section{Tone: Note, Heading: "how to look for oneself", Text: []string{t.LooksWhen}, Commands: t.Looks})
	}
	if len(t.Story) > 0 {
		list = append(list, Section{Heading: "what happened", Steps: t.Story})
	}
	return list
}

// diagnosis is the verdict over one of the two, and its findings.
func (t *Trial) diagnosis(i int, v leakscan, o Options) []Section {
	s := v.verdict()
	s.Heading = "the " + t.Names[i] + " one: " + s.Heading
	s.Table = findingTable(v.r.Findings)
	return append([]Section{s}, findingSections(v.r.Findings, o)...)
}

// trialsSchema changes when a field changes its meaning or goes; new fields may come.
const trialsSchema = "sockleak.demo/1"

type wireTrials struct {
	Schema string       `json:"schema"`
	Trials []*wireTrial `json:"trials"`
}

// wireTrial is a comparison with what it is of.
type wireTrial struct {
	*wireCompare
	Leak   string     `json:"leak"`
	About  string     `json:"about"`
	Proved bool       `json:"proved"`
	Proof  string     `json:"proof"` // or why there is none
	Looks  []wireLook `json:"looks"`
}

type wireLook struct {
	Command string `json:"command"`
	Shows   string `json:"shows"`
}

// wire of one trial is that of its comparison, with more fields.
func (v trials) wire(o Options) any {
	w := wireTrials{Schema: trialsSchema, Trials: []*wireTrial{}}
	for _, t := range v.list {
		one := &wireTrial{
			wireCompare: compareOf(t.Names, t.Results).wireOf(o), Leak: t.Name, About: t.About, Proved: t.Doubt == "", Proof: t.Proof, Looks: []wireLook{},
		}
		if !one.Proved {
			one.Proof = t.Doubt
		}
		for _, c := range t.Looks {
			one.Looks = append(one.Looks, wireLook{c.Line, c.Shows})
		}
		w.Trials = append(w.Trials, one)
	}
	if len(w.Trials) == 1 {
		return w.Trials[0]
	}
	return w
}
