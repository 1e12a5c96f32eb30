package rehearsal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/ach"
	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/lockbox"
)

// The bank's part of a story: lockbox files and ACH answers are written out in
// the bank's own formats and taken in like any other.

// storyLayout is the story's bank: the 300-column layout, with a received date
// on each check, the kind of bill on each coupon, and room for any account and
// check number.
const storyLayout = `{"name": "story", "like": "bai-c", "doc": "the bank of a scenario",
	"records": {"6": {"received_date": "243-248 YYMMDD", "user_1": null, "account": "47-76", "check": "249-268"}, "4": {"user_1": null, "text": "37-66"}},
	"payer": ["6.payer", "4.payer"]}`

type check struct {
	Cents        ledger.Cents  `json:"cents"`
	Received     calendar.Date `json:"received"`
	Check        string        `json:"check"`
	Routing      string        `json:"routing"`
	Acct         string        `json:"acct"`
	Directed     string        `json:"directed"`
	Unidentified bool          `json:"unidentified"`
	Coupons      []struct {
		Account string       `json:"account"`
		Cents   ledger.Cents `json:"cents"`
	} `json:"coupons"`
}

func (p *player) lockbox(ctx context.Context, s Step) error {
	f, err := fields[struct {
		File       string        `json:"file"`
		Checks     []check       `json:"checks"`
		BatchTotal *ledger.Cents `json:"batch_total"`
	}](s.Fields)
	if err != nil {
		return err
	}
	profile, err := lockbox.ParseProfile([]byte(storyLayout))
	if err != nil {
		return err
	}
	if p.files[f.File] == nil { // the same name again is the same bytes again
		batch := lockbox.Batch{Lockbox: "0000001", Number: "001", DepositDate: s.Date}
		var total ledger.Cents
		for _, c := range f.Checks {
			item, err := p.item(s, c)
			if err != nil {
				return err
			}
			total += c.Cents
			batch.Items = append(batch.Items, item)
		}
		if f.BatchTotal != nil {
			batch.Said = &lockbox.Total{Items: len(f.Checks), Cents: *f.BatchTotal}
		}
		// Two files of one day are two batches, not one sent again; a file with
		// checks of a refused batch is that batch, corrected.
		batch.Number = fmt.Sprintf("%03d", len(p.files)+1)
		for _, refused := range p.refused {
			if sharesCheck(refused, batch) {
				batch.Number, batch.DepositDate = refused.Number, refused.DepositDate
			}
		}
		p.batches[f.File] = batch
		var b bytes.Buffer
		if err := lockbox.Write(&b, profile, lockbox.File{Destination: "BILLER", Origin: "STORYBANK", Date: s.Date, Time: "0600", Batches: []lockbox.Batch{batch}}); err != nil {
			return err
		}
		p.files[f.File] = b.Bytes()
	}
	got, err := p.house.Desk(s.Date).Ingest(ctx, f.File, bytes.NewReader(p.files[f.File]), profile)
	if err != nil && !errors.Is(err, lockbox.ErrRefused) {
		return err
	}
	p.rejected = got.Duplicate || !got.Accepted || got.Items > 0 && got.Refused == got.Items
	if batch := p.batches[f.File]; p.rejected && !got.Duplicate {
		p.refused = append(p.refused, batch)
	} else if !p.rejected {
		p.refused = slices.DeleteFunc(p.refused, func(r lockbox.Batch) bool { return r.Number == batch.Number })
	}
	return nil
}

// sharesCheck says whether two batches hold a check of one number that was
// received on one day.
func sharesCheck(a, b lockbox.Batch) bool {
	return slices.ContainsFunc(a.Items, func(x lockbox.Item) bool {
		return slices.ContainsFunc(b.Items, func(y lockbox.Item) bool {
			return x.Check != "" && x.Check == y.Check && x.ReceivedDate == y.ReceivedDate
		})
	})
}

func (p *player) item(s Step, c check) (lockbox.Item, error) {
	item := lockbox.Item{Cents: c.Cents, Check: c.Check, Routing: c.Routing, Account: c.Acct, ReceivedDate: c.Received}
	switch {
	case c.Unidentified:
	case len(c.Coupons) > 0:
		for _, coupon := range c.Coupons {
			mrn, known := p.mrns[coupon.Account]
			if !known {
				return item, fmt.Errorf("a coupon names account %s, which the story does not have", coupon.Account)
			}
			item.Overflows = append(item.Overflows, lockbox.Overflow{Payer: mrn, Cents: coupon.Cents, HasCents: true, Text: strings.ToUpper(c.Directed)})
		}
	case c.Directed != "":
		item.Overflows = []lockbox.Overflow{{Payer: p.mrns[s.Account], Cents: c.Cents, HasCents: true, Text: strings.ToUpper(c.Directed)}}
	default:
		item.Payer = p.mrns[s.Account]
	}
	return item, nil
}

// checkNamed is how a verb names a check of a file.
type checkNamed struct {
	File    string `json:"file"`
	Check   string `json:"check"`
	Account string `json:"account"`
	Reason  string `json:"reason"`
}

// onCheck does something with the check that a step names; of several of one
// number, with one in the state given, else with one that waits.
func (p *player) onCheck(ctx context.Context, s Step, state string, do func(d lockbox.Desk, c checkNamed, file int64, item int) error) error {
	c, err := fields[checkNamed](s.Fields)
	if err != nil {
		return err
	}
	d := p.house.Desk(s.Date)
	file, item, err := d.FindItem(ctx, c.File, c.Check, state)
	if err != nil {
		return err
	}
	return do(d, c, file, item)
}

func (p *player) match(ctx context.Context, s Step) error {
	return p.onCheck(ctx, s, "suspense", func(d lockbox.Desk, c checkNamed, file int64, item int) error {
		if c.Account == "" {
			c.Account = s.Account
		}
		return d.Match(ctx, file, item, p.mrns[c.Account], "rehearsal")
	})
}

func (p *player) void(ctx context.Context, s Step) error {
	return p.onCheck(ctx, s, "held", func(d lockbox.Desk, c checkNamed, file int64, item int) error {
		return d.Void(ctx, file, item, "rehearsal")
	})
}

func (p *player) checkReturn(ctx context.Context, s Step) error {
	return p.onCheck(ctx, s, "taken", func(d lockbox.Desk, c checkNamed, file int64, item int) error {
		return d.Return(ctx, file, item, c.Reason, "rehearsal")
	})
}

func (p *player) achReturn(ctx context.Context, s Step) error {
	f, err := fields[struct {
		Effective calendar.Date `json:"effective"`
		Code      string        `json:"code"`
	}](s.Fields)
	if err != nil {
		return err
	}
	entry, err := p.entry(ctx, s, f.Effective)
	if err != nil {
		return err
	}
	return p.answer(ctx, s, func(a *ach.AnswerFile) { a.Returns = []ach.ReturnOut{{Original: entry, Code: f.Code}} })
}

func (p *player) achCorrection(ctx context.Context, s Step) error {
	f, err := fields[struct {
		Effective calendar.Date `json:"effective"`
		Code      string        `json:"code"`
		Corrected string        `json:"corrected"`
	}](s.Fields)
	if err != nil {
		return err
	}
	entry, err := p.entry(ctx, s, f.Effective)
	if err != nil {
		return err
	}
	return p.answer(ctx, s, func(a *ach.AnswerFile) {
		a.Corrections = []ach.CorrectionOut{{Original: entry, Correction: ach.Correction{Code: f.Code}, Data: f.Corrected}}
	})
}

// entry is the debit of the step's account on an effective date, as the bank
// has it.
func (p *player) entry(ctx context.Context, s Step, effective calendar.Date) (ach.Entry, error) {
	var d billing.Debit
	err := p.house.DB.QueryRow(ctx, `select trace, sec, cents, attempt from debit where account_id = $1 and effective_on = $2 and state <> 'withdrawn' order by attempt desc limit 1`,
		p.ids[s.Account], effective).Scan(&d.Trace, &d.SEC, &d.Cents, &d.Attempt)
	if err == pgx.ErrNoRows {
		return ach.Entry{}, fmt.Errorf("account %s has no debit effective %s", s.Account, effective)
	}
	return ach.Entry{Trace: ach.Trace(d.Trace), SEC: d.SEC, Retry: d.Attempt > 0, Effective: effective, Cents: d.Cents,
		Routing: "121000358", Account: "9000000001", IndividualID: p.mrns[s.Account], Name: "ACCOUNT " + s.Account}, err
}

// answer sends a file of the bank about our debits.
func (p *player) answer(ctx context.Context, s Step, fill func(a *ach.AnswerFile)) error {
	company := p.story.policy.Company
	p.numbers++
	a := ach.AnswerFile{Sender: company.ODFI, SenderName: company.ODFIName, Receiver: company.ODFI, ReceiverName: company.Name,
		Company: ach.CompanyOf(p.house.Policy), Created: ach.Stamp{Date: s.Date, Hour: 6, Minute: p.numbers % 60}, IDModifier: 'A', Settled: s.Date}
	fill(&a)
	var b bytes.Buffer
	if err := ach.WriteReturns(&b, a); err != nil {
		return err
	}
	got, err := p.house.Office(s.Date).Ingest(ctx, fmt.Sprintf("answer-%d.ach", p.numbers), &b)
	if err != nil {
		return err
	}
	if got.Unmatched > 0 || len(got.Problems) > 0 {
		return fmt.Errorf("the bank's answer was not matched: %+v", got)
	}
	return nil
}
