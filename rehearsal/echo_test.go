package rehearsal_test

import (
	"crypto/sha256"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/billcycle/billcycle/calendar"
)

// input is a file that came into an inbox.
type input struct {
	feed, name string
	content    []byte
}

// echo lets inputs come again: the same file under another name, one of an
// earlier day, or one of which a byte has changed.
func (x *tormentor) echo(day calendar.Date, n int) error {
	inbox := filepath.Join(x.house.Dir, "inbox")
	today, err := inputsIn(inbox)
	if err != nil {
		return err
	}
	for range n {
		how := x.dice.IntN(3)
		from := today
		if how > 0 { // what members or enrolments said long ago may not come again
			from = slices.DeleteFunc(slices.Clone(x.inputs), func(i input) bool {
				return !slices.Contains([]string{"charges", "payments", "lockbox", "ach"}, i.feed)
			})
		}
		if len(from) == 0 {
			continue
		}
		var feeds []string // each as likely as another, however many files it has
		for _, i := range from {
			if !slices.Contains(feeds, i.feed) {
				feeds = append(feeds, i.feed)
			}
		}
		feed := feeds[x.dice.IntN(len(feeds))]
		from = slices.DeleteFunc(slices.Clone(from), func(i input) bool { return i.feed != feed })
		i := from[x.dice.IntN(len(from))]
		switch how {
		case 0:
			i.name = "same-" + i.name
		case 1:
			i.name = fmt.Sprintf("again-%d-%s", len(x.tonight), i.name)
		default:
			if i, err = x.changed(i); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(inbox, i.feed, i.name), i.content, 0o600); err != nil {
			return err
		}
		x.did["echo"]++
		x.tonight = append(x.tonight, "echo: "+i.feed+"/"+i.name)
	}
	x.inputs = append(x.inputs, today...)
	return nil
}

func inputsIn(inbox string) (list []input, err error) {
	paths, err := filepath.Glob(filepath.Join(inbox, "*", "*"))
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		list = append(list, input{filepath.Base(filepath.Dir(path)), filepath.Base(path), content})
	}
	return list, err
}

// changed changes a digit of an input: of an amount, in a feed, and in a bank's
// file any. Nothing may come of it in the books.
func (x *tormentor) changed(i input) (input, error) {
	text := slices.Clone(i.content)
	from, to := 0, len(text)
	if column := map[string]int{"charges": 7, "payments": 4}[i.feed]; column > 0 {
		lines := strings.SplitAfter(string(text), "\n")
		row := 1 + x.dice.IntN(len(lines)-2)
		for _, before := range lines[:row] {
			from += len(before)
		}
		cells, err := csv.NewReader(strings.NewReader(lines[row])).Read()
		if err != nil {
			return i, err
		}
		from += strings.LastIndex(lines[row], ","+cells[column]+",") + 1
		to = from + len(cells[column])
	}
	var digits []int
	for n := from; n < to; n++ {
		if text[n] >= '1' && text[n] <= '9' {
			digits = append(digits, n)
		}
	}
	if len(digits) == 0 {
		return i, fmt.Errorf("%s/%s has no digit to change", i.feed, i.name)
	}
	at := digits[x.dice.IntN(len(digits))]
	text[at] = '1' + (text[at]-'1'+1+byte(x.dice.IntN(8)))%9
	i.content, i.name = text, fmt.Sprintf("changed-%d-%s", len(x.tonight), i.name)
	// It lies among the refused, or its checks wait, and the desk is told.
	x.foreign = append(x.foreign, i.name, fmt.Sprintf("%x", sha256.Sum256(text)), "exception 0/"+i.feed)
	return i, nil
}
