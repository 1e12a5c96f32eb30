package lockbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/ledger"
)

// A bank's return file lists the checks that came back unpaid. Each bank has
// its own columns and words, so its layout is data, too. A check is found by
// its routing, account and number and its amount, all four; nothing less will
// do, and whatever is not found waits for a person.

// ReturnsTaken is what came of a return file.
type ReturnsTaken struct {
	Duplicate bool         `json:"duplicate"` // these bytes were here before: nothing was done
	Rows      int          `json:"rows"`
	Returned  int          `json:"returned"`  // checks that went back by this file
	Already   int          `json:"already"`   // that had gone back before
	Unmatched int          `json:"unmatched"` // of no check of ours, or of several: for a person
	Cents     ledger.Cents `json:"cents"`     // of those returned
	Problems  []Problem    `json:"problems"`  // never null
}

const maxReturnsBytes = 64 << 20

// ofReturn is the record of a problem with a line of a return file.
const ofReturn = "return"

// returnRow is a line of a return file.
type returnRow struct {
	line  int
	micr  [micrBytes]byte
	whole [micrBytes]byte // the same, if its routing number lacks the check digit
	cents ledger.Cents
	check string
	last4 string
	code  string
	file  int64 // the check found, 0 for none
	item  int
	why   string // it was not found
}

// TakeReturns takes a bank's return file in, all of it or nothing. The same
// bytes again change nothing, and a check that has gone back does not go back
// twice. Bad lines refuse the file, each named, with ErrRefused.
//
// The layout is the one among those given that its header has.
func (d Desk) TakeReturns(ctx context.Context, name string, content io.Reader, layouts ...ReturnsLayout) (ReturnsTaken, error) {
	out := ReturnsTaken{Problems: []Problem{}}
	if d.Operator == "" {
		return out, errOperator
	}
	text, err := io.ReadAll(io.LimitReader(content, maxReturnsBytes+1))
	if err != nil {
		return out, fmt.Errorf("return file %s: %w", name, err)
	}
	rows, problems := d.readReturns(text, layouts)
	out.Rows = len(rows)
	if len(problems) > 0 {
		out.Problems = problems
		return out, fmt.Errorf("return file %s: %s: %w", name, problems[0], ErrRefused)
	}
	err = pgx.BeginFunc(ctx, d.DB, func(tx pgx.Tx) error {
		hash := sha256.Sum256(text)
		tag, err := tx.Exec(ctx, `insert into feed_file (sha256, feed, name, taken_on, rows, accepted, cents) values ($1, 'check_returns', $2, $3, $4, 0, 0) on conflict do nothing`, hash[:], name, d.Day, len(rows))
		if err != nil {
			return err
		}
		if out.Duplicate = tag.RowsAffected() == 0; out.Duplicate {
			return nil
		}
		if err := d.applyReturns(ctx, tx, name, rows, &out); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `update feed_file set accepted = $2, cents = $3 where sha256 = $1`, hash[:], out.Returned, int64(out.Cents))
		return err
	})
	if err != nil {
		return ReturnsTaken{Problems: []Problem{}}, fmt.Errorf("return file %s: %w", name, err)
	}
	return out, nil
}

func (d Desk) readReturns(text []byte, layouts []ReturnsLayout) (rows []*returnRow, problems []Problem) {
	bad := func(line int, record, field, said, found, format string, args ...any) {
		if len(problems) < maxProblems {
			problems = append(problems, Problem{Line: line, Record: record, Field: field, Said: orBlank(said), Found: found, Problem: fmt.Sprintf(format, args...), Refuses: RefusesFile,
				Do: "ask the bank for the file again; if every line of it is so, its layout has to say what the bank's columns and words are"})
		}
	}
	if len(text) > maxReturnsBytes {
		bad(1, ofFileItself, "length", "more than "+strconv.Itoa(maxReturnsBytes)+" bytes", "at most "+strconv.Itoa(maxReturnsBytes), "the file is larger than %d bytes", maxReturnsBytes)
		return nil, problems
	}
	text = bytes.TrimRight(bytes.TrimPrefix(text, []byte("\ufeff")), "\x1a\x00")
	l, delimiter, above := recognizeReturns(text, layouts)
	for range above {
		_, text, _ = bytes.Cut(text, []byte("\n"))
	}
	in := csv.NewReader(bytes.NewReader(text))
	in.Comma, in.ReuseRecord = delimiter, true
	head, err := in.Read()
	if err != nil {
		bad(1+above, ofHeader, "columns", "", "no header line", "there is no header line that can be read: %v", err)
		return nil, problems
	}
	at := map[string]int{}
	for _, name := range returnColumns {
		if at[name] = l.column(head, name); at[name] < 0 {
			bad(1+above, ofHeader, l.Columns[name], cellsOn(len(head)), "no column "+strconv.Quote(l.Columns[name]), "the header has no such column; layout %s takes the %s from it", l.Name, name)
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	micrOf := d.micrs()
	for {
		cells, err := in.Read()
		if err == io.EOF {
			return rows, problems
		}
		if len(cells) > 0 && slices.ContainsFunc(l.Skip, func(text string) bool { return begins(strings.TrimSpace(cells[0]), text) }) {
			continue
		}
		if wrong := (*csv.ParseError)(nil); errors.As(err, &wrong) {
			bad(wrong.StartLine+above, ofReturn, "cells", cellsOn(len(cells)), cellsOn(len(head)), "the line can't be read: %v", wrong.Err)
			if errors.Is(err, csv.ErrFieldCount) {
				continue
			}
			return rows, problems // a quote that is never closed takes the rest with it
		}
		line, _ := in.FieldPos(0)
		line += above
		cell := func(name string) string { return string(bareCell([]byte(cells[at[name]]))) }
		row := &returnRow{line: line, check: strings.TrimLeft(cell("check"), "0"), last4: maskNumber(cell("account")), code: l.reason(cell("reason"))}
		if row.code == "" {
			bad(line, ofReturn, l.Columns["reason"], maskLong(show([]byte(cell("reason")))), "no reason that the layout knows", "the layout does not say what this reason means; it knows %s", strings.Join(slices.Sorted(maps.Keys(l.Reasons)), ", "))
		}
		var ok bool
		if row.cents, ok = l.cents(cell("amount")); !ok {
			bad(line, ofReturn, l.Columns["amount"], maskLong(show([]byte(cell("amount")))), "no amount in "+l.Amounts, "no amount in %s", l.Amounts)
		}
		var known bool
		item := &Item{Routing: cell("routing"), Account: cell("account"), Check: row.check, Cents: row.cents}
		row.micr, known = twin(micrOf(item))
		if item.Routing = wholeRouting(item.Routing); known {
			row.whole, _ = twin(micrOf(item))
		}
		for _, name := range []string{"routing", "account", "check"} {
			if s := cell(name); s == "" || !onlyDigits(s) || strings.Trim(s, "0") == "" || !known {
				bad(line, ofReturn, l.Columns[name], maskNumber(s), "no number", "the %s number must be digits", name)
			}
		}
		rows = append(rows, row)
	}
}

// applyReturns returns the checks of the rows, and leaves the rest to a person.
func (d Desk) applyReturns(ctx context.Context, tx pgx.Tx, name string, rows []*returnRow, out *ReturnsTaken) error {
	accounts, err := findReturned(ctx, tx, rows)
	if err != nil {
		return err
	}
	// All at once and in order, so that two who do this don't wait for each other.
	if err := billing.Lock(ctx, tx, append(accounts, billing.House)...); err != nil {
		return err
	}
	for _, r := range rows {
		err := error(nil)
		if r.file != 0 {
			err = d.returnIn(ctx, tx, r.file, r.item, r.code, fmt.Sprintf("return file %s, line %d", name, r.line))
		}
		switch {
		case errors.Is(err, ErrNotNow):
			out.Already++
		case err != nil:
			return err
		case r.file != 0:
			out.Returned++
			out.Cents += r.cents
		case r.why == "":
			out.Already++
		default:
			out.Unmatched++
			if err := billing.Raise(ctx, tx, billing.House, billing.Exception{On: d.Day, Job: "lockbox", Code: ReturnUnmatched, Subject: fmt.Sprintf("%s, line %d", name, r.line),
				Detail: fmt.Sprintf("check %s of %s, account %s, came back (%s): %s", r.check, r.cents, r.last4, r.code, r.why)}); err != nil {
				return err
			}
		}
	}
	return nil
}

// findReturned finds the checks of the rows, and the accounts that have them.
func findReturned(ctx context.Context, tx pgx.Tx, rows []*returnRow) (accounts []int64, err error) {
	type found struct {
		file int64
		item int
	}
	live, gone := map[[micrBytes]byte][]found{}, map[[micrBytes]byte]bool{}
	var keys [][micrBytes]byte
	for _, r := range rows {
		keys = append(keys, r.micr, r.whole)
	}
	// A suspected duplicate that is held is not the check that was deposited,
	// unless it is the only one there.
	result, err := tx.Query(ctx, `select i.micr, i.file_id, i.ordinal, i.state in ('void', 'sent_back') or i.state = 'taken' and not exists (
			select from lockbox_part p join receipt r on r.account_id = p.account_id and r.check_file = p.file_id and r.check_item = p.ordinal and r.state in ('pending', 'posted')
			where p.file_id = i.file_id and p.ordinal = i.ordinal), i.state = 'held',
			array(select distinct account_id from lockbox_part p where p.file_id = i.file_id and p.ordinal = i.ordinal)
		from lockbox_known i join lockbox_batch b on b.file_id = i.file_id and b.ordinal = i.batch and b.state in ('accepted', 'refused')
		where i.micr = any($1::uuid[]) and i.state <> 'refused' order by i.state = 'held', i.file_id, i.ordinal`, keys)
	if err != nil {
		return nil, err
	}
	var micr [micrBytes]byte
	var f found
	var over, held bool
	var of []int64
	if _, err := pgx.ForEachRow(result, []any{&micr, &f.file, &f.item, &over, &held, &of}, func() error {
		switch {
		case over:
			gone[micr] = true
		case !held || len(live[micr]) == 0 && !gone[micr]:
			live[micr] = append(live[micr], f)
			accounts = append(accounts, of...)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	for _, r := range rows {
		if len(live[r.micr]) == 0 && !gone[r.micr] {
			r.micr = r.whole
		}
		switch checks := live[r.micr]; {
		case len(checks) == 1:
			r.file, r.item = checks[0].file, checks[0].item
			live[r.micr], gone[r.micr] = nil, true
		case len(checks) > 1:
			r.why = "several checks of ours are like it; return the right one by hand"
		case !gone[r.micr]:
			r.why = "no check of ours is like it"
		}
	}
	return accounts, nil
}
