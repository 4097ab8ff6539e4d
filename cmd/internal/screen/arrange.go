package screen

import "strings"

// saved tells what has become of a file.
func (m *model) saved(msg savedMsg) {
	if msg.err != nil {
		m.note = "not written: " + msg.err.Error()
		return
	}
	m.note = "wrote " + msg.path + ", the look of " + msg.at.UTC().Format("15:04:05Z")
}

// arranged are the grouping and the order that a host's groups are wanted in.
func (m *model) arranged() (by, order string, _ bool) {
	if len(m.o.Groupings) > 0 {
		by = m.o.Groupings[m.by]
	}
	if len(m.o.Orders) > 0 {
		order = m.o.Orders[m.order]
	}
	return by, order, true
}

func isUTF8(locale string) bool {
	s := strings.ToLower(locale)
	return strings.Contains(s, "utf-8") || strings.Contains(s, "utf8")
}
