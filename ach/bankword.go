package ach

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
)

// What the bank says of a file as a whole.
const (
	Acknowledged = "acknowledged" // taken: its entries will settle
	Rejected     = "rejected"     // not taken: none of its entries will
	Unknown      = "unknown"      // nobody can tell; a person has to ask
)

// Word is what the bank, or whoever hands files to it, says of a file.
type Word struct {
	File    string // its name, or its SHA-256 in hexadecimal digits
	Status  string // Acknowledged, Rejected; anything else is Unknown
	Entries int    // records that it counted, -1 if it does not say
	Cents   int64  // debits that it summed, -1 if it does not say
	Detail  string // in the sender's words; no account numbers
}

// Told is what a word came to.
type Told struct {
	File    FileInfo `json:"file"`
	Changed bool     `json:"changed"` // else it was known
	Review  bool     `json:"review"`  // a person has to look
}

// Say moves a released file to what the bank says of it, as a person tells it.
// Only an acknowledgment whose figures are ours is taken as one: what is
// unclear, or contradicts what was said before, goes to a person, and nothing
// is ever sent again by itself. A person may say that a file which was
// acknowledged is rejected after all; a file of the bank's may not. The debits of a rejected file that are still pending are
// withdrawn and built again, into a file that somebody has to release; those
// that have posted are reversed and left to a person.
func (o Office) Say(ctx context.Context, word Word) (told Told, err error) {
	err = pgx.BeginFunc(ctx, o.DB, func(tx pgx.Tx) error {
		if err := lockFiles(ctx, tx); err != nil {
			return err
		}
		told, err = o.say(ctx, tx, word, !billing.SamePerson(o.Operator, system))
		return err
	})
	return told, err
}

// say is Say in a transaction; byPerson says that a person has decided on it.
func (o Office) say(ctx context.Context, tx pgx.Tx, word Word, byPerson bool) (told Told, err error) {
	var id int64
	err = tx.QueryRow(ctx, `select id from ach_file where name = $1 or encode(sha256, 'hex') = lower($1)`, strings.TrimSpace(word.File)).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return told, fmt.Errorf("file %q: %w", word.File, ErrNoFile)
	}
	if err != nil {
		return told, err
	}
	f, err := fileForUpdate(ctx, tx, id)
	if err != nil {
		return told, err
	}
	status, detail := f.means(word)
	if f.State != FileReleased {
		return Told{File: f, Review: true}, o.askAboutFile(ctx, tx, f, fmt.Sprintf("the bank says %q of it, but it is %s and nobody released it", word.Status, f.State))
	}
	if !f.MissedOn.IsZero() {
		return Told{File: f, Review: true}, o.askAboutFile(ctx, tx, f, fmt.Sprintf("the bank says %q of it, but it was not put into the outbox in time, and its debits were withdrawn", word.Status))
	}
	if status == f.Bank {
		return Told{File: f}, nil
	}
	if f.Bank == Acknowledged && (status == Unknown || !byPerson) || f.Bank == Rejected {
		return Told{File: f, Review: true}, o.askAboutFile(ctx, tx, f, fmt.Sprintf("it is %s, and now the bank says %q: %s", f.Bank, word.Status, detail))
	}
	if f.Bank, f.BankDetail = status, detail; f.Bank == Rejected {
		rejected := o.rejected
		if f.Kind != FileOfDebits {
			rejected = o.rejectedOthers
		}
		if err := rejected(ctx, tx, f); err != nil {
			return told, err
		}
	}
	if _, err := tx.Exec(ctx, `update ach_file set bank = $2, bank_on = $3, bank_detail = $4 where id = $1`, id, status, o.Day, detail); err != nil {
		return told, err
	}
	record := billing.Act{Day: o.Day, Operator: o.Operator, Verb: "ach_" + status, Reason: detail, Detail: map[string]any{"file": f.Name}}
	if err := record.Record(ctx, tx, 0); err != nil {
		return told, err
	}
	told = Told{File: f, Changed: true, Review: status != Acknowledged}
	if told.Review {
		err = o.askAboutFile(ctx, tx, f, fmt.Sprintf("the bank's word is %s: %s", status, detail))
	}
	return told, err
}

// means reads a word about a file: one about other figures is not about it.
func (f *FileInfo) means(word Word) (status, detail string) {
	status, detail = strings.ToLower(strings.TrimSpace(word.Status)), word.Detail
	switch {
	case status == "accepted":
		status = Acknowledged
	case status != Acknowledged && status != Rejected:
		detail = strings.TrimSpace(fmt.Sprintf("status %q %s", word.Status, detail))
		status = Unknown
	}
	entries := f.Entries + f.Prenotes + f.Reversals
	if status != Unknown && (word.Entries >= 0 && word.Entries < entries || word.Cents >= 0 && word.Cents != int64(f.Cents) && word.Cents != int64(f.Cents+f.CreditCents)) { // a balanced file debits us for its reversals
		detail = strings.TrimSpace(fmt.Sprintf("%d entries of %d cents, while ours are %d of %d; %s", word.Entries, word.Cents, entries, int64(f.Cents), detail))
		status = Unknown
	}
	return status, detail
}

func (o Office) askAboutFile(ctx context.Context, tx pgx.Tx, f FileInfo, detail string) error {
	return o.ask(ctx, tx, 0, "file_"+Unknown, f.Name, detail)
}

// rejected takes back every debit of a file that the bank did not take.
func (o Office) rejected(ctx context.Context, tx pgx.Tx, f FileInfo) error {
	rows, err := tx.Query(ctx, `select distinct account_id from debit where trace between $1 and $2 and file_id = $3 and state = 'built' order by 1`, int64(f.firstTrace), int64(f.lastTrace), f.ID)
	if err != nil {
		return err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	return billing.InParts(ctx, tx, billing.Whole, ids, func(b *billing.Book) error {
		for _, a := range b.Accounts {
			for _, d := range slices.Clone(a.Debits) {
				if d.State == billing.DebitBuilt && d.FileID != nil && *d.FileID == f.ID {
					if err := a.RejectDebit(o.Policy, d, o.Day); err != nil {
						return err
					}
				}
			}
		}
		return nil
	})
}

// wordsHead begins a file of words: what delivery, or a person who reads the
// bank's own report, writes down.
const wordsHead = "file,status"

// isWords says whether a file is one of words, not one of Nacha records.
func isWords(content []byte) bool {
	return bytes.HasPrefix(bytes.TrimPrefix(content, []byte("\xef\xbb\xbf")), []byte(wordsHead))
}

// readReject reads a file of ours that the bank sends back because it does not
// take it: the records as they were, with REJ and a code in the columns of the
// ODFI (80 to 87). A batch is rejected by its header, its control or each of its
// entries. Part of a file cannot be undone as a whole, so that is left to a
// person.
func readReject(content []byte) (word Word, found bool) {
	batches, rejected := 0, 0
	entries, refused, whole := 0, 0, false // of the batch
	word = Word{Status: Rejected, Entries: -1, Cents: -1}
	for text := range strings.Lines(string(content)) {
		text = strings.TrimRight(text, "\r\n")
		if len(text) != recordLength {
			return word, false
		}
		code := col(text, 80, 87)
		is := among(" 5 6 8 ", text[:1]) && strings.HasPrefix(code, "REJ")
		if is {
			word.Detail, found = strings.TrimSpace(code), true
		}
		switch text[0] {
		case '1':
			word.File = fmt.Sprintf("ach-%s-%s.ach", date(col(text, 24, 29)).Format("20060102"), col(text, 34, 34))
		case '5':
			batches++
			entries, refused, whole = 0, 0, is
		case '6':
			entries++
			refused += count(is)
		case '8':
			rejected += count(whole || is || entries > 0 && refused == entries)
		case '9':
			if entries, ok := number(col(text, 14, 21)); ok && text != nines {
				cents, _ := number(col(text, 32, 43))
				word.Entries, word.Cents = int(entries), cents
			}
		}
	}
	if rejected < batches {
		word.Status, word.Detail = "partly rejected", fmt.Sprintf("%s, %d of %d batches as a whole", word.Detail, rejected, batches)
	}
	return word, found
}

// readWords reads a file of words: CSV with the columns file and status, and if
// they are known entries, debit_cents and detail.
func readWords(content []byte) (words []Word, problems []Problem) {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))))
	head, err := r.Read()
	if err != nil {
		return nil, []Problem{{Line: 1, Record: "acknowledgment", Problem: err.Error()}}
	}
	for _, column := range head {
		if !slices.Contains([]string{"file", "status", "entries", "debit_cents", "detail"}, column) {
			return nil, []Problem{{Line: 1, Record: "acknowledgment", Field: column, Problem: "no such column: file, status, entries, debit_cents, detail"}}
		}
	}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return words, problems
		}
		if broken := (*csv.ParseError)(nil); errors.As(err, &broken) {
			return words, append(problems, Problem{Line: broken.Line, Record: "acknowledgment", Problem: broken.Err.Error()})
		}
		if err != nil {
			return words, append(problems, Problem{Record: "acknowledgment", Problem: err.Error()})
		}
		line, _ := r.FieldPos(0)
		w := Word{Entries: -1, Cents: -1}
		for n, column := range head {
			if wrong := billing.NotText(row[n]); wrong != "" {
				problems = append(problems, Problem{Line: line, Record: "acknowledgment", Field: column, Problem: wrong})
				continue
			}
			if wrong := w.set(column, row[n]); wrong != "" {
				problems = append(problems, Problem{Line: line, Record: "acknowledgment", Field: column, Found: row[n][:min(len(row[n]), maxFileName)], Problem: wrong})
			}
		}
		words = append(words, w)
	}
}

// maxFileName is how long a file's name may be; a SHA-256 is shorter.
const maxFileName = 255

func (w *Word) set(column, value string) (wrong string) {
	count := func() int64 {
		n, err := strconv.ParseInt(value, 10, 64)
		if value == "" {
			return -1
		}
		if err != nil || n < 0 {
			wrong = "not a number of digits"
		}
		return n
	}
	switch column {
	case "file":
		switch w.File = value; {
		case value == "":
			wrong = "is empty"
		case len(value) > maxFileName:
			wrong = fmt.Sprintf("is longer than %d bytes, which no file's name is", maxFileName)
		}
	case "status":
		w.Status = value
	case "entries":
		w.Entries = int(count())
	case "debit_cents":
		w.Cents = count()
	case "detail":
		w.Detail = value
	}
	return wrong
}
