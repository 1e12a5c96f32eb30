package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/billcycle/billcycle/statements"
)

// The Intelligent Mail barcode on the command line.

func (p *program) statementsIMbCommand() *cobra.Command {
	return p.command(command{
		use:   "imb TRACKING [ROUTING]",
		short: "Encode an Intelligent Mail barcode as its 65 bars",
		example: `  billcycle statements imb 01234567094987654321 01234567891
  billcycle statements imb - < codes.txt`,
		long: `Encode a tracking code of 20 digits and a routing code (the ZIP code: none, 5, 9
or 11 digits) as USPS-B-3200 says. The answer is one line of 65 letters: F full,
A ascender, D descender, T tracker.

With - it reads lines TRACKING [ROUTING] and answers each with a line of its own,
in order. A line that is no barcode is named and answered with an empty line, so
that the others keep their places; the exit code is then 4.`,
		run: func(_ context.Context, args []string) error {
			if args[0] == "-" {
				if len(args) > 1 {
					return wrongUsage("imb - takes its codes from stdin, and %q beside it", args[1])
				}
				return p.encodeLines()
			}
			routing := ""
			if len(args) > 1 {
				routing = args[1]
			}
			bars, err := statements.EncodeIMb(args[0], routing)
			if err != nil {
				return &usageError{err}
			}
			return p.answer(barcode{args[0], routing, bars}, func(w *page) { w.line("%s", bars) })
		},
	})
}

// barcode is a barcode as --json shows it.
type barcode struct {
	Tracking string `json:"tracking"`
	Routing  string `json:"routing"`
	Bars     string `json:"bars"`
}

// lineProblem is a line of stdin that can't be used.
type lineProblem struct {
	Line    int    `json:"line"`
	Problem string `json:"problem"`
}

// encodeLines answers every line of stdin, as it comes unless one JSON document
// is asked for.
func (p *program) encodeLines() error {
	in := bufio.NewReaderSize(p.in, 1<<16)
	out := bufio.NewWriterSize(p.out, 1<<16)
	answer := struct {
		Barcodes []barcode     `json:"barcodes"`
		Problems []lineProblem `json:"problems"`
	}{[]barcode{}, []lineProblem{}}
	wrong := 0
	var bars []byte
	for n := 1; ; n++ {
		line, err := in.ReadString('\n')
		if err == io.EOF && line == "" {
			break
		}
		if err != nil && err != io.EOF {
			return err
		}
		tracking, routing, problem := codesOf(line)
		bars = bars[:0]
		if problem == nil {
			bars, problem = statements.AppendIMb(bars, tracking, routing)
		}
		if problem != nil {
			wrong++
			fmt.Fprintf(p.err, "billcycle: line %d: %v\n", n, problem)
		}
		switch {
		case !p.json:
			if _, err := out.Write(append(bars, '\n')); err != nil {
				return err
			}
		case problem != nil:
			answer.Problems = append(answer.Problems, lineProblem{n, problem.Error()})
		}
		if p.json {
			answer.Barcodes = append(answer.Barcodes, barcode{tracking, routing, string(bars)})
		}
	}
	if wrong > 0 {
		p.code = exitRefused
	}
	if p.json {
		return p.answer(answer, nil)
	}
	return out.Flush()
}

// codesOf divides a line into its codes.
func codesOf(line string) (tracking, routing string, err error) {
	words := strings.Fields(line)
	switch len(words) {
	case 0:
		return "", "", fmt.Errorf("it is empty, want TRACKING [ROUTING]")
	case 1:
		return words[0], "", nil
	case 2:
		return words[0], words[1], nil
	}
	return words[0], words[1], fmt.Errorf("%d words, want TRACKING [ROUTING]", len(words))
}
