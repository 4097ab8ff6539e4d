package report

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"sync"
)

//go:embed html.tmpl
var pageText string

//go:embed html/page.css
var pageCSS string

//go:embed html/page.js
var pageJS string

//go:embed html/uPlot.min.css
var plotCSS string

//go:embed html/uPlot.iife.min.js
var plotJS string

//go:embed html/LICENSE.uPlot
var plotLicence string

// pageTemplate is read when the first page is written, which most runs never do.
var pageTemplate = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("page").Parse(pageText))
})

// page is a document as the template writes it: the texts are clean, and escaped by the template.
type page struct {
	Title       string
	Name, About string // the title, up to its first point and behind it
	Policy      string
	Style       template.CSS // ours
	Script      template.JS  // ours
	Parts       []pageSection
	Sections    []pageSection
	Data        []plotData
}

type pageSection struct {
	ID            string // "" for what nothing refers to
	Part          bool
	Class         string
	Mark, Heading string
	Text          []string
	Facts         []pageFact
	Steps         []string
	Commands      []Command
	Plots         []pagePlot
	Table         *pageTable
	Contents      *pageContents // behind the verdict
}

// pageContents are sections that one may want to jump to.
type pageContents struct{ First, Rest []pageSection }

// pageFact are facts of one name that stand in a row.
type pageFact struct {
	Name  string
	Class template.HTMLAttr // one of ours
	Texts []string
}

// writeHTML writes one page that needs nothing else: no other file, no request.
func writeHTML(w io.Writer, v Value, o Options) error {
	return pageTemplate().Execute(w, pageOf(v.document(o), o))
}

func pageOf(d *Document, o Options) *page {
	p := &page{Title: Clean(d.Title)}
	p.Name, p.About, _ = strings.Cut(p.Title, " · ")
	verdicts := []int{}
	for i, s := range d.Sections {
		section := pageSectionOf(s, o)
		section.Plots = p.plotsOf(s.Plots, o)
		switch {
		case s.Part:
			section.ID = fmt.Sprintf("part-%d", len(p.Parts)+1)
			p.Parts = append(p.Parts, section)
		case i == 0 && s.Mark != "" || i > 0 && d.Sections[i-1].Part:
			section.Class += " verdict"
			verdicts = append(verdicts, len(p.Sections))
		case s.Mark != "" && !s.Brief:
			section.ID = fmt.Sprintf("section-%d", i)
		}
		if s.Part || !section.empty() {
			p.Sections = append(p.Sections, section)
		}
	}
	if len(verdicts) == 1 && len(p.Parts) == 0 {
		p.Sections[verdicts[0]].Contents = contentsOf(p.Sections)
	}
	p.dress()
	return p
}

// contentsOf has the first of those that are alike at once; nil when there is one section to jump to at the most.
func contentsOf(sections []pageSection) *pageContents {
	c := &pageContents{}
	alike := map[[2]string]int{}
	for _, s := range sections {
		if s.ID == "" {
			continue
		}
		key := [2]string{s.Mark, s.Heading}
		if alike[key]++; alike[key] <= inFull {
			c.First = append(c.First, s)
		} else {
			c.Rest = append(c.Rest, s)
		}
	}
	if len(c.First) < 2 {
		return nil
	}
	return c
}

// dress adds style and script, and the policy by which a browser runs these alone, and asks nobody for anything.
func (p *page) dress() {
	style, script := pageCSS, pageJS
	if len(p.Data) > 0 {
		style = plotCSS + "\n" + pageCSS
		script = "/*\n" + plotLicence + "*/\n" + plotJS + "\n" + pageJS
	}
	p.Style, p.Script = template.CSS(style), template.JS(script)
	p.Policy = fmt.Sprintf("default-src 'none'; script-src %s; style-src %s; base-uri 'none'; form-action 'none'", hashOf(script), hashOf(style))
}

// hashOf names a text in a policy.
func hashOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

var toneClasses = [...]string{Plain: "plain", Good: "good", Note: "note", Warning: "warning", Alarm: "alarm"}

func pageSectionOf(s Section, o Options) pageSection {
	section := pageSection{
		Part: s.Part, Class: toneClasses[s.Tone], Mark: Clean(s.Mark), Heading: Clean(s.Heading),
		Text: cleanAll(s.Text), Steps: cleanAll(s.Steps), Table: pageTableOf(s.Table, s.Heading, o),
	}
	if s.Brief {
		section.Class += " brief"
	}
	for i, f := range s.Facts {
		if i == 0 || f.Name != s.Facts[i-1].Name {
			fact := pageFact{Name: Clean(f.Name)}
			if f.Name == adviceFact {
				fact.Class = ` class="do"`
			}
			section.Facts = append(section.Facts, fact)
		}
		last := &section.Facts[len(section.Facts)-1]
		last.Texts = append(last.Texts, Clean(f.Text))
	}
	for _, c := range s.Commands {
		section.Commands = append(section.Commands, Command{Clean(c.Line), Clean(c.Shows)})
	}
	return section
}

// empty: what the section has is for programs alone.
func (s *pageSection) empty() bool {
	return s.Mark+s.Heading == "" && len(s.Text)+len(s.Facts)+len(s.Steps)+len(s.Commands)+len(s.Plots) == 0 && s.Table == nil
}

func cleanAll(texts []string) []string {
	var list []string
	for _, t := range texts {
		list = append(list, Clean(t))
	}
	return list
}

type pageTable struct {
	Label string
	Long  bool       // too long to be laid out while a browser reads it
	Heads []pageHead // none where they are left out
	Rows  template.HTML
	Total template.HTML // the row that sums up the others, which no sorting moves
	More  string
}

type pageHead struct {
	Text  string
	Class template.HTMLAttr // one of ours
}

// pageRows is how many rows of a table are on a page unless all are wanted.
const pageRows = 2000

// pageTableOf has the columns of the table for people; nil when it has nothing for them.
func pageTableOf(t *Table, label string, o Options) *pageTable {
	if t == nil {
		return nil
	}
	p := &pageTable{Label: Clean(label), More: Clean(t.More)}
	if p.Label == "" {
		p.Label = t.Name
	}
	cols := slices.DeleteFunc(t.shown(false), func(i int) bool { return t.Columns[i].Drawing })
	if len(cols) == 0 {
		if p.More == "" {
			return nil
		}
		return p
	}
	classes := make([]string, len(cols))
	for k, i := range cols {
		switch c := t.Columns[i]; {
		case c.Right:
			classes[k] = ` class="n"`
		case c.Wrap:
			classes[k] = ` class="wrap"`
		}
		if !o.NoHeader {
			p.Heads = append(p.Heads, pageHead{Clean(t.Columns[i].Head), template.HTMLAttr(classes[k])})
		}
	}
	rows := t.Rows
	if o.Top > 0 && len(rows) > max(o.Top, pageRows) {
		rows = rows[:max(o.Top, pageRows)]
		p.More = strings.TrimSpace(fmt.Sprintf("… and %d more rows: --top 0 shows all. %s", len(t.Rows)-len(rows), p.More))
	}
	if n := len(rows); t.Total && n > 1 {
		p.Total = rowsHTML(rows[n-1:], cols, classes)
		rows = rows[:n-1]
	}
	p.Long = len(rows) > pageRows/2
	p.Rows = rowsHTML(rows, cols, classes)
	return p
}

// rowsHTML is the body of a table. It is written here and not by the template, which takes many times as long for a row. A number
// that people do not read as one stands beside the text, for sorting.
func rowsHTML(rows [][]Cell, cols []int, classes []string) template.HTML {
	var b strings.Builder
	for _, row := range rows {
		b.WriteString("<tr>")
		for k, i := range cols {
			c := &row[i]
			b.WriteString("<td")
			b.WriteString(classes[k])
			if c.num && c.Raw != c.Text {
				b.WriteString(` data-v="`)
				b.WriteString(template.HTMLEscapeString(c.Raw))
				b.WriteByte('"')
			}
			b.WriteByte('>')
			b.WriteString(template.HTMLEscapeString(Clean(c.Text)))
			b.WriteString("</td>")
		}
		b.WriteString("</tr>\n")
	}
	return template.HTML(b.String())
}

type pagePlot struct {
	Title, Summary, Note string
	Number               int // in the data of the page
	Table                *pageTable
}

// plotData is a plot as the script draws it.
type plotData struct {
	Kind   string     `json:"kind"`
	Unit   string     `json:"unit"`
	Of     string     `json:"of"`
	Axis   string     `json:"axis"`
	Times  []float64  `json:"times"` // seconds since 1970
	Labels []string   `json:"labels"`
	Lines  []dataLine `json:"lines"`
}

type dataLine struct {
	Name   string      `json:"name"`
	Values wireNumbers `json:"values"`
}

var plotKinds = [...]string{LinesOverTime: "lines", Histogram: "histogram", Bars: "bars", Pairs: "pairs"}

// plotsOf are the plots of a section; their numbers go to the data of the page.
func (p *page) plotsOf(plots []*Plot, o Options) (list []pagePlot) {
	for _, plot := range plots {
		d := plot.drawn()
		if d == nil {
			continue
		}
		list = append(list, pagePlot{
			Title: Clean(d.Title), Summary: Clean(d.summary()), Note: Clean(d.Note), Number: len(p.Data), Table: pageTableOf(d.table(), d.Title, o),
		})
		data := plotData{
			Kind: plotKinds[d.Kind], Unit: lineUnits[d.Unit], Of: Clean(d.Of), Axis: Clean(d.Axis), Times: []float64{}, Labels: []string{}, Lines: []dataLine{},
		}
		for _, t := range d.Times {
			data.Times = append(data.Times, float64(t.UnixMilli())/1000)
		}
		data.Labels = append(data.Labels, cleanAll(d.Labels)...)
		for _, l := range d.Lines {
			data.Lines = append(data.Lines, dataLine{Clean(l.Name), slices.Clone(l.Values)})
		}
		p.Data = append(p.Data, data)
	}
	return list
}
