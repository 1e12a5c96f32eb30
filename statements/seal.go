package statements

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// RendererVersion is sealed with each statement: the same data drawn by the
// same version is the same PDF, byte for byte.
const RendererVersion = 4

// Seal writes the page of each bill that was just cut, in the transaction of
// its cut. From here on the statement is what it is.
func Seal(ctx context.Context, tx pgx.Tx, p *billing.Policy, refs []billing.BillRef) error {
	if len(refs) == 0 {
		return nil
	}
	if err := CheckPolicy(p); err != nil {
		return err
	}
	s := &sealing{policy: p, pages: map[billing.BillRef]*Statement{}, bills: map[int64][]*cut{}}
	if err := s.sealLetterheads(ctx, tx); err != nil {
		return err
	}
	for _, ref := range refs {
		s.accounts = append(s.accounts, ref.AccountID)
		s.cycles = append(s.cycles, int32(ref.Cycle))
	}
	for _, read := range []func(context.Context, pgx.Tx) error{s.readBills, s.readLines, s.readGrace} {
		if err := read(ctx, tx); err != nil {
			return err
		}
	}
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"statement"}, []string{"account_id", "cycle", "renderer", "sealed", "delivery", "letterhead"}, pgx.CopyFromSlice(len(refs), func(i int) ([]any, error) {
		page := s.pages[refs[i]]
		if page == nil {
			return nil, fmt.Errorf("account %d has no bill of cycle %s to seal", refs[i].AccountID, refs[i].Cycle)
		}
		slices.SortFunc(page.Groups, func(a, b Group) int {
			return cmp.Compare(slices.Index(groupOrder, a.Kind), slices.Index(groupOrder, b.Kind))
		})
		if err := page.Check(); err != nil {
			return nil, err
		}
		sealed, err := pack(page)
		return []any{refs[i].AccountID, int32(refs[i].Cycle), RendererVersion, sealed, page.Delivery, s.headOf(page).hash}, err
	}))
	if err != nil {
		return err
	}
	return s.queue(ctx, tx, refs)
}

// queue enters the statements that go by mail into the queue for printing.
func (s *sealing) queue(ctx context.Context, tx pgx.Tx, refs []billing.BillRef) error {
	var rows [][]any
	for _, ref := range refs {
		if page := s.pages[ref]; page.Delivery != Paperless {
			rows = append(rows, []any{s.policy.Print.Vendor, insertsOf(s.policy.Print, page), 1, page.To.ZIP, ref.AccountID, int32(ref.Cycle), int64(0)})
		}
	}
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"print_queue"}, queueColumns, pgx.CopyFromRows(rows))
	return err
}

var groupOrder = []Kind{Premium, Medical, Payments, Adjustments, Fees}

// sealing gathers the pages of many bills.
type sealing struct {
	policy   *billing.Policy
	heads    []letterhead // the first for a member whose language we don't print
	accounts []int64
	cycles   []int32
	pages    map[billing.BillRef]*Statement
	bills    map[int64][]*cut // by account, oldest first
}

// cut is what of a bill decides which journal entries are its own.
type cut struct {
	ref   billing.BillRef
	cutOn calendar.Date
	what  billing.Subject
	after int32 // the last entry of the bill before
}

func (s *sealing) readBills(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `select b.account_id, b.cycle, b.cut_on, b.due_on, b.previous, b.payments, b.adjustments, b.charges, b.fees, b.balance, b.amount_due, b.pending, b.disputed, b.deferred,
			b.aging_current, b.aging_30, b.aging_60, b.aging_90, b.debit_on, a.autopay = 'on', a.mrn, b.plan, b.state, coalesce(prev.entries, 0),
			coalesce((select sum(i.cents - i.paid) from item i where i.account_id = b.account_id and i.state = 'billed' and i.cycle < b.cycle), 0),
			m.first_name, m.last_name, m.address1, m.address2, m.city, m.state, m.zip, m.language,
			case when m.delivery = 'paperless' and '' not in (m.address1, m.city, m.zip) and exists (select from bounced x where x.account_id = b.account_id and x.channel = 'email' and x.address = m.email) then 'paper' else m.delivery end,
			coalesce(am.method, ''), coalesce(am.number_last4, ''), coalesce(pl.billed, 0), coalesce(pl.installments, 0), ra.account_id is not null
		from unnest($1::bigint[], $2::int[]) u(account_id, cycle)
		join bill b on b.account_id = u.account_id and b.cycle = u.cycle
		join account a on a.id = b.account_id join member m on m.mrn = a.mrn
		left join lateral (select entries from bill x where x.account_id = b.account_id and x.cycle < b.cycle order by x.cycle desc limit 1) prev on true
		left join lateral (select method, number_last4 from autopay_method x where x.account_id = b.account_id and (x.ended_on is null or x.ended_on > greatest(b.made_on, b.debit_on)) order by id desc limit 1) am on true
		left join lateral (select billed, installments from plan x where x.account_id = b.account_id and x.state = 'running' and x.billed > 0 order by no desc limit 1) pl on true
		left join reads_aloud ra on ra.account_id = b.account_id
		order by b.account_id, b.cycle`, s.accounts, s.cycles)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var c cut
		var page Statement
		var autopay bool
		var first, last, street, second, city, state, zip, method, last4 string
		var debitOn calendar.Date
		aging := [4]ledger.Cents{}
		f := &page.Figures
		if err := rows.Scan(&c.ref.AccountID, &c.ref.Cycle, &c.cutOn, &page.Due, &f.Previous, &f.Payments, &f.Adjustments, &f.Charges, &f.Fees, &f.Balance, &f.AmountDue, &f.Pending, &f.Disputed, &f.Deferred,
			&aging[0], &aging[1], &aging[2], &aging[3], &debitOn, &autopay, &page.MRN, &c.what.Plan, &c.what.State, &c.after, &f.PastDue,
			&first, &last, &street, &second, &city, &state, &zip, &page.Language, &page.Delivery, &method, &last4, &page.Plan.Installment, &page.Plan.Installments, &page.Accessible); err != nil {
			return err
		}
		rules := s.policy.For(c.cutOn, c.what)
		page.Number, page.Date, page.Cycle = billing.StatementNumber(c.ref.AccountID, c.ref.Cycle), c.cutOn, c.ref.Cycle
		page.To = Recipient{Name: strings.TrimSpace(first + " " + last), Lines: nonEmpty(street, second, strings.TrimSpace(city+" "+state+" "+zip)), ZIP: zipDigits(zip)}
		page.Biller = s.letterhead(page.Language, rules).biller
		f.Credit = f.AmountDue + f.Disputed + f.Deferred - f.Balance
		f.PastDue = min(f.PastDue, f.AmountDue)
		for n, from := range append([]int{0}, rules.Statement.AgingDays[:]...) {
			page.Aging = append(page.Aging, Bucket{from, aging[n]})
		}
		if autopay && method != "" {
			page.Autopay = Autopay{On: true, Card: method == "card", Cents: max(0, f.AmountDue-f.Pending), Date: debitOn, Last4: last4}
		}
		s.pages[c.ref] = &page
		if earlier := s.bills[c.ref.AccountID]; len(earlier) > 0 {
			c.after = earlier[0].after // of several cut at once, all begin where the first does
		}
		s.bills[c.ref.AccountID] = append(s.bills[c.ref.AccountID], &c)
	}
	return rows.Err()
}

// readLines puts each journal entry since the last bill on its statement, by
// the rule of the cut: the first whose cut day it was booked by, else the
// newest.
func (s *sealing) readLines(ctx context.Context, tx pgx.Tx) error {
	var ids []int64
	var after []int32
	for id, cuts := range s.bills {
		ids, after = append(ids, id), append(after, cuts[0].after)
	}
	rows, err := tx.Query(ctx, `select j.account_id, case when i.origin = 'coverage' and j.what = 'charge' then j.effective_on else j.posted_on end, j.effective_on, j.what, case when j.debit = 'receivable' then j.cents else -j.cents end,
			coalesce(i.kind, ''), coalesce(i.service_date, j.effective_on), coalesce(i.description, ''), coalesce(i.charge_id, ''), coalesce(i.gross_cents, 0), coalesce(i.insurer_cents, 0),
			coalesce(m.first_name || ' ' || m.last_name, ''), coalesce(r.channel, ''), coalesce(r.reference, '')
		from unnest($1::bigint[], $2::int[]) u(account_id, after)
		join journal_at_hand j on j.account_id = u.account_id and j.no > u.after and 'receivable' in (j.debit, j.credit)
		left join item i on i.account_id = j.account_id and i.no = j.doc
		left join receipt r on r.account_id = j.account_id and r.no = j.doc
		left join member m on m.mrn = i.mrn
		order by j.account_id, j.no`, ids, after)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var booked calendar.Date
		var e entry
		if err := rows.Scan(&id, &booked, &e.on, &e.what, &e.cents, &e.kind, &e.service, &e.description, &e.charge, &e.gross, &e.insurer, &e.member, &e.channel, &e.reference); err != nil {
			return err
		}
		cuts := s.bills[id]
		own := cuts[len(cuts)-1]
		for _, c := range cuts[:len(cuts)-1] {
			if booked <= c.cutOn {
				own = c
				break
			}
		}
		s.pages[own.ref].add(e)
	}
	return rows.Err()
}

// readGrace notes on the pages of members with premium tax credits until when
// an unpaid premium may be paid. Few are late, and theirs is the rule's to say.
func (s *sealing) readGrace(ctx context.Context, tx pgx.Tx) error {
	var late []int64
	for ref, page := range s.pages {
		if page.Figures.PastDue > 0 {
			late = append(late, ref.AccountID)
		}
	}
	rows, err := tx.Query(ctx, `select distinct account_id from coverage where account_id = any($1) and aptc_cents > 0 and lapsed_on is null order by 1`, late)
	if err != nil {
		return err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil || len(ids) == 0 {
		return err
	}
	for some := range slices.Chunk(ids, billing.AtOnce) {
		book, err := billing.Load(ctx, tx, billing.Whole, some...)
		if err != nil {
			return err
		}
		for _, a := range book.Accounts {
			for _, c := range s.bills[a.ID] {
				page := s.pages[c.ref]
				if g := a.PremiumGrace(s.policy, c.cutOn); g.From > 0 && !g.Over && page.Figures.PastDue > 0 {
					page.Grace.Until, page.Grace.CoverEnd = a.GraceDays(s.policy, g)
				}
			}
		}
	}
	return nil
}

func nonEmpty(lines ...string) []string {
	return slices.DeleteFunc(lines, func(s string) bool { return s == "" })
}
