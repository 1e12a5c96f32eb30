package billing

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/postgres"
)

// chargeRow is a line of charges.csv: a charge, or a correction of one.
type chargeRow struct {
	line                    int
	id, mrn                 string
	kind                    Kind
	service                 calendar.Date
	description             string
	gross, insurer, patient ledger.Cents
	adjusts                 string // the charge that it corrects
}

// isCorrection says whether the row changes what was charged before.
func (c *chargeRow) isCorrection() bool { return c.patient < 0 || c.adjusts != "" }

var chargeFeed = feed[chargeRow]{
	name: "charges",
	layout: layout{
		required: []string{"charge_id", "mrn", "kind", "service_date", "description", "gross_cents", "insurer_cents", "patient_cents"},
		optional: []string{"adjusts"},
	},
	read:   readCharge,
	apply:  addCharges,
	finish: correctCharges,
}

// Charges takes in what members owe. A charge_id that was seen before with the
// same content is unchanged, with other content refused: what was charged is
// changed by a correction with a charge_id of its own, a negative
// patient_cents or the charge that it adjusts, or both. Corrections are applied
// in order after the charges of the file. Imported.Cents is the sum of
// patient_cents, corrections included.
func (im Import) Charges(ctx context.Context, db postgres.DB, from io.Reader) (Imported, error) {
	return take(ctx, db, im, chargeFeed, from)
}

func readCharge(r *row) chargeRow {
	c := chargeRow{line: r.line, id: r.must("charge_id", 64), mrn: r.mrn("mrn"), kind: Kind(r.oneOf("kind", string(Premium), string(Medical))),
		description: r.text("description", 200), patient: r.cents("patient_cents", true), adjusts: r.text("adjusts", 64)}
	if !c.isCorrection() {
		c.service, c.gross, c.insurer = r.mustDate("service_date"), r.cents("gross_cents", false), r.cents("insurer_cents", false)
		return c
	}
	// A correction may leave open what it doesn't change, and mirror the rest.
	c.service = r.date("service_date")
	if r.cell("gross_cents") != "" {
		c.gross = r.cents("gross_cents", true)
	}
	if r.cell("insurer_cents") != "" {
		c.insurer = r.cents("insurer_cents", true)
	}
	switch {
	case c.patient == 0 && len(r.problems) == 0:
		r.refuse("patient_cents", "a correction by 0 changes nothing")
	case c.adjusts == c.id && c.id != "":
		r.refuse("adjusts", "the correction names itself; it must name the charge that it corrects")
	}
	return c
}

// addCharges adds the charges of a chunk, and puts its corrections aside.
func addCharges(ctx context.Context, in *intake, rows []chargeRow) error {
	ids, err := in.maybeKnown(ctx, column(rows, func(c *chargeRow) string { return c.id }))
	if err != nil {
		return err
	}
	known, err := in.chargesKnown(ctx, ids)
	if err != nil {
		return err
	}
	corrections, err := in.correctionsKnown(ctx, ids)
	if err != nil {
		return err
	}
	var later []chargeRow
	news := make([]*chargeRow, 0, len(rows))
	for i := range rows {
		switch c := &rows[i]; {
		case c.isCorrection():
			later = append(later, *c)
		case known[c.id] != nil:
			in.seenBefore(c, known[c.id])
		case corrections[c.id] != nil:
			in.refuse(c.line, "charge_id", "%q came before as a correction; a charge needs a charge_id of its own", c.id)
		default:
			news = append(news, c)
		}
	}
	if err := in.charge(ctx, news, known); err != nil {
		return err
	}
	return in.putAside(ctx, later)
}

// charge adds charges to their accounts, and to those known.
func (in *intake) charge(ctx context.Context, news []*chargeRow, known map[string]*chargeRow) error {
	book, accounts, err := in.load(ctx, Counters, column(news, func(c **chargeRow) string { return (*c).mrn }))
	if err != nil {
		return err
	}
	if err := in.loadCharged(ctx, book, news); err != nil {
		return err
	}
	for _, c := range news {
		if before := known[c.id]; before != nil { // twice in the chunk
			in.seenBefore(c, before)
			continue
		}
		account, ok := accounts[c.mrn]
		if !ok {
			in.refuse(c.line, "mrn", unknownMember, c.mrn)
			continue
		}
		book.Account(account).Charge(in.Policy, in.Day, c.kind, c.patient, c.detail())
		known[c.id] = c
		in.Accepted++
		in.Cents += c.patient
	}
	return book.Save(ctx)
}

// loadCharged loads the rest of those accounts on which a cut may have charged a
// premium that the feed brings now.
func (in *intake) loadCharged(ctx context.Context, book *Book, news []*chargeRow) error {
	var mrns []string
	var months []int32
	for _, c := range news {
		if c.kind == Premium {
			mrns, months = append(mrns, c.mrn), append(months, int32(calendar.CycleOf(c.service)))
		}
	}
	if len(mrns) == 0 {
		return nil
	}
	charged, err := ids(ctx, in.tx, `select distinct c.account_id from coverage c join unnest($1::text[], $2::int[]) u(mrn, month) on u.mrn = c.mrn and u.month <= c.charged_to
		join member m on m.mrn = c.mrn and m.account_id = c.account_id where c.monthly_cents > 0 order by 1`, mrns, months)
	if err != nil || len(charged) == 0 {
		return err
	}
	whole, err := Load(ctx, in.tx, Whole, charged...)
	if err != nil {
		return err
	}
	book.replace(whole)
	return nil
}

// seenBefore counts a charge that came before: unchanged, or refused if it
// says something else now.
func (in *intake) seenBefore(c, before *chargeRow) {
	if field, was := c.differs(before); field != "" {
		in.refuse(c.line, field, "charge %q came before with %s here; what was charged is changed by a correction", c.id, was)
	} else {
		in.Unchanged++
	}
}

func (c *chargeRow) detail() Detail {
	return Detail{ChargeID: c.id, MRN: c.mrn, ServiceDate: c.service, Description: c.description, Gross: c.gross, Insurer: c.insurer}
}

// differs names the first field in which a charge is not what it was before,
// and what it was.
func (c *chargeRow) differs(before *chargeRow) (field, was string) {
	switch {
	case c.mrn != before.mrn:
		return "mrn", before.mrn
	case c.kind != before.kind:
		return "kind", string(before.kind)
	case c.service != before.service:
		return "service_date", before.service.String()
	case c.description != before.description:
		return "description", fmt.Sprintf("%q", before.description)
	case c.gross != before.gross:
		return "gross_cents", fmt.Sprint(int64(before.gross))
	case c.insurer != before.insurer:
		return "insurer_cents", fmt.Sprint(int64(before.insurer))
	case c.patient != before.patient:
		return "patient_cents", fmt.Sprint(int64(before.patient))
	}
	return "", ""
}

// maybeKnown puts charge ids in order, and returns those in whose neighborhood
// others have been seen. Most feeds number their rows as they go, and a run of new numbers is
// told from one that came before by a single look.
func (in *intake) maybeKnown(ctx context.Context, ids []string) (maybe []string, err error) {
	const run = 250
	slices.Sort(ids)
	runs := slices.Collect(slices.Chunk(ids, run))
	first := column(runs, func(ids *[]string) string { return (*ids)[0] })
	last := column(runs, func(ids *[]string) string { return (*ids)[len(*ids)-1] })
	err = byLookup(ctx, in.tx, func() error {
		rows, err := in.tx.Query(ctx, `select n from unnest($1::text[], $2::text[]) with ordinality u(first, last, n)
			where exists (select from item where charge_id between first and last) or exists (select from adjustment where charge_id between first and last) order by n`, first, last)
		if err != nil {
			return err
		}
		var n int
		_, err = pgx.ForEachRow(rows, []any{&n}, func() error { maybe = append(maybe, runs[n-1]...); return nil })
		return err
	})
	return maybe, err
}

// chargesKnown returns the charges that came before under these ids, as they
// came: an item's own cents may have been adjusted since, its entry's not. Of a
// charge whose entry is archived, what was taken off it is added back.
func (in *intake) chargesKnown(ctx context.Context, ids []string) (map[string]*chargeRow, error) {
	known := map[string]*chargeRow{}
	if len(ids) == 0 {
		return known, nil
	}
	rows, err := in.tx.Query(ctx, `select i.charge_id, i.mrn, i.kind, i.service_date, i.description, i.gross_cents, i.insurer_cents,
			case when i.entry = 0 then 0 when j.no is not null then j.cents
			else i.cents + (select coalesce(sum(o.cents), 0)::bigint from journal_at_hand o where o.account_id = i.account_id and o.doc = i.no and o.credit = 'receivable')
				+ (select coalesce(sum(s.cents), 0)::bigint from standing s where s.account_id = i.account_id and s.source = i.no) end
		from item i left join journal j on j.account_id = i.account_id and j.no = i.entry where i.charge_id = any($1)`, ids)
	if err != nil {
		return nil, err
	}
	var c chargeRow
	_, err = pgx.ForEachRow(rows, []any{&c.id, &c.mrn, &c.kind, &c.service, &c.description, &c.gross, &c.insurer, &c.patient}, func() error {
		before := c
		known[c.id] = &before
		return nil
	})
	return known, err
}

// correctionsKnown returns the content of the corrections that came before
// under these ids.
func (in *intake) correctionsKnown(ctx context.Context, ids []string) (map[string][]byte, error) {
	known := map[string][]byte{}
	if len(ids) == 0 {
		return known, nil
	}
	rows, err := in.tx.Query(ctx, `select charge_id, content from adjustment where charge_id = any($1)`, ids)
	if err != nil {
		return nil, err
	}
	var id string
	var content []byte
	_, err = pgx.ForEachRow(rows, []any{&id, &content}, func() error {
		known[id] = bytes.Clone(content)
		return nil
	})
	return known, err
}

var correctionColumns = []string{"line", "charge_id", "mrn", "kind", "service_date", "description", "gross_cents", "insurer_cents", "patient_cents", "adjusts"}

// putAside keeps corrections until all charges of the file are there: they may
// name any of them.
func (in *intake) putAside(ctx context.Context, rows []chargeRow) error {
	if len(rows) == 0 {
		return nil
	}
	if _, err := in.tx.Exec(ctx, `create temporary table if not exists feed_correction (line integer primary key, charge_id text, mrn text, kind text, service_date date,
		description text, gross_cents bigint, insurer_cents bigint, patient_cents bigint, adjusts text) on commit drop`); err != nil {
		return err
	}
	in.aside += len(rows)
	_, err := in.tx.CopyFrom(ctx, pgx.Identifier{"feed_correction"}, correctionColumns, pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) {
		c := &rows[i]
		return []any{c.line, c.id, c.mrn, string(c.kind), c.service, c.description, int64(c.gross), int64(c.insurer), int64(c.patient), c.adjusts}, nil
	}))
	return err
}

// correctCharges applies the corrections that were put aside. They need whole
// accounts, so fewer at a time.
func correctCharges(ctx context.Context, in *intake) error {
	const atATime = chunkRows / 10
	for line := 0; in.aside > 0; in.aside -= atATime {
		rows, err := in.tx.Query(ctx, `select line, charge_id, mrn, kind, service_date, description, gross_cents, insurer_cents, patient_cents, adjusts
			from feed_correction where line > $1 order by line limit $2`, line, atATime)
		if err != nil {
			return err
		}
		var chunk []chargeRow
		var c chargeRow
		if _, err := pgx.ForEachRow(rows, []any{&c.line, &c.id, &c.mrn, &c.kind, &c.service, &c.description, &c.gross, &c.insurer, &c.patient, &c.adjusts}, func() error {
			chunk = append(chunk, c)
			return nil
		}); err != nil {
			return err
		}
		if err := in.correct(ctx, chunk); err != nil {
			return err
		}
		line = c.line
	}
	return nil
}

// corrected is the charge that a correction names.
type corrected struct {
	mrn     string
	account int64
	no      int32
	kind    Kind
}

func (in *intake) correct(ctx context.Context, rows []chargeRow) error {
	mrns := column(rows, func(c *chargeRow) string { return c.mrn })
	accounts, err := in.accountsOf(ctx, mrns)
	if err != nil {
		return err
	}
	ids := column(rows, func(c *chargeRow) string { return c.id })
	known, err := in.correctionsKnown(ctx, ids)
	if err != nil {
		return err
	}
	charges, err := in.chargesNamed(ctx, append(ids, column(rows, func(c *chargeRow) string { return c.adjusts })...))
	if err != nil {
		return err
	}
	owing := slices.Collect(maps.Values(accounts))
	for i := range rows {
		if c := &rows[i]; charges[c.adjusts].mrn == c.mrn {
			owing = append(owing, charges[c.adjusts].account)
		}
	}
	slices.Sort(owing)
	book, err := Load(ctx, in.tx, in.Policy.Need(Whole), slices.Compact(owing)...)
	if err != nil {
		return err
	}
	var done [][]any
	for i := range rows {
		c := &rows[i]
		content := c.content()
		if before, ok := known[c.id]; ok {
			if bytes.Equal(before, content) {
				in.Unchanged++
			} else {
				in.refuse(c.line, "charge_id", "correction %q came before and said something else; another correction needs a charge_id of its own", c.id)
			}
			continue
		}
		account, item, ok := in.mayCorrect(c, accounts, charges)
		if !ok {
			continue
		}
		// The raise of a charge is an item without charge_id: that is the charge's.
		detail := c.detail()
		detail.ChargeID = ""
		if err := book.Account(account).Adjust(in.Policy, in.Day, c.kind, c.patient, item, detail); err != nil {
			in.refuse(c.line, "patient_cents", "%v", err)
			continue
		}
		known[c.id] = content
		done = append(done, []any{c.id, account, string(c.kind), int64(c.patient), c.adjusts, content, in.Day})
		in.Accepted++
		in.Cents += c.patient
	}
	if err := book.Save(ctx); err != nil {
		return err
	}
	_, err = in.tx.CopyFrom(ctx, pgx.Identifier{"adjustment"}, []string{"charge_id", "account_id", "kind", "cents", "adjusts", "content", "on_date"}, pgx.CopyFromRows(done))
	return err
}

// mayCorrect finds the account and the charge that a correction is about (item
// 0 if it names none), or refuses it. A member's own charge is corrected where
// it is owed, by a former guarantor perhaps.
func (in *intake) mayCorrect(c *chargeRow, accounts map[string]int64, charges map[string]corrected) (account int64, item int32, ok bool) {
	if account, ok = accounts[c.mrn]; !ok {
		in.refuse(c.line, "mrn", unknownMember, c.mrn)
		return 0, 0, false
	}
	if _, charge := charges[c.id]; charge {
		in.refuse(c.line, "charge_id", "%q is a charge; a correction needs a charge_id of its own", c.id)
		return 0, 0, false
	}
	if c.adjusts == "" {
		return account, 0, true
	}
	switch named, known := charges[c.adjusts]; {
	case !known:
		in.refuse(c.line, "adjusts", "there is no charge %q, in this file or before", c.adjusts)
	case named.account != account && named.mrn != c.mrn:
		in.refuse(c.line, "adjusts", "charge %q is not on the account of MRN %s", c.adjusts, c.mrn)
	case named.kind != c.kind:
		in.refuse(c.line, "kind", "charge %q is %s, the correction says %s", c.adjusts, named.kind, c.kind)
	default:
		return named.account, named.no, true
	}
	return 0, 0, false
}

// content tells a correction from another under the same id.
func (c *chargeRow) content() []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %s %q %d %d %d %q", c.mrn, c.kind, c.service, c.description, c.gross, c.insurer, c.patient, c.adjusts))
	return sum[:]
}

func (in *intake) chargesNamed(ctx context.Context, ids []string) (map[string]corrected, error) {
	rows, err := in.tx.Query(ctx, `select charge_id, mrn, account_id, no, kind from item where charge_id = any($1)`, ids)
	if err != nil {
		return nil, err
	}
	charges := map[string]corrected{}
	var id string
	var c corrected
	_, err = pgx.ForEachRow(rows, []any{&id, &c.mrn, &c.account, &c.no, &c.kind}, func() error {
		charges[id] = c
		return nil
	})
	return charges, err
}
