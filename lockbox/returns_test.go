package lockbox_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/lockbox"
)

func (m *mail) returns(day, content string) lockbox.ReturnsTaken {
	m.Helper()
	got, err := m.desk(day).TakeReturns(m.Context(), "R.csv", strings.NewReader(content), lockbox.PlainReturns())
	m.must(err)
	m.proven()
	if got.Rows != got.Returned+got.Already+got.Unmatched && !got.Duplicate {
		m.Errorf("the rows don't add up: %+v", got)
	}
	return got
}

// A bank's return file finds each check by all that is printed on it, before
// or after it posted, whoever has it; what it does not find waits for a person.
func TestReturnFile(t *testing.T) {
	m := newMail(t)
	ann, a := m.member(1, 57500)
	order := func(no string) lockbox.Item {
		i := check(no, 700, "2026-03-16", "")
		i.Routing, i.Account = "", ""
		return i
	}
	f := m.ingest("2026-03-24", "F1", m.file("0600", batch("001",
		check("1001", 1000, "2026-03-16", ann), // posted
		check("1002", 2000, "2026-03-20", ann), // pending
		check("1003", 3000, "2026-03-20", ""),  // suspense
		check("1001", 1000, "2026-03-20", ann), // held: like the first
		check("1005", 500, "2026-03-20", ann), order("1006"))))
	const head = "reason,routing,account,check,cents,whatever\n"
	line := func(no string, cents ledger.Cents, code string) string {
		return fmt.Sprintf("%s,121000358,0009988776655,%s,%d,x\n", code, no, cents)
	}
	content := head + line("0001001", 1000, "nsf") + line("1002", 2000, "STOP") + line("1003", 3000, "CLOSED") + line("1005", 501, "NSF") + line("1006", 700, "NSF")
	got := m.returns("2026-03-26", content)
	if got.Returned != 3 || got.Unmatched != 2 || got.Cents != 6000 {
		t.Errorf("%+v", got)
	}
	m.wantFigures(a, 60000, 500, 57000) // with one fee, not billed
	m.wantState(f.FileID, 3, "void returned_closed")
	m.wantState(f.FileID, 4, "held duplicate_check")
	if n := m.one(`select count(*) from exception where code = 'return_unmatched' and cleared_on is null and detail not like '%9988776655%'`); n != 2 {
		t.Errorf("%d exceptions", n)
	}
	if again := m.returns("2026-03-27", content); !again.Duplicate {
		t.Errorf("%+v", again)
	}
	// The bank tells of the same checks once more, in another file.
	again := m.returns("2026-03-27", head+line("1002", 2000, "STOP")+line("1003", 3000, "STOP")+line("1001", 1000, "NSF")+line("1001", 1000, "NSF"))
	if again.Returned != 0 || again.Already != 4 {
		t.Errorf("%+v", again)
	}
	m.wantFigures(a, 60000, 500, 57000)
	// Two of one kind that were both let in: a person must say which.
	m.must(m.desk("2026-03-27").Release(t.Context(), f.FileID, 4, "two checks, says the bank"))
	more := m.ingest("2026-03-27", "F2", m.file("0700", batch("002", check("1005", 500, "2026-03-20", ann))))
	m.must(m.desk("2026-03-27").Release(t.Context(), more.FileID, 1, "two checks"))
	both := m.returns("2026-03-28", head+line("1005", 500, "NSF"))
	if both.Unmatched != 1 {
		t.Errorf("%+v", both)
	}
}

func TestBadReturnFiles(t *testing.T) {
	m := newMail(t)
	ann, a := m.member(1, 57500)
	m.ingest("2026-03-16", "F1", m.file("0600", batch("001", check("1001", 1000, "2026-03-16", ann))))
	const good = "121000358,9988776655,1001,1000,NSF\n"
	for _, c := range []struct{ content, says string }{
		{"", "no header"},
		{"routing,account,check,cents\n" + good, "no such column"},
		{"routing,account,check,cents,reason\n" + good + "121000358,9988776655,1001,10.00,NSF\n", "no amount in cents"},
		{"routing,account,check,cents,reason\n" + good + "121000358,9988776655,1001,-5,NSF\n", "no amount in cents"},
		{"routing,account,check,cents,reason\n" + good + "121000358,,1001,1000,NSF\n", "must be digits"},
		{"routing,account,check,cents,reason\n" + good + "121000358,9988776655,1001,1000,BOUNCED\n", "does not say what this reason means"},
		{"routing,account,check,cents,reason\n" + good + "121000358,9988776655\n", "can't be read"},
		{"routing,account,check,cents,reason\n" + good + "\"121000358,9988776655,1001,1000,NSF\n", "can't be read"},
	} {
		got, err := m.desk("2026-03-17").TakeReturns(t.Context(), "R.csv", strings.NewReader(c.content), lockbox.PlainReturns())
		if !errors.Is(err, lockbox.ErrRefused) || len(got.Problems) == 0 || !strings.Contains(fmt.Sprint(got.Problems), c.says) || strings.Contains(fmt.Sprint(got.Problems, err), "9988776655") {
			t.Errorf("%q: %+v %v", c.content, got.Problems, err)
		}
	}
	m.wantFigures(a, 57500, 1000, 56500)
	for _, bad := range []string{`{}`, `{"columns": {"routing": "a", "account": "b", "check": "c", "amount": "d", "reason": "e"}, "reasons": {"X": "NSF"}}`,
		`{"columns": {"routing": "a", "account": "b", "check": "c", "amount": "d", "reason": "e"}, "amounts": "cents", "reasons": {"X": "PAYER"}}`,
		`{"colums": {}}`} {
		if _, err := lockbox.ParseReturnsLayout([]byte(bad)); err == nil {
			t.Errorf("taken: %s", bad)
		}
	}
}

// Whatever bytes a return file holds, it is refused or its lines add up, and no
// account number is told.
func FuzzReturnFile(f *testing.F) {
	f.Add("routing,account,check,cents,reason\n121000358,9988776655,1001,1000,NSF\n")
	f.Add("\ufeffrouting,account,check,cents,reason\r\n\"121000358\",9988776655,1,1,STOP\r\n\x00\x1a")
	f.Add("reason,cents,check,account,routing\n=cmd|' /C calc'!A0,1,1,1,1\n")
	f.Fuzz(func(t *testing.T, content string) {
		rows, problems := lockbox.ReadReturns(t, content)
		for _, p := range problems {
			if p.Line < 1 || p.Problem == "" || strings.Contains(p.String(), "9988776655") {
				t.Errorf("%+v", p)
			}
		}
		if rows > strings.Count(content, "\n")+1 {
			t.Errorf("%d rows of %q", rows, content)
		}
	})
}

// Titles above the header, lines of totals and cells as a spreadsheet has them.
func TestReturnFilesOfOtherBanks(t *testing.T) {
	l, err := lockbox.ParseReturnsLayout([]byte(`{"name": "other", "columns": {"routing": "RT", "account": "Acct", "check": "Serial", "amount": "Amount", "reason": "Why"},
		"amounts": "dollars", "reasons": {"Insufficient funds": "NSF"}, "skip": ["Total", "Page "]}`))
	if err != nil {
		t.Fatal(err)
	}
	m := newMail(t)
	ann, a := m.member(1, 57500)
	m.ingest("2026-03-16", "F1", m.file("0600", batch("001", check("1001", 1000, "2026-03-16", ann), check("1002", 2000, "2026-03-16", ann))))
	content := "First Example Bank\nReturned items, 03/18/2026\n\nRT,Acct,Serial,Amount,Why\n'121000358,\"=\"\"9988776655\"\"\",1001,$10.00,Insufficient Funds\nPAGE 1\n121000358,9988776655,1002,20,insufficient funds\nTotal,2\n"
	got, err := m.desk("2026-03-18").TakeReturns(t.Context(), "R.csv", strings.NewReader(content), l, lockbox.PlainReturns())
	m.must(err)
	if got.Returned != 2 || got.Cents != 3000 {
		t.Errorf("%+v", got)
	}
	m.wantFigures(a, 62500, 0, 57500) // two fees, not billed
	for text, want := range map[string]string{
		strings.Replace(content, "20,insufficient", "twenty,insufficient", 1): "7 Amount twenty",
		strings.Replace(content, "Total,2", "Sum,2", 1):                       "8 cells 2 cells",
		strings.Replace(content, "Serial", "Number", 1):                       "4 Serial 5 cells",
		"First Example Bank\n" + strings.Repeat("\n", 20) + content[40:]:      "1 RT 1 cell",
	} {
		got, err := m.desk("2026-03-18").TakeReturns(t.Context(), "R.csv", strings.NewReader(text), l, lockbox.PlainReturns())
		if !errors.Is(err, lockbox.ErrRefused) || len(got.Problems) == 0 {
			t.Errorf("%s: %+v %v", want, got, err)
			continue
		}
		if p := got.Problems[0]; fmt.Sprintf("%d %s %s", p.Line, p.Field, p.Said) != want {
			t.Errorf("%+v, want %s", p, want)
		}
	}
	if _, err := lockbox.ParseReturnsLayout([]byte(`{"name": "x", "columns": {"routing": "a", "account": "b", "check": "c", "amount": "d", "reason": "e"}, "amounts": "cents", "reasons": {"X": "NSF"}, "skip": [""]}`)); err == nil {
		t.Error("every line would be skipped")
	}
}
