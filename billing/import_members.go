package billing

import (
	"context"
	"io"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/postgres"
)

// memberRow is a line of members.csv.
type memberRow struct {
	line                                 int
	mrn, guarantor, first, last          string
	born                                 calendar.Date
	address1, address2, city, state, zip string
	email, phone, language, delivery     string
	deceased                             calendar.Date
}

var memberFeed = feed[memberRow]{
	name: "members",
	layout: layout{
		required: []string{"mrn", "guarantor_mrn", "first_name", "last_name", "delivery"},
		optional: []string{"birth_date", "address1", "address2", "city", "state", "zip", "email", "phone", "language", "deceased_on"},
	},
	read:   readMember,
	apply:  stageMembers,
	finish: mergeMembers,
}

// Members takes in who the members are and which guarantor's account each is
// billed to. A guarantor that is new opens an account; a row that differs from
// what is known replaces it. With a new guarantor go the months of coverage that
// are not charged yet. Accounts go on hold, or off, as the guarantor's
// own row asks (POLICY section 9).
func (im Import) Members(ctx context.Context, db postgres.DB, from io.Reader) (Imported, error) {
	return take(ctx, db, im, memberFeed, from)
}

func readMember(r *row) memberRow {
	m := memberRow{
		line: r.line, mrn: r.mrn("mrn"), guarantor: r.mrn("guarantor_mrn"),
		first: r.must("first_name", 100), last: r.must("last_name", 100), born: r.date("birth_date"),
		address1: r.text("address1", 100), address2: r.text("address2", 100), city: r.text("city", 100), state: r.text("state", 30), zip: r.text("zip", 20),
		email: r.text("email", 254), phone: r.text("phone", 32), language: r.text("language", 35),
		delivery: "paper", deceased: r.date("deceased_on"),
	}
	if r.cell("delivery") != "" {
		m.delivery = r.oneOf("delivery", "paper", "paperless")
	}
	if m.language == "" {
		m.language = "en"
	}
	return m
}

var memberColumns = []string{"line", "mrn", "guarantor", "first_name", "last_name", "birth_date", "address1", "address2", "city", "state", "zip", "email", "phone", "language", "delivery", "deceased_on"}

// stageMembers puts rows aside in a temporary table: who a guarantor is can
// only be told when the whole file is there.
func stageMembers(ctx context.Context, in *intake, rows []memberRow) error {
	if _, err := in.tx.Exec(ctx, `create temporary table if not exists feed_member (
			line integer, mrn text, guarantor text, first_name text, last_name text, birth_date date, address1 text, address2 text, city text, state text, zip text,
			email text, phone text, language text, delivery text, deceased_on date) on commit drop`); err != nil {
		return err
	}
	_, err := in.tx.CopyFrom(ctx, pgx.Identifier{"feed_member"}, memberColumns, pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
		m := &rows[i]
		return []any{m.line, m.mrn, m.guarantor, m.first, m.last, m.born, m.address1, m.address2, m.city, m.state, m.zip, m.email, m.phone, m.language, m.delivery, m.deceased}, nil
	}))
	return err
}

// What a member's row says, in the file (f) and as it is known (m).
const (
	memberSays = `(f.first_name, f.last_name, f.birth_date, f.address1, f.address2, f.city, f.state, f.zip, f.email, f.phone, f.language, f.delivery, f.deceased_on)`
	memberIs   = `(m.first_name, m.last_name, m.birth_date, m.address1, m.address2, m.city, m.state, m.zip, m.email, m.phone, m.language, m.delivery, m.deceased_on)`
)

// mergeMembers takes over what the file says, set by set.
func mergeMembers(ctx context.Context, in *intake) error {
	if in.Rows == in.Refused {
		return nil // nothing was put aside
	}
	if _, err := in.tx.Exec(ctx, `analyze feed_member`); err != nil {
		return err
	}
	if err := refuseMembers(ctx, in); err != nil {
		return err
	}
	if in.Refused > 0 && !in.Partial {
		return nil
	}
	// Ids follow from what is there, not from a sequence: one that a killed run
	// has used up would give every later account another number.
	if _, err := in.tx.Exec(ctx, `insert into account (id, mrn, opened_on) overriding system value
			select (select max(id) from account) + row_number() over (order by min(f.line)), f.guarantor, $1 from feed_member f where not exists (select from account a where a.mrn = f.guarantor)
			group by f.guarantor order by min(f.line)`, in.Day); err != nil {
		return err
	}
	if _, err := in.tx.Exec(ctx, `insert into member_was (mrn, until_on, account_id, first_name, last_name)
		select m.mrn, $1, m.account_id, m.first_name, m.last_name from feed_member f join member m on m.mrn = f.mrn join account a on a.mrn = f.guarantor
		where (m.account_id, m.first_name, m.last_name) <> (a.id, f.first_name, f.last_name) on conflict do nothing`, in.Day); err != nil {
		return err
	}
	moves, err := in.movesAhead(ctx)
	if err != nil {
		return err
	}
	done, err := in.tx.Exec(ctx, `insert into member (mrn, account_id, first_name, last_name, birth_date, address1, address2, city, state, zip, email, phone, language, delivery, deceased_on)
		select f.mrn, a.id, f.first_name, f.last_name, f.birth_date, f.address1, f.address2, f.city, f.state, f.zip, f.email, f.phone, f.language, f.delivery, f.deceased_on
		from feed_member f join account a on a.mrn = f.guarantor left join member m on m.mrn = f.mrn
		where m.mrn is null or m.account_id <> a.id or `+memberSays+` is distinct from `+memberIs+`
		order by f.line
		on conflict (mrn) do update set (account_id, first_name, last_name, birth_date, address1, address2, city, state, zip, email, phone, language, delivery, deceased_on)
		= (excluded.account_id, excluded.first_name, excluded.last_name, excluded.birth_date, excluded.address1, excluded.address2, excluded.city, excluded.state, excluded.zip,
			excluded.email, excluded.phone, excluded.language, excluded.delivery, excluded.deceased_on)`)
	if err != nil {
		return err
	}
	in.Accepted = int(done.RowsAffected())
	in.Unchanged = in.Rows - in.Refused - in.Accepted
	if err := in.carryCoverage(ctx, moves); err != nil {
		return err
	}
	return in.automaticHolds(ctx)
}

// refuseMembers names the rows that contradict each other or name a guarantor
// whom nobody knows, and takes them out. Of rows that say the same, the first
// stays.
func refuseMembers(ctx context.Context, in *intake) error {
	err := in.refuseLines(ctx, "mrn", `with twice as (select mrn from feed_member group by mrn having count(*) > 1),
		differ as (select f.mrn, array_agg(f.line order by f.line) as lines from twice join feed_member f using (mrn)
			group by f.mrn having count(distinct (f.guarantor, `+memberSays+`)) > 1)
		delete from feed_member f using differ d where f.mrn = d.mrn
		returning f.line, format('MRN %s stands on lines %s with different content; which one counts?', f.mrn, array_to_string(d.lines[:5], ', '))`)
	if err != nil {
		return err
	}
	if _, err := in.tx.Exec(ctx, `delete from feed_member f using (select mrn, min(line) as line from feed_member group by mrn having count(*) > 1) first
		where f.mrn = first.mrn and f.line > first.line`); err != nil {
		return err
	}
	// Who depends on a row that goes, goes too, unless the guarantor was known before.
	return in.refuseLines(ctx, "guarantor_mrn", `with recursive lost as (
			select f.line, f.mrn from feed_member f
			where not exists (select from member m where m.mrn = f.guarantor) and not exists (select from feed_member g where g.mrn = f.guarantor)
			union
			select f.line, f.mrn from lost l join feed_member f on f.guarantor = l.mrn where not exists (select from member m where m.mrn = f.guarantor))
		delete from feed_member f using lost l where f.line = l.line
		returning f.line, format('the guarantor %s is no member: not known before, and not on a good line of this file', f.guarantor)`)
}

// refuseLines refuses the rows that a statement returns: line and problem.
func (in *intake) refuseLines(ctx context.Context, field, sql string) error {
	rows, err := in.tx.Query(ctx, sql)
	if err != nil {
		return err
	}
	var line int
	var problem string
	_, err = pgx.ForEachRow(rows, []any{&line, &problem}, func() error {
		in.refuse(line, field, "%s", problem)
		return nil
	})
	return err
}

// Why an account is on hold by itself.
const (
	Deceased   = "deceased"
	BadAddress = "bad_address"
)

// The holds that follow from a guarantor's own row, and when.
var automaticHolds = []struct{ reason, when string }{
	{Deceased, `m.deceased_on is not null`},
	{BadAddress, `m.delivery = 'paper' and '' in (m.address1, m.city, m.zip)`},
}

// automaticHolds places and releases the holds that follow from the rows of
// the file. Only accounts whose holds change are loaded.
func (in *intake) automaticHolds(ctx context.Context) error {
	for _, h := range automaticHolds {
		rows, err := in.tx.Query(ctx, `select a.id, `+h.when+` from feed_member f join member m on m.mrn = f.mrn join account a on a.mrn = f.mrn
			left join hold h on h.account_id = a.id and h.reason = $1 and h.released_on is null
			where case when `+h.when+` then h.no is null else h.automatic end order by a.id`, h.reason)
		if err != nil {
			return err
		}
		var ids []int64
		var held []bool
		var id int64
		var hold bool
		if _, err := pgx.ForEachRow(rows, []any{&id, &hold}, func() error {
			ids, held = append(ids, id), append(held, hold)
			return nil
		}); err != nil {
			return err
		}
		for ; len(ids) > 0; ids, held = ids[min(len(ids), chunkRows):], held[min(len(ids), chunkRows):] {
			if err := in.setHolds(ctx, h.reason, ids[:min(len(ids), chunkRows)], held); err != nil {
				return err
			}
		}
	}
	return nil
}

// setHolds places (held) or releases the automatic hold of each account.
func (in *intake) setHolds(ctx context.Context, reason string, ids []int64, held []bool) error {
	book, err := Load(ctx, in.tx, OpenOnly, ids...)
	if err != nil {
		return err
	}
	for i, id := range ids {
		if a := book.Account(id); held[i] {
			a.Place(in.Day, reason, system, "", true)
		} else {
			a.Release(in.Day, reason, system)
		}
	}
	return book.Save(ctx)
}
