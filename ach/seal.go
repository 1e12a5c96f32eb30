package ach

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// modifiers tell apart the files of one day, in the order they are used.
const modifiers = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// sealedAt is the hour that every file says it was made at. A file's bytes
// follow from the rows it is made of alone, so no clock may enter them.
const sealedAt = 18

// loose is a debit that is in no file yet.
type loose struct {
	Entry
	account  int64
	receipt  int32
	methodID int64
	code     string // why it cannot be sent, "" if it can
	problem  string // in words
}

// methodContext is what a stored account number is sealed for.
func methodContext(account int64) string { return "autopay_method/" + strconv.FormatInt(account, 10) }

// fileContext is what a file's bytes are sealed for.
func fileContext(name string) string { return "ach_file/" + name }

// Seal puts every debit that is built and in no file yet into files, one for
// each effective date and more where a limit splits it. The bytes are made
// once, from the rows alone, and stored encrypted with their hash; nothing has
// left the house. A debit that cannot be sent is withdrawn and put before a
// person (exception unusable_method or no_authorization); the others go out.
// Called again, it finds nothing left to do. It returns the files it made.
func (o Office) Seal(ctx context.Context) (files []FileInfo, err error) {
	err = pgx.BeginFunc(ctx, o.DB, func(tx pgx.Tx) error {
		files = nil
		// One sealing at a time. Locks are taken in the order files, accounts,
		// traces everywhere, so that nobody waits in a ring.
		if _, err := tx.Exec(ctx, `lock table ach_file in share row exclusive mode`); err != nil {
			return err
		}
		debits, err := o.loose(ctx, tx)
		if err != nil {
			return err
		}
		if debits, err = o.setAside(ctx, tx, debits); err != nil {
			return err
		}
		for len(debits) > 0 {
			n := slices.IndexFunc(debits, func(d loose) bool { return d.Effective != debits[0].Effective })
			if n < 0 {
				n = len(debits)
			}
			made, err := o.sealDay(ctx, tx, debits[:n])
			if err != nil {
				return err
			}
			files, debits = append(files, made...), debits[n:]
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("sealing the debits of %s: %w", o.Day, err)
	}
	return files, nil
}

// loose reads the debits that are in no file, by effective date and trace.
// Those whose day has come are left to WithdrawUnreleased.
func (o Office) loose(ctx context.Context, tx pgx.Tx) ([]loose, error) {
	rows, err := tx.Query(ctx, `select d.account_id, d.receipt, d.attempt, d.cents, d.effective_on, d.trace, d.sec, d.method_id,
			a.mrn, coalesce(n.first_name || ' ' || n.last_name, ''), m.routing, m.account_type, m.number_sealed,
			m.method = 'ach' and m.account_id = d.account_id and (m.ended_on is null or m.ended_on > $1) and m.authorized_on <= $1
		from debit d join account a on a.id = d.account_id join autopay_method m on m.id = d.method_id left join member n on n.mrn = a.mrn
		where d.file_id is null and d.state = 'built' and d.effective_on > $1 order by d.effective_on, d.trace`, o.Day)
	if err != nil {
		return nil, err
	}
	var unopened error
	opened := 0
	debits, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (d loose, err error) {
		var attempt int
		var trace int64
		var kind string
		var sealed []byte
		var inForce bool
		if err = row.Scan(&d.account, &d.receipt, &attempt, &d.Cents, &d.Effective, &trace, &d.SEC, &d.methodID,
			&d.IndividualID, &d.Name, &d.Routing, &kind, &sealed, &inForce); err != nil {
			return d, err
		}
		d.Trace, d.Retry, d.Savings = Trace(trace), attempt > 0, kind == Savings
		if plainName(d.Name) == "" {
			d.Name = "MEMBER " + d.IndividualID // a name in another script has no plain form
		}
		number, unsealed := o.Keys.Open(sealed, methodContext(d.account))
		if d.Account = string(number); unsealed == nil {
			opened++
		}
		switch unusable := CheckRouting(d.Routing); {
		case !inForce:
			d.code, d.problem = NoAuthorization, "the authorization it was built on is no longer in force"
		case unsealed != nil:
			unopened = unsealed
			d.code, d.problem = UnusableMethod, unsealed.Error()
		case unusable != nil:
			d.code, d.problem = UnusableMethod, unusable.Error()
		}
		return d, nil
	})
	if err == nil && opened == 0 && unopened != nil {
		return nil, unopened // no number at all opens: these are not the keys, the members are not to blame
	}
	return debits, err
}

// setAside withdraws the debits that cannot be sent, and returns the others.
func (o Office) setAside(ctx context.Context, tx pgx.Tx, debits []loose) ([]loose, error) {
	company := CompanyOf(o.Policy)
	var bad []loose
	good := debits[:0]
	for _, d := range debits {
		if d.code == "" {
			if err := company.CheckEntry(&d.Entry); err != nil {
				var wrong *EntryError
				if !errors.As(err, &wrong) {
					return nil, err // not this entry's fault
				}
				d.code, d.problem = UnusableMethod, wrong.Error()
			}
		}
		if d.code != "" {
			bad = append(bad, d)
			continue
		}
		good = append(good, d)
	}
	if len(bad) == 0 {
		return good, nil
	}
	var ids []int64
	for _, d := range bad {
		ids = append(ids, d.account)
	}
	slices.Sort(ids)
	b, err := billing.Load(ctx, tx, billing.Whole, slices.Compact(ids)...)
	if err != nil {
		return nil, err
	}
	for _, d := range bad {
		a := b.Account(d.account)
		a.WithdrawDebit(a.DebitOf(d.receipt), o.Day, unusable(o.Day, a.DebitOf(d.receipt), d))
	}
	if err := b.Save(ctx); err != nil {
		return nil, err
	}
	return good, nil
}

// unusable puts a debit that is set aside before a person.
func unusable(day calendar.Date, debit *billing.Debit, d loose) billing.Exception {
	subject := debit.Cycle.String()
	if d.code == UnusableMethod {
		subject = strconv.FormatInt(d.methodID, 10) // Select passes the method over until this is cleared
	}
	return billing.Exception{On: day, Job: "autopay", Code: d.code, Subject: subject,
		Detail: fmt.Sprintf("the debit of %s effective %s was not sent: %s", d.Cents, d.Effective, d.problem)}
}

// sealDay makes the files of one effective date.
func (o Office) sealDay(ctx context.Context, tx pgx.Tx, debits []loose) ([]FileInfo, error) {
	entries := make([]Entry, len(debits))
	byTrace := make(map[Trace]*loose, len(debits))
	for i := range debits {
		entries[i] = debits[i].Entry
		byTrace[debits[i].Trace] = &debits[i]
	}
	parts, err := Split(entries, Limits{Entries: o.Policy.ACH.MaxEntriesPerFile})
	if err != nil {
		return nil, err
	}
	var files []FileInfo
	for _, part := range parts {
		f, err := o.sealFile(ctx, tx, part, byTrace)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

func (o Office) sealFile(ctx context.Context, tx pgx.Tx, entries []Entry, byTrace map[Trace]*loose) (FileInfo, error) {
	info := FileInfo{BuiltOn: o.Day, EffectiveOn: entries[0].Effective, State: FileSealed, Maker: cmp.Or(o.Operator, system)}
	var before int
	if err := tx.QueryRow(ctx, `select count(*) from ach_file where built_on = $1`, o.Day).Scan(&before); err != nil {
		return info, err
	}
	if before >= len(modifiers) {
		return info, fmt.Errorf("%d files were made on %s, and a bank tells apart no more: raise policy ach.max_entries_per_file", before, o.Day)
	}
	modifier := modifiers[before]
	info.Name = fmt.Sprintf("ach-%s-%c.ach", o.Day.Format("20060102"), modifier)
	f := File{Company: CompanyOf(o.Policy), Created: Stamp{Date: o.Day, Hour: sealedAt}, IDModifier: modifier, Effective: info.EffectiveOn, FirstBatch: 1, Entries: entries}
	if err := takeOffsetTraces(ctx, tx, &f, o.Day); err != nil {
		return info, err
	}
	bytes, sum, err := Build(f)
	if err != nil {
		return info, err
	}
	hash := sha256.Sum256(bytes)
	info.SHA256, info.Entries, info.Cents = hash[:], sum.Debits, sum.DebitCents
	sealed, err := o.Keys.Seal(bytes, fileContext(info.Name))
	if err != nil {
		return info, err
	}
	err = tx.QueryRow(ctx, `insert into ach_file (built_on, effective_on, modifier, name, entries, cents, sha256, sealed, maker) values ($1, $2, $3, $4, $5, $6, $7, $8, $9) returning id`,
		info.BuiltOn, info.EffectiveOn, string(modifier), info.Name, info.Entries, int64(info.Cents), hash[:], sealed, info.Maker).Scan(&info.ID)
	if err != nil {
		return info, err
	}
	return info, enclose(ctx, tx, info, entries, byTrace)
}

// takeOffsetTraces takes the traces of the balancing credits, one run of them.
func takeOffsetTraces(ctx context.Context, tx pgx.Tx, f *File, day calendar.Date) error {
	n := f.Offsets()
	if n == 0 {
		return nil
	}
	for {
		traces, err := takeTraces(ctx, tx, f.ODFI, day, n)
		if err != nil {
			return err
		}
		if traces[n-1]-traces[0] == Trace(n-1) { // else it went over a used number or the top
			f.OffsetTrace = traces[0]
			return nil
		}
	}
}

// enclose notes on the debits which file they are in, and proves that the
// file's totals are theirs.
func enclose(ctx context.Context, tx pgx.Tx, info FileInfo, entries []Entry, byTrace map[Trace]*loose) error {
	accounts, receipts := make([]int64, len(entries)), make([]int32, len(entries))
	for i := range entries {
		d := byTrace[entries[i].Trace]
		accounts[i], receipts[i] = d.account, d.receipt
	}
	var n int
	var cents ledger.Cents
	err := tx.QueryRow(ctx, `with enclosed as (
			update debit d set file_id = $1 from unnest($2::bigint[], $3::int[]) u(account_id, receipt)
			where d.account_id = u.account_id and d.receipt = u.receipt and d.file_id is null and d.state = 'built' returning d.account_id, d.receipt, d.cents)
		select count(*), coalesce(sum(r.cents), 0)::bigint from enclosed e join receipt r on r.account_id = e.account_id and r.no = e.receipt and r.cents = e.cents and r.state = 'pending'`,
		info.ID, accounts, receipts).Scan(&n, &cents)
	if err == nil && (n != info.Entries || cents != info.Cents) {
		err = fmt.Errorf("file %s holds %d debits of %s, but the pending receipts are %d of %s", info.Name, info.Entries, info.Cents, n, cents)
	}
	return err
}
