package report

import (
	"bytes"
	"encoding/json"
	"io"
	"time"

	"github.com/sockleak/sockleak/diag"
)

func writeJSON(w io.Writer, v Value, o Options) error {
	b, err := encodeJSON(v.wire(o))
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, b, "", "  "); err != nil {
		return err
	}
	_, err = w.Write(out.Bytes())
	return err
}

func writeJSONLine(w io.Writer, v Value, o Options) error {
	b, err := encodeJSON(v.wire(o))
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// encodeJSON ends in a line feed.
func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // ≥ and < are for people, and no browser runs this
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return asciiJSON(b.Bytes()), nil
}

// wireHead begins every document.
type wireHead struct {
	Schema  string  `json:"schema"`
	TakenAt *string `json:"taken_at"`
	Host    string  `json:"host"`
	Kernel  string  `json:"kernel"`
	TookMS  int64   `json:"took_ms"`
}

type wireGap struct {
	What  string `json:"what"`
	Count int    `json:"count"`
	Why   string `json:"why"`
}

func wireGaps(gaps []diag.Gap) []wireGap {
	list := []wireGap{}
	for _, g := range gaps {
		list = append(list, wireGap{What: g.What, Count: g.Count, Why: g.Why})
	}
	return list
}

// rfc3339 is a time in UTC, to the millisecond.
func rfc3339(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

// momentOf is null where nobody knows the moment.
func momentOf(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	s := rfc3339(t)
	return &s
}

// ms is a span in ms, null when it is not known.
func ms(s diag.Span) *int64 {
	if !s.Known() {
		return nil
	}
	n := s.D.Milliseconds()
	return &n
}

// known is a number, null when it is negative.
func known(n int) *int {
	if n < 0 {
		return nil
	}
	return &n
}
