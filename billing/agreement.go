package billing

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// What an account has agreed on beside its bills (coverage, payment plans),
// and its dormant credit: how they are read and written. Few accounts have
// any, so that they are read only where a cut or a closer look needs them.

// askAgreements asks for plans and coverage: all of whole accounts, else those
// that a cut may have to bill.
func askAgreements(need Need, ask func(sql string, read func(a *Account, row *ledger.Row))) {
	live := need != Whole
	ask(`select account_id, no, mrn, plan, start_on, end_on, said_end, monthly_cents, aptc_cents, paid_through, charged_to, lapsed_on
		from coverage where account_id = any($1)`+where(live, " and open")+` order by account_id, no`, func(a *Account, r *ledger.Row) {
		a.Coverages = append(a.Coverages, &Coverage{No: r.Int32(), MRN: r.Text(), Plan: r.Text(), StartOn: r.Date(), EndOn: r.Date(), SaidEnd: r.Date(), MonthlyCents: ledger.Cents(r.Int64()), APTCCents: ledger.Cents(r.Int64()),
			PaidThrough: r.Date(), ChargedTo: calendar.Cycle(r.Int32()), LapsedOn: r.Date()})
	})
	ask(`select account_id, no, kind, cents, installments, billed, made_on, state, ended_on
		from plan where account_id = any($1)`+where(live, " and state = 'running'")+` order by account_id, no`, func(a *Account, r *ledger.Row) {
		a.Plans = append(a.Plans, &Plan{No: r.Int32(), Kind: Kind(r.Text()), Cents: ledger.Cents(r.Int64()), Installments: int(r.Int32()), Billed: int(r.Int32()), MadeOn: r.Date(), State: r.Text(), EndedOn: r.Date()})
	})
	ask(`select i.account_id, i.no, i.mrn, i.for_cycle from item i
		where i.account_id = any($1) and i.kind = 'premium' and i.origin = 'charge' and i.for_cycle > 0 and i.parent = 0
		and exists (select from coverage c where c.account_id = i.account_id and c.mrn = i.mrn`+where(live, " and c.open and i.for_cycle > c.charged_to")+`) order by i.account_id, i.no`, func(a *Account, r *ledger.Row) {
		a.fed = append(a.fed, fedPremium{r.Int32(), r.Text(), calendar.Cycle(r.Int32())})
	})
	if need == Whole {
		ask(`select account_id, receipt, arose_on, cents, flagged_on from dormant where account_id = any($1) order by account_id, receipt, arose_on`, func(a *Account, r *ledger.Row) {
			a.Dormant = append(a.Dormant, &Dormant{Receipt: r.Int32(), AroseOn: r.Date(), Cents: ledger.Cents(r.Int64()), FlaggedOn: r.Date()})
		})
	}
}

// saveAgreements writes the plans, coverage and dormant credit that rules have
// made or changed, each table in one go.
func saveAgreements(ctx context.Context, tx pgx.Tx, accounts []*Account) error {
	var c coverageRows
	var p planRows
	var d dormantRows
	for _, a := range accounts {
		for _, x := range a.Coverages {
			c.take(a.ID, x)
		}
		for _, x := range a.Plans {
			p.take(a.ID, x)
		}
		for _, x := range a.Dormant {
			d.take(a.ID, x)
		}
	}
	batch := &pgx.Batch{}
	if len(c.ids) > 0 {
		batch.Queue(`insert into coverage (account_id, no, mrn, plan, start_on, end_on, said_end, monthly_cents, aptc_cents, paid_through, charged_to, lapsed_on, open)
			select * from unnest($1::bigint[], $2::int[], $3::text[], $4::text[], $5::date[], $6::date[], $7::date[], $8::bigint[], $9::bigint[], $10::date[], $11::int[], $12::date[], $13::boolean[])
			on conflict (account_id, no) do update set (end_on, said_end, monthly_cents, aptc_cents, paid_through, charged_to, lapsed_on, open)
			= (excluded.end_on, excluded.said_end, excluded.monthly_cents, excluded.aptc_cents, excluded.paid_through, excluded.charged_to, excluded.lapsed_on, excluded.open)`,
			c.ids, c.nos, c.mrns, c.plans, c.starts, c.ends, c.saids, c.monthly, c.aptc, c.paid, c.charged, c.lapsed, c.open)
	}
	if len(p.ids) > 0 {
		batch.Queue(`insert into plan (account_id, no, kind, cents, installments, billed, made_on, state, ended_on)
			select * from unnest($1::bigint[], $2::int[], $3::text[], $4::bigint[], $5::int[], $6::int[], $7::date[], $8::text[], $9::date[])
			on conflict (account_id, no) do update set (billed, state, ended_on) = (excluded.billed, excluded.state, excluded.ended_on)`,
			p.ids, p.nos, p.kinds, p.cents, p.installments, p.billed, p.made, p.states, p.ended)
	}
	if len(d.ids) > 0 {
		batch.Queue(`insert into dormant (account_id, receipt, arose_on, cents, flagged_on) select * from unnest($1::bigint[], $2::int[], $3::date[], $4::bigint[], $5::date[])`,
			d.ids, d.receipts, d.arose, d.cents, d.flagged)
	}
	if batch.Len() == 0 {
		return nil
	}
	return tx.SendBatch(ctx, batch).Close()
}

// The columns of what is to be saved.
type (
	coverageRows struct {
		ids                               []int64
		nos, charged                      []int32
		mrns, plans                       []string
		starts, ends, saids, paid, lapsed []calendar.Date
		monthly, aptc                     []int64
		open                              []bool
	}
	planRows struct {
		ids, cents                []int64
		nos, installments, billed []int32
		kinds, states             []string
		made, ended               []calendar.Date
	}
	dormantRows struct {
		ids, cents     []int64
		receipts       []int32
		arose, flagged []calendar.Date
	}
)

func (t *coverageRows) take(account int64, c *Coverage) {
	if !c.dirty {
		return
	}
	c.dirty = false
	t.ids, t.nos, t.mrns, t.plans = append(t.ids, account), append(t.nos, c.No), append(t.mrns, c.MRN), append(t.plans, c.Plan)
	t.starts, t.ends, t.saids = append(t.starts, c.StartOn), append(t.ends, c.EndOn), append(t.saids, c.SaidEnd)
	t.monthly, t.aptc = append(t.monthly, int64(c.MonthlyCents)), append(t.aptc, int64(c.APTCCents))
	t.paid, t.charged = append(t.paid, c.PaidThrough), append(t.charged, int32(c.ChargedTo))
	t.lapsed, t.open = append(t.lapsed, c.LapsedOn), append(t.open, c.open())
}

func (t *planRows) take(account int64, p *Plan) {
	if !p.dirty {
		return
	}
	p.dirty = false
	t.ids, t.nos, t.kinds, t.cents = append(t.ids, account), append(t.nos, p.No), append(t.kinds, string(p.Kind)), append(t.cents, int64(p.Cents))
	t.installments, t.billed = append(t.installments, int32(p.Installments)), append(t.billed, int32(p.Billed))
	t.made, t.states, t.ended = append(t.made, p.MadeOn), append(t.states, p.State), append(t.ended, p.EndedOn)
}

func (t *dormantRows) take(account int64, d *Dormant) {
	if !d.dirty {
		return
	}
	d.dirty = false
	t.ids, t.receipts, t.arose = append(t.ids, account), append(t.receipts, d.Receipt), append(t.arose, d.AroseOn)
	t.cents, t.flagged = append(t.cents, int64(d.Cents)), append(t.flagged, d.FlaggedOn)
}
