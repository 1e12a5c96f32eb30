package statements

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/postgres"
)

// What comes back from the vendor and the Postal Service. Two kinds of CSV file,
// told apart by their columns: a receipt says which bundles the vendor has and
// how much is in them, results say what became of pieces.

// ErrRefused says that a file was not taken; Answered.Problems says why.
var ErrRefused = errors.New("the print vendor's file was refused, nothing of it was applied")

// Answered is what came of a vendor's file.
type Answered struct {
	Duplicate bool              `json:"duplicate"`
	Bundles   int               `json:"bundles"`  // received as we made them
	Rejected  int               `json:"rejected"` // by the vendor
	Mailed    int               `json:"mailed"`
	Spoiled   int               `json:"spoiled"`  // to be printed again
	Returned  int               `json:"returned"` // undeliverable: the account is on hold
	Known     int               `json:"known"`    // said before
	Problems  []billing.Problem `json:"problems"`
}

// BadAddress is the hold of an account whose mail came back.
const BadAddress = "bad_address"

// MailDesk is where mail is dealt with on a business date.
type MailDesk struct {
	DB       postgres.DB
	Policy   *billing.Policy
	Day      calendar.Date
	Operator string
}

var receiptColumns = billing.AnswerColumns{Names: []string{"bundle", "pieces", "pages", "sha256", "accepted", "problem"}, Needed: 5}
var resultColumns = billing.AnswerColumns{Names: []string{"piece", "result", "date", "reason"}, Needed: 3}

// Ingest takes a vendor's file, all of it or nothing. A file that was taken
// before changes nothing.
func (d MailDesk) Ingest(ctx context.Context, name string, from io.Reader) (got Answered, err error) {
	got.Problems = []billing.Problem{}
	content, err := billing.LoadAnswers(from)
	if err != nil {
		return got, err
	}
	sum := sha256.Sum256(content)
	err = pgx.BeginFunc(ctx, d.DB, func(tx pgx.Tx) error {
		got = Answered{Problems: []billing.Problem{}}
		tag, err := tx.Exec(ctx, `insert into print_answer (sha256, name, taken_on, rows) values ($1, $2, $3, 0) on conflict do nothing`, sum[:], name, d.Day)
		if err != nil {
			return err
		}
		if got.Duplicate = tag.RowsAffected() == 0; got.Duplicate {
			return nil
		}
		rows, take, err := d.read(content, &got)
		if err != nil {
			return err
		}
		for _, r := range rows {
			if err := take(ctx, tx, r, &got); err != nil {
				return err
			}
		}
		if len(got.Problems) > 0 {
			return ErrRefused
		}
		_, err = tx.Exec(ctx, `update print_answer set rows = $2 where sha256 = $1`, sum[:], len(rows))
		return err
	})
	if err != nil {
		got = Answered{Problems: got.Problems}
	}
	return got, err
}

func (got *Answered) wrong(r billing.AnswerRow, field, format string, args ...any) {
	got.Problems = append(got.Problems, billing.Problem{Line: r.Line, Field: field, Problem: fmt.Sprintf(format, args...)})
}

// read divides a file into rows, and says how its kind is taken.
func (d MailDesk) read(content []byte, got *Answered) (rows []billing.AnswerRow, take func(context.Context, pgx.Tx, billing.AnswerRow, *Answered) error, err error) {
	rows, got.Problems = billing.ReadAnswers(content, func(head []string) billing.AnswerColumns {
		if slices.Contains(head, "piece") {
			take = d.takeResult
			return resultColumns
		}
		take = d.takeReceipt
		return receiptColumns
	})
	if len(got.Problems) > 0 {
		return nil, nil, ErrRefused
	}
	return rows, take, nil
}

// takeReceipt holds what the vendor says of a bundle against what was made.
func (d MailDesk) takeReceipt(ctx context.Context, tx pgx.Tx, r billing.AnswerRow, got *Answered) error {
	var state string
	var pieces, pages int
	var sum []byte
	err := tx.QueryRow(ctx, `select state, pieces, pages, pdf_sha256 from print_bundle where name = $1 for update`, r.Cells["bundle"]).Scan(&state, &pieces, &pages, &sum)
	if errors.Is(err, pgx.ErrNoRows) {
		got.wrong(r, "bundle", "there is no bundle %q", r.Cells["bundle"])
		return nil
	}
	if err != nil {
		return err
	}
	accepted := r.Cells["accepted"]
	switch {
	case accepted != "yes" && accepted != "no":
		got.wrong(r, "accepted", "%q is neither yes nor no", accepted)
		return nil
	case state != "written" && state != "accepted" && state != "rejected":
		got.wrong(r, "bundle", "it has not left the house, it is %s", state)
		return nil
	case accepted == "no":
		got.Rejected++
		_, err = tx.Exec(ctx, `update print_bundle set state = 'rejected', answered_on = $2, problem = $3 where name = $1`, r.Cells["bundle"], d.Day, r.Cells["problem"])
		return err
	}
	for _, c := range []struct{ field, made string }{{"pieces", strconv.Itoa(pieces)}, {"pages", strconv.Itoa(pages)}, {"sha256", hex.EncodeToString(sum)}} {
		if !strings.EqualFold(r.Cells[c.field], c.made) {
			got.wrong(r, c.field, "the vendor has %q, the bundle was made with %s: do not let it be mailed", r.Cells[c.field], c.made)
		}
	}
	got.Bundles++
	_, err = tx.Exec(ctx, `update print_bundle set state = 'accepted', answered_on = $2, problem = '' where name = $1`, r.Cells["bundle"], d.Day)
	return err
}

// takeResult takes what became of a piece. Returned mail puts its account on
// hold until its address is mended and the hold released.
func (d MailDesk) takeResult(ctx context.Context, tx pgx.Tx, r billing.AnswerRow, got *Answered) error {
	id, err := strconv.ParseInt(r.Cells["piece"], 10, 64)
	if err != nil {
		got.wrong(r, "piece", "%q is not the number of a piece", r.Cells["piece"])
		return nil
	}
	day, err := calendar.Parse(r.Cells["date"])
	if err != nil {
		got.wrong(r, "date", "%v", err)
		return nil
	}
	var state string
	var account int64
	err = tx.QueryRow(ctx, `select p.state, p.account_id from print_piece p where p.id = $1 for update`, id).Scan(&state, &account)
	if errors.Is(err, pgx.ErrNoRows) {
		got.wrong(r, "piece", "there is no piece %s", r.Cells["piece"])
		return nil
	}
	if err != nil {
		return err
	}
	to := r.Cells["result"]
	switch {
	case to != "mailed" && to != "spoiled" && to != "returned":
		got.wrong(r, "result", "%q is none of mailed, spoiled, returned", to)
		return nil
	case day > d.Day:
		got.wrong(r, "date", "%s is in the future", day)
		return nil
	case state == to, state == "returned": // nothing comes after it
		got.Known++
		return nil
	case state == "spoiled" && to != "spoiled":
		got.wrong(r, "result", "the piece was spoiled before, it can't be %s", to)
		return nil
	}
	switch to {
	case "mailed":
		got.Mailed++
	case "spoiled":
		got.Spoiled++
	case "returned":
		got.Returned++
		if err := d.holdMail(ctx, tx, account, r); err != nil {
			return err
		}
	}
	_, err = tx.Exec(ctx, `update print_piece set state = $2, state_on = $3 where id = $1`, id, to, day)
	return err
}

func (d MailDesk) holdMail(ctx context.Context, tx pgx.Tx, account int64, r billing.AnswerRow) error {
	b, err := billing.Load(ctx, tx, billing.Whole, account)
	if err != nil {
		return err
	}
	note := "mail came back: piece " + r.Cells["piece"]
	if why := r.Cells["reason"]; why != "" {
		note += ", " + why
	}
	b.Account(account).Place(d.Day, BadAddress, d.Operator, note, false)
	if err := b.Save(ctx); err != nil {
		return err
	}
	return billing.Act{Day: d.Day, Operator: d.Operator, Verb: "mail_returned", Reason: r.Cells["reason"], Detail: map[string]any{"piece": r.Cells["piece"]}}.Record(ctx, tx, account)
}

// Errors of the desk.
var (
	ErrNoPiece = errors.New("there is no such piece")
	ErrNotNow  = errors.New("this can't be done now")
	ErrNowhere = errors.New("it has no address to mail it to")
)

// Reprint queues pieces to be printed again: the same pages under new numbers,
// in the next bundles. A piece is replaced once; what replaces it can be
// replaced in turn.
func (d MailDesk) Reprint(ctx context.Context, pieces []int64, why string) (queued int, err error) {
	err = pgx.BeginFunc(ctx, d.DB, func(tx pgx.Tx) error {
		queued = 0
		for _, id := range pieces {
			var account int64
			var replaced bool
			err := tx.QueryRow(ctx, `select p.account_id, exists (select from print_piece x where x.account_id = p.account_id and x.cycle = p.cycle and x.of_piece = p.id) from print_piece p where p.id = $1 for update`, id).Scan(&account, &replaced)
			if errors.Is(err, pgx.ErrNoRows) {
				return fmt.Errorf("piece %d: %w", id, ErrNoPiece)
			}
			if err == nil && replaced {
				err = fmt.Errorf("piece %d has been printed again: name the piece that replaced it: %w", id, ErrNotNow)
			}
			if err != nil {
				return err
			}
			tag, err := tx.Exec(ctx, `insert into print_queue (vendor, inserts, sheets, zip, account_id, cycle, of_piece)
				select $2, b.inserts, b.sheets, p.zip, p.account_id, p.cycle, p.id from print_piece p join print_bundle b on b.id = p.bundle_id where p.id = $1 on conflict do nothing`, id, d.Policy.Print.Vendor)
			if err != nil {
				return err
			}
			queued += int(tag.RowsAffected())
			if err := (billing.Act{Day: d.Day, Operator: d.Operator, Verb: "reprint", Reason: why, Detail: map[string]any{"piece": id}}).Record(ctx, tx, account); err != nil {
				return err
			}
		}
		return nil
	})
	return queued, err
}

// ToPaper sends a paperless statement (of a cut day, 0 for the newest) by mail:
// it goes into the next bundles.
func (d MailDesk) ToPaper(ctx context.Context, account int64, cutOn calendar.Date, why string) (number int64, err error) {
	err = pgx.BeginFunc(ctx, d.DB, func(tx pgx.Tx) error {
		var cycle calendar.Cycle
		err := tx.QueryRow(ctx, `select cycle from bill where account_id = $1 and ($2::date is null or cut_on = $2) order by cycle desc limit 1`, account, cutOn).Scan(&cycle)
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrNone
		}
		if err != nil {
			return err
		}
		number = billing.StatementNumber(account, cycle)
		return d.Instead(ctx, tx, account, cycle, why)
	})
	return number, err
}

// Instead sends a cycle's paperless statement by mail, since word of it could
// not be delivered. Its errors: ErrNone, ErrNotNow for one that goes by mail
// already, and ErrNowhere.
func (d MailDesk) Instead(ctx context.Context, tx pgx.Tx, account int64, cycle calendar.Cycle, why string) error {
	var how string
	var sealed []byte
	err := tx.QueryRow(ctx, `select delivery, sealed from statement where account_id = $1 and cycle = $2 for update`, account, int32(cycle)).Scan(&how, &sealed)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNone
	}
	if err != nil {
		return err
	}
	number := billing.StatementNumber(account, cycle)
	if how != Paperless {
		return fmt.Errorf("statement %010d goes by mail already: %w", number, ErrNotNow)
	}
	var s Statement
	if err := unpack(sealed, &s); err != nil {
		return err
	}
	if len(s.To.Lines) < 2 || s.To.ZIP == "" {
		return fmt.Errorf("statement %010d: %w", number, ErrNowhere)
	}
	if _, err := tx.Exec(ctx, `update statement set delivery = 'paper' where account_id = $1 and cycle = $2`, account, int32(cycle)); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `insert into print_queue (vendor, inserts, sheets, zip, account_id, cycle) values ($1, $2, 1, $3, $4, $5)`,
		d.Policy.Print.Vendor, insertsOf(d.Policy.Print, &s), s.To.ZIP, account, int32(cycle)); err != nil {
		return err
	}
	return billing.Act{Day: d.Day, Operator: d.Operator, Verb: "to_paper", Reason: why, Detail: map[string]any{"statement": number}}.Record(ctx, tx, account)
}

// BundleInfo is a bundle and what became of it.
type BundleInfo struct {
	Name       string        `json:"bundle"`
	MadeOn     calendar.Date `json:"made_on"`
	Vendor     string        `json:"vendor"`
	Inserts    string        `json:"inserts"`
	Sheets     int           `json:"sheets"` // in each envelope
	Pieces     int           `json:"pieces"`
	Pages      int           `json:"pages"`
	Mailed     int           `json:"mailed"`
	Spoiled    int           `json:"spoiled"`
	Returned   int           `json:"returned"`
	State      string        `json:"state"` // planned, sealed, written, accepted, rejected
	SHA256     string        `json:"sha256"`
	AnsweredOn calendar.Date `json:"answered_on"`
	Problem    string        `json:"problem"`
}

// Bundles lists the bundles, the newest first.
func (d MailDesk) Bundles(ctx context.Context) ([]BundleInfo, error) {
	rows, err := d.DB.Query(ctx, `select b.name, b.made_on, b.vendor, b.inserts, b.sheets, b.pieces, b.pages,
			(select count(*) from print_piece p where p.bundle_id = b.id and p.state = 'mailed'), (select count(*) from print_piece p where p.bundle_id = b.id and p.state = 'spoiled'),
			(select count(*) from print_piece p where p.bundle_id = b.id and p.state = 'returned'), b.state, coalesce(encode(b.pdf_sha256, 'hex'), ''), b.answered_on, b.problem
		from print_bundle b order by b.id desc`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (b BundleInfo, err error) {
		err = row.Scan(&b.Name, &b.MadeOn, &b.Vendor, &b.Inserts, &b.Sheets, &b.Pieces, &b.Pages, &b.Mailed, &b.Spoiled, &b.Returned, &b.State, &b.SHA256, &b.AnsweredOn, &b.Problem)
		return b, err
	})
}

// PieceInfo is a piece of an account's mail.
type PieceInfo struct {
	Piece     string        `json:"piece"`
	Statement string        `json:"statement_id"`
	CutOn     calendar.Date `json:"cut_on"`
	Bundle    string        `json:"bundle"`
	FirstPage int           `json:"first_page"`
	Pages     int           `json:"pages"`
	IMb       string        `json:"imb"`      // the barcode's digits
	Replaces  string        `json:"replaces"` // the piece that it was printed in place of
	State     string        `json:"state"`    // made, mailed, spoiled, returned
	StateOn   calendar.Date `json:"state_on"`
}

// Pieces lists the pieces of an account, the newest first.
func (d MailDesk) Pieces(ctx context.Context, account int64) ([]PieceInfo, error) {
	rows, err := d.DB.Query(ctx, `select p.id, p.cycle, c.cut_on, b.name, p.first_page, p.pages, p.tracking || case when p.tracking <> '' then p.zip else '' end, p.of_piece, p.state, p.state_on
		from print_piece p join print_bundle b on b.id = p.bundle_id join bill c on c.account_id = p.account_id and c.cycle = p.cycle where p.account_id = $1 order by p.id desc`, account)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (p PieceInfo, err error) {
		var id, of int64
		var cycle calendar.Cycle
		err = row.Scan(&id, &cycle, &p.CutOn, &p.Bundle, &p.FirstPage, &p.Pages, &p.IMb, &of, &p.State, &p.StateOn)
		p.Piece, p.Replaces, p.Statement = pieceNumber(id), pieceNumber(of), fmt.Sprintf("%010d", billing.StatementNumber(account, cycle))
		return p, err
	})
}
