package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/billcycle/billcycle/ledger"
)

// answer writes a command's result to stdout: v as one JSON document if it is
// asked for, else the words for a person, whose tabs line up in columns.
func (p *program) answer(v any, words func(w *page)) error {
	p.answered = true
	if p.json {
		b, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return err
		}
		_, err = p.out.Write(append(b, '\n'))
		return err
	}
	w := &page{}
	words(w)
	return w.writeTo(p.out)
}

// page gathers the lines of a result for a person.
type page struct{ b strings.Builder }

// line adds a line; tabs divide it into columns.
func (w *page) line(format string, args ...any) { fmt.Fprintf(&w.b, format+"\n", args...) }

// writeTo lines up each block of lines for itself, so that a long title does
// not widen the table under it.
func (w *page) writeTo(out io.Writer) error {
	var lined strings.Builder
	tabs := tabwriter.NewWriter(&lined, 0, 0, 2, ' ', 0)
	io.WriteString(tabs, w.b.String())
	tabs.Flush()
	for line := range strings.Lines(lined.String()) {
		if _, err := io.WriteString(out, strings.TrimRight(line, " \n")+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// amount is an amount set to the right in a column as wide as most amounts.
func amount(c ledger.Cents) string { return fmt.Sprintf("%14s", c) }

// leaves notes that this call left something for a person.
func (p *program) leaves(something bool) {
	if something && p.code == 0 {
		p.code = exitLeft
	}
}

// shorten cuts a text for a column.
func shorten(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}

// counted is a number with its noun: 1 check, 2 checks.
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// notNull makes a list of nothing [] in JSON, never null.
func notNull[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
