package lockbox

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// Proposals: whose a check that waits may be. They are for a person to weigh;
// nothing is ever given to an account because of one. Each rests on facts (a
// number on the check, a payer we know, an envelope), never on a number that is
// merely like another.

// Proposal is an account whose money a check may be, and why.
type Proposal struct {
	MRN string   `json:"mrn"` // the guarantor's
	Why []string `json:"why"` // the strongest reason first

	account int64
	weight  int
}

// Twin is the check that a suspected duplicate is like.
type Twin struct {
	FileID int64         `json:"file_id"`
	Item   int           `json:"item"`
	State  string        `json:"state"`
	On     calendar.Date `json:"arrived"`
}

// The weights of reasons. A number of ours on the check says most; the same
// amount says something only beside another reason.
const (
	byNumber   = 8
	byEnvelope = 4
	byPayer    = 3
	byAmount   = 1
)

// proposed is a check that proposals are sought for.
type proposed struct {
	item     *WorkItem
	batch    int
	envelope string
	micr     *[micrBytes]byte
	found    map[int64]*Proposal
}

func (p *proposed) add(account int64, weight int, why string) {
	x := p.found[account]
	if x == nil {
		x = &Proposal{account: account}
		p.found[account] = x
	}
	if slices.Contains(x.Why, why) {
		return
	}
	x.weight += weight
	x.Why = append(x.Why, why)
}

// propose fills in the proposals of checks in suspense or held.
func propose(ctx context.Context, tx pgx.Tx, list []*proposed) error {
	for some := range slices.Chunk(list, 1000) {
		for _, seek := range []func(context.Context, pgx.Tx, []*proposed) error{byReference, byMates, byMICR, byBill} {
			if err := seek(ctx, tx, some); err != nil {
				return err
			}
		}
		for _, p := range some {
			for _, x := range p.found {
				p.item.Proposals = append(p.item.Proposals, *x)
			}
			slices.SortFunc(p.item.Proposals, func(x, y Proposal) int {
				return cmp.Or(cmp.Compare(y.weight, x.weight), cmp.Compare(x.MRN, y.MRN))
			})
		}
	}
	return nil
}

// byReference proposes the accounts that numbers on the check name.
func byReference(ctx context.Context, tx pgx.Tx, list []*proposed) error {
	var checks [][]Coupon
	var whole []int // how many coupons of each are not torn
	for _, p := range list {
		// Numbers among other text; and of a line that fails its check digits, the
		// parts that prove themselves.
		var within, torn []Coupon
		for _, c := range p.item.Coupons {
			for _, s := range slices.Concat(c.Payer, c.Statement) {
				for _, number := range numbersWithin(s) {
					within = append(within, Coupon{Payer: []string{number}})
				}
				if mrn, statement, ok := partsOf(s); ok {
					torn = append(torn, Coupon{Payer: []string{mrn}, Statement: []string{statement}})
				}
			}
		}
		checks = append(checks, slices.Concat(p.item.Coupons, within, torn))
		whole = append(whole, len(p.item.Coupons)+len(within))
	}
	known, err := lookUp(ctx, tx, checks)
	if err != nil {
		return err
	}
	for n, p := range list {
		for k, c := range checks[n] {
			p.byNumbers(known, c, k >= whole[n])
		}
	}
	return nil
}

// byNumbers proposes the accounts that a coupon names; torn is one made of the
// parts of a scanline that fails its check digits.
func (p *proposed) byNumbers(known directory, c Coupon, torn bool) {
	if torn {
		_, statement := numbersIn(c.Statement[0])
		if account := known.members[c.Payer[0]]; account != 0 && account == statement/100 && known.bills[statement] {
			p.add(account, byNumber, fmt.Sprintf("a scanline that fails its check digits names both MRN %s and statement %010d, which is that account's", c.Payer[0], statement))
		}
		return
	}
	for n, s := range slices.Concat(c.Payer, c.Statement) {
		mrn, statement := numbersIn(s)
		if account := known.members[mrn]; account != 0 {
			p.add(account, byNumber, fmt.Sprintf("MRN %s is on the check", mrn))
		}
		if known.bills[statement] && (n >= len(c.Payer) || len(s) == scanlineDigits) {
			p.add(statement/100, byNumber, fmt.Sprintf("statement %010d is on the check", statement))
		}
	}
}

// ofAccounts is SQL that joins to a check c, the accounts that have it, each sought by its
// key: in whatever order the tables are joined, of a file that has just come the
// planner would go through all receipts for each check.
func ofAccounts(check string) string {
	return fmt.Sprintf(`cross join lateral (select account_id, (select true from receipt r where r.account_id = p.account_id
				and r.check_file = p.file_id and r.check_item = p.ordinal and r.check_coupon = p.coupon and r.state in ('pending', 'posted') limit 1) as stands
			from lockbox_part p where p.file_id = %[1]s.file_id and p.ordinal = %[1]s.ordinal offset 0) c where c.stands`, check)
}

// byMates proposes whom the other checks of the envelope went to.
func byMates(ctx context.Context, tx pgx.Tx, list []*proposed) error {
	var files []int64
	var items []int
	at := map[[2]int64]*proposed{}
	for _, p := range list {
		if p.envelope != "" {
			files, items = append(files, p.item.FileID), append(items, p.item.Item)
			at[[2]int64{p.item.FileID, int64(p.item.Item)}] = p
		}
	}
	if len(files) == 0 {
		return nil
	}
	// The checks of a batch lie together, so its mates are not sought in all of the file.
	rows, err := tx.Query(ctx, `select distinct i.file_id, i.ordinal, m.ordinal, c.account_id
		from unnest($1::bigint[], $2::int[]) w(file_id, ordinal) join lockbox_item i using (file_id, ordinal)
		cross join lateral (select items from lockbox_batch b where b.file_id = i.file_id and b.ordinal = i.batch limit 1) b
		cross join lateral (select file_id, ordinal from lockbox_item m where m.file_id = i.file_id and m.ordinal between i.ordinal - b.items and i.ordinal + b.items
			and m.batch = i.batch and m.envelope = i.envelope and m.ordinal <> i.ordinal and m.state = 'taken' offset 0) m
		`+ofAccounts("m")+`
		order by 1, 2, 3, 4`, files, items)
	if err != nil {
		return err
	}
	var file, item, mate, account int64
	_, err = pgx.ForEachRow(rows, []any{&file, &item, &mate, &account}, func() error {
		at[[2]int64{file, item}].add(account, byEnvelope, fmt.Sprintf("item %d came in the same envelope and is this account's", mate))
		return nil
	})
	return err
}

// byMICR proposes the accounts that the same bank account has paid before.
func byMICR(ctx context.Context, tx pgx.Tx, list []*proposed) error {
	of := map[[payerBytes]byte][]*proposed{}
	var from, to [][micrBytes]byte
	for _, p := range list {
		if p.micr == nil {
			continue
		}
		payer := [payerBytes]byte(p.micr[:payerBytes])
		if of[payer] == nil {
			low, high := *p.micr, *p.micr
			for n := payerBytes; n < micrBytes; n++ {
				low[n], high[n] = 0, 0xff
			}
			from, to = append(from, low), append(to, high)
		}
		of[payer] = append(of[payer], p)
	}
	if len(of) == 0 {
		return nil
	}
	// A bank that pays bills for its customers has one account for thousands of
	// payers: its last checks say as little as all of them.
	rows, err := tx.Query(ctx, `select u.low, c.account_id, count(*), max(i.received_on) from unnest($1::uuid[], $2::uuid[]) u(low, high)
		cross join lateral (select * from lockbox_known k where k.micr between u.low and u.high and k.state = 'taken' limit 200) i
		`+ofAccounts("i")+`
		group by 1, 2 order by 1, 2`, from, to)
	if err != nil {
		return err
	}
	var low [micrBytes]byte
	var account int64
	var n int
	var last calendar.Date
	_, err = pgx.ForEachRow(rows, []any{&low, &account, &n, &last}, func() error {
		times := fmt.Sprintf("%d times", n)
		if n == 1 {
			times = "once"
		}
		for _, p := range of[[payerBytes]byte(low[:payerBytes])] {
			p.add(account, byPayer, fmt.Sprintf("the bank account on the check has paid for it %s, last on %s", times, last))
		}
		return nil
	})
	return err
}

// findTwins fills in the check that each suspected duplicate is like: the first
// of them.
func findTwins(ctx context.Context, tx pgx.Tx, like map[[micrBytes]byte][]*WorkItem) error {
	if len(like) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, `select distinct on (i.micr) i.micr, i.file_id, i.ordinal, i.state, f.ingested_on from lockbox_known i join lockbox_file f on f.id = i.file_id
		where i.micr = any($1::uuid[]) and i.state not in ('refused', 'void') order by i.micr, i.file_id, i.ordinal`, keys(like))
	if err != nil {
		return err
	}
	var micr [micrBytes]byte
	var t Twin
	_, err = pgx.ForEachRow(rows, []any{&micr, &t.FileID, &t.Item, &t.State, &t.On}, func() error {
		for _, w := range like[micr] {
			if w.FileID != t.FileID || w.Item != t.Item {
				first := t
				w.Twin = &first
			}
		}
		return nil
	})
	return err
}

// byBill adds who the proposed accounts are, and whose newest bill asks for
// just the amount of the check.
func byBill(ctx context.Context, tx pgx.Tx, list []*proposed) error {
	need := map[int64][]*proposed{}
	for _, p := range list {
		for account := range p.found {
			need[account] = append(need[account], p)
		}
	}
	if len(need) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, `select a.id, a.mrn, coalesce(b.amount_due, 0) from account a left join bill b on b.account_id = a.id and b.cycle = a.last_cycle where a.id = any($1)`, keys(need))
	if err != nil {
		return err
	}
	var account int64
	var mrn string
	var due ledger.Cents
	_, err = pgx.ForEachRow(rows, []any{&account, &mrn, &due}, func() error {
		for _, p := range need[account] {
			p.found[account].MRN = mrn
			if due == p.item.Cents && due > 0 {
				p.add(account, byAmount, "its newest bill asks for exactly this amount")
			}
		}
		return nil
	})
	return err
}

// numbersWithin finds what may be numbers of ours in a reference that is none: a
// word before it, blanks or dashes in it, its first zeros cut off by a spreadsheet.
func numbersWithin(s string) (list []string) {
	for _, group := range grouped.FindAllString(s, -1) {
		digits := strings.NewReplacer(" ", "", "-", "").Replace(group)
		if len(digits) == mrnDigits || len(digits) == scanlineDigits {
			list = append(list, digits)
		}
	}
	if onlyDigits(s) && len(s) >= 6 && len(s) < mrnDigits {
		list = append(list, strings.Repeat("0", mrnDigits-len(s))+s)
	}
	return list
}

var grouped = regexp.MustCompile(`[0-9]([ -]?[0-9])+`)

// partsOf takes apart a scanline whose check digits fail: its MRN, if that
// proves itself, and its statement number.
func partsOf(s string) (mrn, statement string, ok bool) {
	if len(s) != scanlineDigits || !onlyDigits(s) {
		return "", "", false
	}
	if _, err := billing.ParseScanline(s); err == nil {
		return "", "", false
	}
	if _, err := billing.ParseMRN(s[:mrnDigits]); err != nil {
		return "", "", false
	}
	return s[:mrnDigits], s[mrnDigits : mrnDigits+10], true
}
