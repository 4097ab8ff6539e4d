// Package report writes a diagnosis or a count for people and for programs.
//
// Each value has one view, which turns it into a plain [Document] (facts, text, tables of typed
// cells); each format writes any document. JSON alone has structs of its own, one per value, because its
// schema is a promise. A new command is one view; a new format is one file and a line in [Formats].
//
//	err := report.Write(os.Stdout, "table", report.Leakscan(result), report.Options{})
//
// All text that comes from processes and files is hostile, and this package is where it is made
// harmless: control bytes, bidirectional marks and bytes that are not UTF-8 leave it escaped in every
// format (in JSON, such bytes are U+FFFD), and cells that a spreadsheet would run as formulas leave it quoted.
package report
