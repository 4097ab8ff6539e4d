package report

import (
	"strconv"

	"github.com/sockleak/sockleak/diag"
)

const unknownCount = "-"

func plainCount(n int64) string { return strconv.FormatInt(n, 10) }

func bytesCount(n int64) string { return bytesText(uint64(n)) }

// changeColumns are those of two numbers and their change, behind others.
func changeColumns(names [2]string, first ...Column) []Column {
	return append(first, Column{Key: "before", Head: names[0], Right: true}, Column{Key: "after", Head: names[1], Right: true},
		Column{Key: "change", Head: "change", Right: true})
}

// changeCells are two numbers and their change. A negative one is not known, and neither is the change then, nor between what is unlike.
func changeCells(value [2]int64, unlike bool, text func(int64) string) []Cell {
	var cells []Cell
	change := changeCell(value[1]-value[0], text)
	for _, n := range value {
		c := Cell{Text: unknownCount}
		if n >= 0 {
			c = Cell{Text: text(n), Raw: plainCount(n), num: true}
		}
		if cells = append(cells, c); c.Text == unknownCount {
			change = Cell{}
		}
	}
	if unlike {
		change = Cell{Text: unknownCount}
	}
	return append(cells, change)
}

func changeCell(n int64, text func(int64) string) Cell {
	c := Cell{Text: "=", Raw: plainCount(n), num: true}
	switch {
	case n < 0:
		c.Text = "−" + text(-n)
	case n > 0:
		c.Text = "+" + text(n)
	}
	return c
}

// directionWords stand before a peer.
var directionWords = map[string]string{diag.Accepted.String(): "from ", diag.Connected.String(): "to ", diag.DirectionUnknown.String(): "with "}

// knownCount is null when it is negative.
func knownCount(n int64) *int64 {
	if n < 0 {
		return nil
	}
	return &n
}
