package ach

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/ledger"
)

// ErrRefused says that a file was refused whole; nothing has changed.
var ErrRefused = errors.New("the file is refused whole, nothing was changed")

// Ingested is what a file of the bank came to.
type Ingested struct {
	Duplicate   bool      `json:"duplicate"`   // the same bytes were taken in before
	Returns     int       `json:"returns"`     // in the file; dishonored and contested ones are not counted
	Corrections int       `json:"corrections"` // in the file
	Applied     int       `json:"applied"`     // returns and corrections that changed something
	Repeated    int       `json:"repeated"`    // were known already
	Unmatched   int       `json:"unmatched"`   // belong to no debit of ours, so nothing changed
	Review      int       `json:"review"`      // need a person for another reason
	Waiting     int       `json:"waiting"`     // left for a person: unmatched, for review, or applied and to be seen to
	Words       int       `json:"words"`       // what the bank says of whole files
	Problems    []Problem `json:"problems"`    // why it was refused
}

// maxAnswerBytes is as much as a file of the bank may hold: more than a million
// answers.
var maxAnswerBytes int64 = 256 << 20

// The outcomes of an answer.
const (
	outcomeApplied   = "applied"
	outcomeUnmatched = "unmatched"
	outcomeDuplicate = "duplicate" // the debit was returned, the method corrected before
	outcomeReview    = "review"    // matched, but for a person to decide
)

// answer is a return or a correction of the file.
type answer struct {
	line       int
	note       *Notification // a correction; else a return
	back       *Return
	known      bool // a plain return or correction: to be applied, not only shown to a person
	kind, code string
	original   Trace
	individual string
	cents      ledger.Cents

	sent    *ourDebit // the entry it is about, nil if unmatched
	outcome string
	detail  string
	asks    bool // applied, and left something for a person
}

// ourDebit is an entry of ours as the bank may answer it.
type ourDebit struct {
	kind     string // "" for a debit, else prenote or reversal
	account  int64
	receipt  int32
	mrn      string
	cents    ledger.Cents
	state    string
	released bool
	methodID int64
}

// account returns the account that the answer is about, 0 for the house.
func (a *answer) account() int64 {
	if a.sent == nil {
		return 0
	}
	return a.sent.account
}

// Ingest takes in a file of returns and notifications of change, or of what the
// bank says of our files, dated the office's Day, in one transaction. Each answer is matched by the original
// trace, and must agree with that debit in individual ID and amount: what does
// not is never given to the nearest debit, but put before a person. A file with
// problems is refused whole (ErrRefused, with Problems); the same file a second
// time changes nothing (Duplicate), and neither does the same return in
// another file.
func (o Office) Ingest(ctx context.Context, name string, r io.Reader) (Ingested, error) {
	in := Ingested{Problems: []Problem{}}
	content, err := io.ReadAll(io.LimitReader(r, maxAnswerBytes+1))
	if err != nil {
		return in, fmt.Errorf("ACH file %s: %w", name, err)
	}
	if int64(len(content)) > maxAnswerBytes {
		in.Problems = append(in.Problems, Problem{Record: "file", Problem: fmt.Sprintf("it has more than %d bytes: it is no file of answers, or has to come in parts", maxAnswerBytes)})
		return in, fmt.Errorf("ACH file %s: %w", name, ErrRefused)
	}
	if words, problems, is := wordsOf(content); is {
		return o.ingestWords(ctx, name, content, words, problems)
	}
	read, problems, err := ReadReturns(bytes.NewReader(content))
	if err != nil {
		return in, fmt.Errorf("ACH file %s: %w", name, err)
	}
	answers := inOrder(&read)
	if read.Forward > 0 && len(answers) == 0 {
		problems = append(problems, Problem{Record: "file", Found: fmt.Sprintf("%d entries", read.Forward), Problem: "a file of entries, not of returns or corrections; is it one of our own?"})
	}
	if len(problems) > 0 {
		in.Problems = problems
		return in, fmt.Errorf("ACH file %s: %w", name, ErrRefused)
	}
	err = pgx.BeginFunc(ctx, o.DB, func(tx pgx.Tx) error {
		hash := sha256.Sum256(content)
		var cents ledger.Cents
		for _, a := range answers {
			cents += a.cents
		}
		fresh, err := o.firstTime(ctx, tx, hash[:], name, len(answers), cents)
		if err != nil || !fresh {
			in.Duplicate = !fresh
			return err
		}
		if err := o.apply(ctx, tx, answers); err != nil {
			return err
		}
		if read.Forward > 0 {
			in.Waiting++
			if err := o.ask(ctx, tx, 0, "forward_entries", name, fmt.Sprintf("%d entries beside the answers are neither returns nor corrections and were left alone", read.Forward)); err != nil {
				return err
			}
		}
		in.count(answers)
		return o.keep(ctx, tx, hash[:], answers)
	})
	if err != nil {
		return Ingested{Problems: []Problem{}}, fmt.Errorf("ACH file %s: %w", name, err)
	}
	return in, nil
}

// wordsOf reads a file that says something of our files as a whole.
func wordsOf(content []byte) (words []Word, problems []Problem, is bool) {
	if isWords(content) {
		words, problems = readWords(content)
		return words, problems, true
	}
	word, is := readReject(content)
	return []Word{word}, nil, is
}

func (o Office) ingestWords(ctx context.Context, name string, content []byte, words []Word, problems []Problem) (Ingested, error) {
	in := Ingested{Problems: []Problem{}}
	if len(problems) > 0 {
		in.Problems = problems
		return in, fmt.Errorf("ACH file %s: %w", name, ErrRefused)
	}
	err := pgx.BeginFunc(ctx, o.DB, func(tx pgx.Tx) error {
		if err := lockFiles(ctx, tx); err != nil {
			return err
		}
		hash := sha256.Sum256(content)
		fresh, err := o.firstTime(ctx, tx, hash[:], name, len(words), 0)
		if err != nil || !fresh {
			in.Duplicate = !fresh
			return err
		}
		for _, word := range words {
			in.Words++
			told, err := o.say(ctx, tx, word, false)
			switch {
			case errors.Is(err, ErrNoFile):
				in.Unmatched++
				err = o.ask(ctx, tx, 0, "unmatched_word", word.File, fmt.Sprintf("the bank says %q of a file that is not ours", word.Status))
			case told.Review:
				in.Review++
			case told.Changed:
				in.Applied++
			default:
				in.Repeated++
			}
			if err != nil {
				return err
			}
		}
		in.Waiting = in.Unmatched + in.Review
		return nil
	})
	if err != nil {
		return Ingested{Problems: []Problem{}}, fmt.Errorf("ACH file %s: %w", name, err)
	}
	return in, nil
}

// inOrder lists the answers as they stand in the file.
func inOrder(read *Answers) (list []*answer) {
	add := func(returns []Return, known bool) {
		for i := range returns {
			r := &returns[i]
			list = append(list, &answer{line: r.Line, back: r, known: known, kind: "return", code: r.Code, original: r.Original, individual: r.IndividualID, cents: r.Cents})
		}
	}
	add(read.Returns, true)
	add(read.Dishonored, false)
	add(read.Contested, false)
	for n, notes := range [][]Notification{read.Corrections, read.Refused} {
		for i := range notes {
			c := &notes[i]
			list = append(list, &answer{line: c.Line, note: c, known: n == 0, kind: "correction", code: c.Code, original: c.Original, individual: c.IndividualID})
		}
	}
	slices.SortFunc(list, func(a, b *answer) int { return cmp.Compare(a.line, b.line) })
	return list
}

// firstTime notes the file and says whether it is a new one. Who ingests the
// same file meanwhile waits here.
func (o Office) firstTime(ctx context.Context, tx pgx.Tx, hash []byte, name string, n int, cents ledger.Cents) (bool, error) {
	tag, err := tx.Exec(ctx, `insert into feed_file (sha256, feed, name, taken_on, rows, accepted, cents) values ($1, 'ach', $2, $3, $4, $4, $5) on conflict do nothing`,
		hash, name, o.Day, n, int64(cents))
	return tag.RowsAffected() == 1, err
}

// apply matches and applies the answers in the order of the file.
func (o Office) apply(ctx context.Context, tx pgx.Tx, answers []*answer) error {
	if err := o.match(ctx, tx, answers); err != nil {
		return err
	}
	return inParts(ctx, tx, answers, (*answer).account, func(b *billing.Book, some []*answer) error {
		for _, a := range some {
			if err := o.applyOne(ctx, tx, b, a); err != nil {
				return fmt.Errorf("line %d: %w", a.line, err)
			}
		}
		return nil
	})
}

func (o Office) applyOne(ctx context.Context, tx pgx.Tx, b *billing.Book, a *answer) error {
	switch {
	case a.outcome == outcomeUnmatched:
		return o.ask(ctx, tx, 0, "unmatched_"+a.kind, a.original.String()+" "+a.code, a.detail)
	case a.back != nil && a.known:
		return o.returned(ctx, tx, b.Account(a.account()), a)
	case a.back != nil:
		code, _ := ReturnCode(a.code)
		a.detail = fmt.Sprintf("%s: %s; no money was moved, talk to the bank", a.code, code.Words)
		return o.review(ctx, tx, a, string(code.Kind), a.original.String()+" "+a.code)
	case a.known:
		return o.corrected(ctx, tx, a)
	}
	words, _ := ChangeCode(a.code)
	a.detail = fmt.Sprintf("%s: %s", a.code, words)
	return o.review(ctx, tx, a, "correction_"+a.code, a.original.String())
}

// inParts does something with a list of what is about accounts (0: about none), in
// its order, no more of it at a time than whole accounts may be in memory. All of
// them are locked first, in order, so that no two wait for each other.
func inParts[T any](ctx context.Context, tx pgx.Tx, list []T, account func(T) int64, do func(b *billing.Book, some []T) error) error {
	accounts := func(of []T) (ids []int64) {
		for _, x := range of {
			if id := account(x); id != 0 {
				ids = append(ids, id)
			}
		}
		slices.Sort(ids)
		return slices.Compact(ids)
	}
	if err := billing.Lock(ctx, tx, accounts(list)...); err != nil {
		return err
	}
	for some := range slices.Chunk(list, billing.AtOnce) {
		b, err := billing.Load(ctx, tx, billing.Whole, accounts(some)...)
		if err != nil {
			return err
		}
		if err := do(b, some); err != nil {
			return err
		}
		if err := b.Save(ctx); err != nil {
			return err
		}
	}
	return nil
}

// match finds the debit that each answer is about.
// Of debits with one trace it is the newest that left the house, no older than
// traces are kept apart.
func (o Office) match(ctx context.Context, tx pgx.Tx, answers []*answer) error {
	traces := make([]int64, len(answers))
	for i, a := range answers {
		traces[i] = int64(a.original)
	}
	rows, err := tx.Query(ctx, `select d.trace, d.kind, d.account_id, d.receipt, a.mrn, d.cents, d.state, coalesce(f.state = 'released', false), d.method_id
		from (select trace, '' as kind, account_id, receipt, cents, state, method_id, file_id, effective_on from debit where trace = any($1) and effective_on > $2
			union all select trace, kind, account_id, receipt, cents, state, method_id, file_id, effective_on from ach_entry where trace = any($1) and effective_on > $2) d
		join account a on a.id = d.account_id left join ach_file f on f.id = d.file_id
		order by d.state = 'withdrawn', d.effective_on desc`, traces, o.Day-traceDays)
	if err != nil {
		return err
	}
	byTrace := map[Trace]*ourDebit{}
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
		var trace int64
		s := &ourDebit{}
		err := row.Scan(&trace, &s.kind, &s.account, &s.receipt, &s.mrn, &s.cents, &s.state, &s.released, &s.methodID)
		if byTrace[Trace(trace)] == nil {
			byTrace[Trace(trace)] = s
		}
		return struct{}{}, err
	})
	if err != nil {
		return err
	}
	for _, a := range answers {
		s := byTrace[a.original]
		if a.detail = a.mismatch(s); a.detail == "" {
			a.sent = s
		} else if a.known {
			a.outcome = outcomeUnmatched
		}
	}
	return nil
}

// mismatch says why an answer is not about a debit, "" if it is.
func (a *answer) mismatch(s *ourDebit) string {
	switch {
	case a.original == 0:
		return "it names no original trace number"
	case s == nil:
		return fmt.Sprintf("no debit of the last %d days has the trace number %s", traceDays, a.original)
	case a.individual != s.mrn:
		return fmt.Sprintf("trace %s is an entry of member %s, but the bank answers for %q", a.original, s.mrn, a.individual)
	case a.back != nil && a.back.Debit == (s.kind == reversalEntry):
		return fmt.Sprintf("trace %s is a %s, but the bank returns the opposite", a.original, cmp.Or(s.kind, "debit"))
	case a.back != nil && a.cents != s.cents:
		return fmt.Sprintf("trace %s is a %s of %s, but the bank returns %s", a.original, cmp.Or(s.kind, "debit"), s.cents, a.cents)
	}
	return ""
}

// returned applies a return to its account.
func (o Office) returned(ctx context.Context, tx pgx.Tx, account *billing.Account, a *answer) error {
	switch a.sent.kind {
	case prenoteEntry:
		return o.prenoteBack(ctx, tx, account, a)
	case reversalEntry:
		return o.reversalBack(ctx, tx, a)
	}
	d := account.DebitOf(a.sent.receipt)
	switch {
	case d.State == billing.DebitReturned && d.Code == billing.Reversed:
		return o.paidBackTwice(ctx, tx, a, fmt.Sprintf("that was reversed on %s", d.ReturnedOn))
	case d.State == billing.DebitReturned:
		a.outcome, a.detail = outcomeDuplicate, fmt.Sprintf("returned on %s with %s already", d.ReturnedOn, d.Code)
		return nil
	case d.State == billing.DebitWithdrawn || !a.sent.released:
		a.detail = fmt.Sprintf("%s for a debit of %s whose file nobody has released: how did the bank come by it?", a.code, d.Cents)
		return o.review(ctx, tx, a, "return_unreleased", a.original.String())
	}
	before := account.Excepted()
	if err := account.ReturnDebit(o.Policy, d, o.Day, a.code); err != nil { // before it has changed anything
		a.detail = fmt.Sprintf("%s: %v", a.code, err)
		return o.review(ctx, tx, a, "return_not_applied", a.original.String())
	}
	a.outcome, a.asks = outcomeApplied, account.Excepted() > before
	var onItsWay bool
	err := tx.QueryRow(ctx, `select exists (select from ach_entry e join ach_file f on f.id = e.file_id where e.kind = 'reversal' and e.account_id = $1 and e.receipt = $2 and e.state = 'built' and f.state = 'released')`,
		a.sent.account, a.sent.receipt).Scan(&onItsWay)
	if err == nil && onItsWay {
		err = o.paidBackTwice(ctx, tx, a, "whose reversal is on its way")
		a.outcome, a.asks = outcomeApplied, true
	}
	return err
}

// review leaves an answer to a person.
func (o Office) review(ctx context.Context, tx pgx.Tx, a *answer, code, subject string) error {
	a.outcome = outcomeReview
	return o.ask(ctx, tx, a.account(), code, subject, a.detail)
}

func (o Office) ask(ctx context.Context, tx pgx.Tx, account int64, code, subject, detail string) error {
	return billing.Raise(ctx, tx, account, billing.Exception{On: o.Day, Job: "ach", Code: code, Subject: subject, Detail: detail})
}

func (in *Ingested) count(answers []*answer) {
	for _, a := range answers {
		switch {
		case a.note != nil:
			in.Corrections++
		case a.known:
			in.Returns++
		}
		switch a.outcome {
		case outcomeApplied:
			in.Applied++
		case outcomeDuplicate:
			in.Repeated++
		case outcomeUnmatched:
			in.Unmatched++
		case outcomeReview:
			in.Review++
		}
		in.Waiting += count(a.asks || a.outcome == outcomeUnmatched || a.outcome == outcomeReview)
	}
}

// keep records every answer of the file and what became of it.
func (o Office) keep(ctx context.Context, tx pgx.Tx, hash []byte, answers []*answer) error {
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"ach_answer"}, []string{"sha256", "ordinal", "on_date", "kind", "trace", "code", "cents", "outcome", "account_id", "detail"},
		pgx.CopyFromSlice(len(answers), func(i int) ([]any, error) {
			a := answers[i]
			var account any
			if a.sent != nil {
				account = a.sent.account
			}
			return []any{hash, i + 1, o.Day, a.kind, a.original.String(), a.code, int64(a.cents), a.outcome, account, a.detail}, nil
		}))
	return err
}
