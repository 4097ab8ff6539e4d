package screen

import "github.com/sockleak/sockleak/report"

// helpLines are the keys that there are, from m.scroll on.
func (m *model) helpLines() []line {
	var lines []line
	for i := range bindings {
		b := &bindings[i]
		if b.can != nil && !b.can(m) {
			continue
		}
		key := b.show
		for i, text := range report.Wrap(b.help, max(m.w-14, 10)) {
			if i > 0 {
				key = ""
			}
			lines = append(lines, line{{bold, "  " + key}, pad(12 - len(key)), {plain, text}})
		}
	}
	lines = append(lines, nil)
	for _, text := range []string{
		"A plot is of all the time that was watched; its lowest bar is the least, or 0 where that is near. Beside it stand the number now, and by how much it has changed.",
		"new: a finding of the last looks. cleared: it was there until a moment ago.",
	} {
		for _, s := range report.Wrap(text, max(m.w-4, 10)) {
			lines = append(lines, line{{dim, "  " + s}})
		}
	}
	room := max(m.h-3, 1)
	m.room = room
	m.scroll = min(m.scroll, max(len(lines)-room, 0))
	lines = lines[m.scroll:min(m.scroll+room, len(lines))]
	return append([]line{{{badge, " keys "}, {dim, "  esc closes"}}, nil}, lines...)
}
