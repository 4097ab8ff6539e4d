package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/sockleak/sockleak/diag"
)

func (p *program) rulesCommand() *cli.Command {
	return &cli.Command{
		Name:         "rules",
		Usage:        "what each rule means, what proves it, what imitates it, what to do",
		UsageText:    "sockleak rules [RULE]",
		OnUsageError: usageError,
		Action: func(c *cli.Context) error {
			switch c.NArg() {
			case 0:
				return listRules(p.stdout)
			case 1:
				return showRule(p.stdout, c.Args().First())
			}
			return hint(usage("rules takes one rule, got %d", c.NArg()), "sockleak rules lists them")
		},
	}
}

func ruleNames() []string {
	names := []string{}
	for _, r := range diag.Rules() {
		names = append(names, r.Name)
	}
	return names
}

func listRules(w io.Writer) error {
	for _, r := range diag.Rules() {
		if _, err := fmt.Fprintf(w, "%-18s  %-4s  %s\n", r.Name, r.Severity, r.Title); err != nil {
			return unwritten(err)
		}
	}
	return nil
}

func showRule(w io.Writer, name string) error {
	r := diag.RuleNamed(name)
	if r == nil {
		return hint(usage("unknown rule %q", name), "the rules are %s", join(ruleNames()))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s): %s\n", r.Name, r.Severity, r.Title)
	for _, part := range []struct{ head, text string }{
		{"What it means", r.Doc.Means}, {"What proves it", r.Doc.Proof}, {"What imitates it", r.Doc.Imitates}, {"What to do", r.Doc.Todo},
	} {
		fmt.Fprintf(&b, "\n%s\n%s", part.head, wrap(part.text, "  ", 96))
	}
	runtimes := []string{}
	for runtime := range r.Doc.Advice {
		runtimes = append(runtimes, runtime)
	}
	slices.Sort(runtimes)
	fmt.Fprintf(&b, "\nIn the words of a runtime\n")
	for _, runtime := range append(runtimes[1:], runtimes[0]) {
		name := runtime
		if name == "" {
			name = "others"
		}
		fmt.Fprintf(&b, "  %s\n%s", name, wrap(r.Doc.Advice[runtime], "    ", 96))
	}
	_, err := io.WriteString(w, b.String())
	return unwritten(err)
}

// wrap breaks words into lines of at most width bytes.
func wrap(s, indent string, width int) string {
	var b strings.Builder
	line := indent
	for word := range strings.FieldsSeq(s) {
		if len(line) > len(indent) && len(line)+1+len(word) > width {
			b.WriteString(line + "\n")
			line = indent
		}
		if len(line) > len(indent) {
			line += " "
		}
		line += word
	}
	return b.String() + line + "\n"
}
