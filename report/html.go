package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"sync"
)

//go:embed html.tmpl
var pageText string

// pageTemplate is read when the first page is written, which most runs never do.
var pageTemplate = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("page").Parse(pageText))
})

// page is a document as the template writes it: the texts are clean, and escaped by the template.
type page struct {
	Title       string
	Name, About string // the title, up to its first point and behind it
	Parts       []pageSection
	Sections    []pageSection
}

type pageSection struct {
	ID            string // of a part
	Part          bool
	Class         string
	Mark, Heading string
	Text          []string
	Facts         []pageFact
	Steps         []string
	Commands      []Command
	Table         *pageTable
}

// pageFact are facts of one name that stand in a row.
type pageFact struct {
	Name  string
	Texts []string
}

type pageTable struct {
	Heads []pageCell // none where they are left out
	Rows  [][]pageCell
	More  string
}

type pageCell struct {
	Text  string
	Class template.HTMLAttr // one of ours
}

// writeHTML writes one page that needs nothing else: no script, no other file, no request.
func writeHTML(w io.Writer, v Value, o Options) error {
	d := v.document(o)
	p := page{Title: Clean(d.Title)}
	p.Name, p.About, _ = strings.Cut(p.Title, " · ")
	for i, s := range d.Sections {
		section := pageSectionOf(s, o)
		if s.Part {
			section.ID = fmt.Sprintf("part-%d", len(p.Parts)+1)
			p.Parts = append(p.Parts, section)
		}
		if i == 0 && s.Mark != "" || i > 0 && d.Sections[i-1].Part {
			section.Class += " verdict"
		}
		if !s.Part && section.empty() {
			continue
		}
		p.Sections = append(p.Sections, section)
	}
	return pageTemplate().Execute(w, p)
}

var toneClasses = [...]string{Plain: "plain", Good: "good", Note: "note", Warning: "warning", Alarm: "alarm"}

func pageSectionOf(s Section, o Options) pageSection {
	section := pageSection{
		Part: s.Part, Class: toneClasses[s.Tone], Mark: Clean(s.Mark), Heading: Clean(s.Heading),
		Text: cleanAll(s.Text), Steps: cleanAll(s.Steps), Table: pageTableOf(s.Table, o),
	}
	if s.Brief {
		section.Class += " brief"
	}
	for i, f := range s.Facts {
		if i == 0 || f.Name != s.Facts[i-1].Name {
			section.Facts = append(section.Facts, pageFact{Name: Clean(f.Name)})
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
	return s.Mark+s.Heading == "" && len(s.Text)+len(s.Facts)+len(s.Steps)+len(s.Commands) == 0 && s.Table == nil
}

func cleanAll(texts []string) []string {
	var list []string
	for _, t := range texts {
		list = append(list, Clean(t))
	}
	return list
}

// pageTableOf has the columns of the table for people; nil when it has nothing for them.
func pageTableOf(t *Table, o Options) *pageTable {
	if t == nil {
		return nil
	}
	p := &pageTable{More: Clean(t.More)}
	cols := t.shown(false)
	if len(cols) == 0 {
		if p.More == "" {
			return nil
		}
		return p
	}
	classes := make([]template.HTMLAttr, len(cols))
	for k, i := range cols {
		switch c := t.Columns[i]; {
		case c.Right:
			classes[k] = ` class="n"`
		case c.Wrap:
			classes[k] = ` class="wrap"`
		}
		if !o.NoHeader {
			p.Heads = append(p.Heads, pageCell{Clean(t.Columns[i].Head), classes[k]})
		}
	}
	p.Rows = make([][]pageCell, len(t.Rows))
	for r, row := range t.Rows {
		cells := make([]pageCell, len(cols))
		for k, i := range cols {
			cells[k] = pageCell{Clean(row[i].Text), classes[k]}
		}
		p.Rows[r] = cells
	}
	return p
}
