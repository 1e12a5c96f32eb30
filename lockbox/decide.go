package lockbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/postgres"
)

// What becomes of a file: whether it was here before, must be refused, has to
// be held against one that came earlier, or is taken in.

// ingestLock lets one file in at a time: what was here before must not change
// while a file is held against it and its checks are laid out.
const ingestLock = 0x6c_6f_63_6b

// alone does something on a connection that holds the lock of the lockbox.
func (d Desk) alone(ctx context.Context, do func(conn postgres.DB) error) error {
	_, err := postgres.Alone(ctx, d.DB, ingestLock, true, do)
	return err
}

// take stores an inspected file.
func (d Desk) take(ctx context.Context, f *arrival, content io.ReadSeeker) (Ingested, error) {
	out := Ingested{Profile: f.profile.Name, Items: f.sum.Items, Cents: f.sum.Cents, RefusedBatches: f.sum.RefusedBatches, Problems: f.sum.Problems}
	if out.Problems == nil {
		out.Problems = []Problem{}
	}
	err := d.alone(ctx, func(conn postgres.DB) error {
		in := &intake{Desk: d, arrival: f, conn: conn}
		var done bool
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) (err error) {
			if done, err = d.decide(ctx, tx, f, &out); err != nil || done {
				return err
			}
			if err := in.begin(ctx, tx); err != nil {
				return err
			}
			if f.sum.Items > in.chunkItems() {
				return nil
			}
			in.tx, done = tx, true
			return in.inTurn(ctx, content, func(do func(pgx.Tx) error) error { return do(tx) }, &out)
		})
		if err != nil || done {
			return err
		}
		if _, pool := d.DB.(*pgxpool.Pool); pool {
			return in.atOnce(ctx, content, &out)
		}
		return in.inTurn(ctx, content, func(do func(pgx.Tx) error) error { return pgx.BeginFunc(ctx, conn, do) }, &out)
	})
	if err != nil {
		return Ingested{Problems: []Problem{}}, fmt.Errorf("lockbox file %s: %w", f.name, err)
	}
	if !out.Duplicate && f.refused() {
		i := slices.IndexFunc(out.Problems, func(p Problem) bool { return p.Refuses == RefusesFile })
		return out, fmt.Errorf("lockbox file %s: %s: %w", f.name, out.Problems[max(i, 0)], ErrRefused)
	}
	return out, nil
}

// decide says what becomes of a file; done is false if it is to be taken in.
func (d Desk) decide(ctx context.Context, tx pgx.Tx, f *arrival, out *Ingested) (done bool, err error) {
	known, state, err := f.known(ctx, tx)
	switch {
	case err != nil:
		return true, err
	case f.asNew && state != stateHeld: // another has decided meanwhile
		return true, fmt.Errorf("file %d is %s: %w", known, state, ErrNotNow)
	case known != 0 && (state == stateAccepted || state == stateHeld && !f.asNew):
		if out.FileID, out.Duplicate = known, true; state == stateHeld {
			out.Held = out.Items
		} else {
			out.Refused, out.Skipped = out.Items, out.Items
		}
		return true, nil
	case f.refused():
		out.Refused = out.Items
		out.FileID, err = f.keep(ctx, tx, d.Day, stateRefused)
		return true, err
	}
	held, err := f.compare(ctx, tx)
	if err != nil || held == nil {
		return false, err
	}
	if err := dropStaging(ctx, tx); err != nil {
		return true, err
	}
	out.Held = out.Items
	out.Problems = append(out.Problems, held...)
	return true, d.hold(ctx, tx, f, out)
}

// known looks for the same content: the same bytes, or the same records with
// other line ends and padding.
func (f *arrival) known(ctx context.Context, tx pgx.Tx) (id int64, state string, err error) {
	err = tx.QueryRow(ctx, `select id, state from lockbox_file where sha256 = $1 or canonical = $2 and state <> 'refused'
		order by state = 'refused', id limit 1`, f.sum.SHA256[:], f.sum.CanonicalSHA256[:]).Scan(&id, &state)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, "", nil
	}
	return id, state, err
}

// keep writes the file's row, or writes it anew if the file was refused, held or
// on its way before.
func (f *arrival) keep(ctx context.Context, tx pgx.Tx, day calendar.Date, state string) (id int64, err error) {
	problems, err := json.Marshal(f.sum.Problems)
	if err != nil {
		return 0, err
	}
	if f.sum.Problems == nil {
		problems = []byte("[]")
	}
	err = tx.QueryRow(ctx, `insert into lockbox_file (sha256, canonical, name, profile, ingested_on, items, cents, state, problems) values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		on conflict (sha256) do update set canonical = excluded.canonical, name = excluded.name, profile = excluded.profile,
			ingested_on = case when lockbox_file.state = excluded.state then lockbox_file.ingested_on else excluded.ingested_on end,
			items = excluded.items, cents = excluded.cents, state = excluded.state, problems = excluded.problems
		returning id`,
		f.sum.SHA256[:], f.sum.CanonicalSHA256[:], f.name, f.profile.Name, day, f.sum.Items, int64(f.sum.Cents), state, problems).Scan(&id)
	if err != nil {
		return 0, err
	}
	batch := &pgx.Batch{}
	batch.Queue(`delete from lockbox_batch where file_id = $1 and state = 'held'`, id)
	batch.Queue(`delete from lockbox_deposit where file_id = $1`, id)
	boxes, days := f.deposits()
	batch.Queue(`insert into lockbox_deposit select distinct $1::bigint, u.* from unnest($2::text[], $3::date[]) u(lockbox, deposit_on)`, id, boxes, days)
	return id, tx.SendBatch(ctx, batch).Close()
}

// deposits lists the lockboxes and deposit dates that the file tells of.
func (f *arrival) deposits() (boxes []string, days []calendar.Date) {
	for _, b := range f.sum.Boxes {
		if !b.DepositDate.IsZero() {
			boxes, days = append(boxes, b.Lockbox), append(days, b.DepositDate)
		}
	}
	for _, p := range f.batches {
		if n := len(days); !p.deposit.IsZero() && (n == 0 || boxes[n-1] != p.lockbox || days[n-1] != p.deposit) {
			boxes, days = append(boxes, p.lockbox), append(days, p.deposit)
		}
	}
	return boxes, days
}

// compare holds the batches against those that came before under their keys:
// an identical one that was taken is skipped, one that was refused is replaced,
// and any other difference is returned, for a person. Earlier batches that
// stand in this file too are another round of the bank's numbers.
func (f *arrival) compare(ctx context.Context, tx pgx.Tx) (differ []Problem, err error) {
	earlier, err := f.earlier(ctx, tx)
	if err != nil {
		return nil, err
	}
	here := map[Hash]bool{}
	for _, p := range f.batches {
		here[p.canonical] = true
	}
	var replaced []sighting
	for _, p := range f.batches {
		if p.items == 0 {
			continue
		}
		var refused []sighting
		differs := false
		for _, e := range earlier[p.batchKey] {
			switch {
			case e.canonical == p.canonical && e.state == stateAccepted:
				p.state = stateSkipped
			case e.state == stateRefused:
				refused = append(refused, e)
			case !here[e.canonical]:
				differs = true
			}
		}
		switch {
		case p.state == stateSkipped:
		case len(refused) > 0:
			replaced = append(replaced, refused...)
		case differs && !f.asNew:
			differ = append(differ, Problem{Line: p.line, Record: f.profile.batchRecord(), Field: "batch", Said: orBlank(p.number), Found: "other checks under this number", Batch: p.ordinal,
				Do:      "lockbox take if the batch is a new one (its file and the file's number), lockbox refuse if the bank is mistaken",
				Problem: fmt.Sprintf("%s of lockbox %s, deposit date %s, was taken before with other checks; a person must say whether this is a new batch or a mistake of the bank", p.called(), p.lockbox, p.deposit)})
		}
	}
	if len(differ) > 0 {
		return differ, nil
	}
	f.replaced = replaced
	return nil, nil
}

// replace marks the earlier batches that the file brings anew.
func (f *arrival) replace(ctx context.Context, tx pgx.Tx) error {
	for _, e := range f.replaced {
		if _, err := tx.Exec(ctx, `update lockbox_batch set state = 'replaced' where file_id = $1 and ordinal = $2`, e.file, e.ordinal); err != nil {
			return err
		}
	}
	return nil
}

// sighting is a batch of an earlier file.
type sighting struct {
	file      int64
	ordinal   int
	canonical Hash
	state     string
}

func (f *arrival) earlier(ctx context.Context, tx pgx.Tx) (map[batchKey][]sighting, error) {
	boxes, dates := map[string]bool{}, map[calendar.Date]bool{}
	for _, p := range f.batches {
		boxes[p.lockbox], dates[p.deposit] = true, true
	}
	rows, err := tx.Query(ctx, `select file_id, ordinal, lockbox, number, deposit_on, canonical, state from lockbox_batch
		where lockbox = any($1) and (deposit_on = any($2) or deposit_on is null) and state in ('accepted', 'refused') and items > 0 order by file_id, ordinal`, keys(boxes), keys(dates))
	if err != nil {
		return nil, err
	}
	found := map[batchKey][]sighting{}
	var k batchKey
	var e sighting
	var canonical []byte
	_, err = pgx.ForEachRow(rows, []any{&e.file, &e.ordinal, &k.lockbox, &k.number, &k.deposit, &canonical, &e.state}, func() error {
		e.canonical = Hash(canonical)
		found[k] = append(found[k], e)
		return nil
	})
	return found, err
}

// hold keeps a file for a person, without its checks.
func (d Desk) hold(ctx context.Context, tx pgx.Tx, f *arrival, out *Ingested) error {
	f.sum.Problems = out.Problems
	var err error
	if out.FileID, err = f.keep(ctx, tx, d.Day, stateHeld); err != nil {
		return err
	}
	for _, p := range f.batches {
		p.state = stateHeld
	}
	if err := f.storeBatches(ctx, tx, out.FileID); err != nil {
		return err
	}
	return billing.Raise(ctx, tx, billing.House, billing.Exception{On: d.Day, Job: "lockbox", Code: BatchDiffers, Subject: fileSubject(out.FileID),
		Detail: f.name + ": " + out.Problems[len(out.Problems)-1].Problem})
}

// fileSubject is how an exception names a file.
func fileSubject(id int64) string { return "file " + strconv.FormatInt(id, 10) }

func (f *arrival) storeBatches(ctx context.Context, tx pgx.Tx, file int64) error {
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"lockbox_batch"}, []string{"file_id", "ordinal", "lockbox", "number", "deposit_on", "items", "cents", "said_cents", "canonical", "state"},
		pgx.CopyFromSlice(len(f.batches), func(i int) ([]any, error) {
			p := f.batches[i]
			return []any{file, p.ordinal, p.lockbox, p.number, p.deposit, p.items, int64(p.cents), int64(p.said), p.canonical[:], p.state}, nil
		}))
	return err
}
