package billing

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxAnswers is how many bytes a file of answers may hold: some millions of lines.
const maxAnswers = 256 << 20

// AnswerRow is a line of a file of answers, by the names of its columns.
type AnswerRow struct {
	Line  int
	Cells map[string]string
}

// AnswerColumns are the columns that a file of answers may have; the first ones it
// must have.
type AnswerColumns struct {
	Names  []string
	Needed int
}

// LoadAnswers reads a file of answers whole, but one that is too long no further
// than ReadAnswers needs to refuse it.
func LoadAnswers(from io.Reader) ([]byte, error) {
	return io.ReadAll(io.LimitReader(from, maxAnswers+1))
}

// ReadAnswers divides a file of answers from outside, a print vendor's or a
// carrier's, into rows: CSV whose first line names the columns. columns says, by
// those names, which file it is. With a problem there are no rows: such a file is
// taken whole or not at all.
func ReadAnswers(content []byte, columns func(head []string) AnswerColumns) (rows []AnswerRow, problems []Problem) {
	problems = []Problem{}
	wrong := func(line int, field, format string, args ...any) {
		problems = append(problems, Problem{line, field, fmt.Sprintf(format, args...)})
	}
	if len(content) > maxAnswers {
		wrong(0, "", "the file has more than %d bytes: send it in parts", maxAnswers)
		return nil, problems
	}
	in := csv.NewReader(bytes.NewReader(content))
	head, err := in.Read()
	switch {
	case err == io.EOF:
		wrong(1, "", "it is empty, want a line of column names")
		return nil, problems
	case err != nil:
		wrong(0, "", "it can't be read: %v", err)
		return nil, problems
	}
	may := columns(head)
	for _, name := range head {
		if !slices.Contains(may.Names, name) {
			wrong(1, name, "there is no such column; the columns are %s", strings.Join(may.Names, ", "))
		}
	}
	for _, name := range may.Names[:may.Needed] {
		if !slices.Contains(head, name) {
			wrong(1, name, "the column is missing")
		}
	}
	for {
		fields, err := in.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			wrong(0, "", "it can't be read: %v", err)
			break
		}
		line, _ := in.FieldPos(0)
		r := AnswerRow{line, map[string]string{}}
		for n, name := range head {
			r.Cells[name] = strings.TrimSpace(fields[n])
			if what := NotText(fields[n]); what != "" {
				wrong(line, name, "%s", what)
			}
		}
		rows = append(rows, r)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return rows, problems
}

// NotText says what is wrong with a cell of a file of answers that the database
// could not keep, "" if nothing is.
func NotText(cell string) string {
	if utf8.ValidString(cell) && !strings.Contains(cell, "\x00") {
		return ""
	}
	return "it holds bytes that are no UTF-8 text: write the file as UTF-8"
}
