package lockbox

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/secret"
)

// Desk is where lockbox files come in and where people see to the checks that
// could not be given to anybody. It acts on one business date.
type Desk struct {
	DB       *pgxpool.Pool
	Policy   *billing.Policy
	Keys     *secret.Keys
	Day      calendar.Date
	Operator string    // who acts; "system" is the nightly run
	Profiles []Profile // the biller's own layouts and the built-in ones; nil for the built-in ones
}

// Ingested is what became of a file. The counts of items add up: Items =
// Posted + Pending + Suspense + Held + Refused.
type Ingested struct {
	FileID    int64        `json:"file_id"`
	Profile   string       `json:"profile"`
	Duplicate bool         `json:"duplicate"` // its content was here before: nothing was done
	Accepted  bool         `json:"accepted"`  // something of it was taken, or there was nothing in it to take
	Items     int          `json:"items"`     // checks, as read
	Cents     ledger.Cents `json:"cents"`     // their sum, as read
	Posted    int          `json:"posted"`    // whose posting date had come
	Pending   int          `json:"pending"`
	Suspense  int          `json:"suspense"` // nobody known
	Held      int          `json:"held"`     // for a person to decide
	Refused   int          `json:"refused"`  // not taken: with their batch, with the file, or because they were here before
	// Skipped says how many of the refused are in batches that were taken before
	// and are identical: nothing is left to do about them.
	Skipped        int       `json:"skipped"`
	SkippedBatches int       `json:"skipped_batches"`
	RefusedBatches int       `json:"refused_batches"` // whose total is not their checks'
	Problems       []Problem `json:"problems"`        // never null
}

// Waiting says how many checks were left for a person.
func (in Ingested) Waiting() int { return in.Suspense + in.Held + in.Refused - in.Skipped }

// ErrRefused is in the chain of the error for a file of which nothing was
// taken; the Ingested returned beside it says why.
var ErrRefused = errors.New("the file was refused and nothing was changed")

// The states of a file and of a batch.
const (
	stateAccepted = "accepted"
	stateRefused  = "refused"
	stateHeld     = "held"     // differs from what was taken before: a person decides
	stateSkipped  = "skipped"  // a batch that was taken before
	stateReplaced = "replaced" // a refused batch that came again
)

// ingestLock lets one file in at a time: what was here before must not change
// while a file is held against it.
const ingestLock = 0x6c_6f_63_6b

// Ingest takes a lockbox file in: all of it in one transaction, so that a crash
// leaves nothing and the same call may be made again. The content is read
// twice, the second time batch by batch, and never held whole. Without a
// profile it is recognized.
//
// A file that is known already is answered with Duplicate and changes nothing.
// A file that must not be taken is kept as refused or held, with its problems,
// and none of its checks; refused comes with ErrRefused.
func (d Desk) Ingest(ctx context.Context, name string, content io.ReadSeeker, profile Profile) (Ingested, error) {
	f, err := d.inspect(name, content, profile)
	if err != nil {
		return Ingested{Problems: []Problem{}}, err
	}
	return d.take(ctx, f, content)
}

// arrival is a file as it was inspected, before anything is stored.
type arrival struct {
	name    string
	profile Profile
	sum     Summary
	batches []*parcel
	asNew   bool   // a person says that batches which differ are new ones,
	reason  string // for this reason
}

// parcel is a batch of an arrival: what has to be known of it to decide whether
// it is taken.
type parcel struct {
	batchKey
	ordinal   int
	items     int
	cents     ledger.Cents
	said      ledger.Cents
	canonical Hash
	state     string
}

// batchKey is how a batch is known again. Numbers restart, so two batches may
// have one key.
type batchKey struct {
	lockbox, number string
	deposit         calendar.Date
}

// inspect reads the file once and decides what can be told without the
// database. A box with a profile of its own in the policy is read by that.
func (d Desk) inspect(name string, content io.ReadSeeker, profile Profile) (*arrival, error) {
	f := &arrival{name: name, profile: profile}
	if profile.Name == "" {
		p, err := Recognize(content, d.profiles())
		if unknown := (*FormatError)(nil); errors.As(err, &unknown) {
			f.sum = Summary{Format: unknown.Format, Problems: []Problem{unknown.Problem()}}
			f.sum.SHA256, err = hashOf(content)
			f.sum.CanonicalSHA256 = f.sum.SHA256
			return f, err
		}
		if err != nil {
			return nil, err
		}
		f.profile = p
	}
	if err := f.read(content); err != nil {
		return nil, err
	}
	if own := d.profileOfBoxes(f.sum.Boxes); profile.Name == "" && own != "" && own != f.profile.Name {
		p, err := ProfileNamed(d.profiles(), own)
		if err != nil {
			return nil, fmt.Errorf("policy, lockboxes: %w", err)
		}
		f.profile = p
		if err := f.read(content); err != nil {
			return nil, err
		}
	}
	f.sum.Problems = append(f.sum.Problems, d.notOurs(f.sum)...)
	return f, nil
}

func (d Desk) profiles() []Profile {
	if d.Profiles != nil {
		return d.Profiles
	}
	return Profiles()
}

func hashOf(content io.ReadSeeker) (Hash, error) {
	if _, err := content.Seek(0, io.SeekStart); err != nil {
		return Hash{}, fmt.Errorf("lockbox file: %w", err)
	}
	h := sha256.New()
	if _, err := io.Copy(h, content); err != nil {
		return Hash{}, fmt.Errorf("lockbox file: %w", err)
	}
	return Hash(h.Sum(nil)), nil
}

func (f *arrival) read(content io.ReadSeeker) error {
	if _, err := content.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("lockbox file: %w", err)
	}
	f.batches = nil
	var err error
	f.sum, err = Read(content, f.profile, func(b Batch) error {
		p := &parcel{batchKey: batchKey{b.Lockbox, b.Number, b.DepositDate}, ordinal: b.Ordinal, items: len(b.Items),
			cents: b.Cents, said: b.Cents, canonical: b.CanonicalSHA256, state: stateAccepted}
		if b.Said != nil {
			p.said = b.Said.Cents
		}
		if b.Refused {
			p.state = stateRefused
		}
		f.batches = append(f.batches, p)
		return nil
	})
	return err
}

// profileOfBoxes returns the profile that the policy gives to the boxes of a
// file, "" if it gives none or several.
func (d Desk) profileOfBoxes(boxes []Box) string {
	name := ""
	for _, box := range boxes {
		for _, ours := range d.Policy.Lockboxes {
			if sameNumber(ours.Lockbox, box.Lockbox) && ours.Profile != "" {
				if name != "" && name != ours.Profile {
					return ""
				}
				name = ours.Profile
			}
		}
	}
	return name
}

// notOurs says which lockboxes of a file are somebody else's. A biller that
// lists no boxes takes any.
func (d Desk) notOurs(sum Summary) (problems []Problem) {
	if len(d.Policy.Lockboxes) == 0 {
		return nil
	}
	told := map[string]bool{}
	for _, box := range sum.Boxes {
		i := slices.IndexFunc(d.Policy.Lockboxes, func(l billing.LockboxAccount) bool { return sameNumber(l.Lockbox, box.Lockbox) })
		p := Problem{Line: 1, Refuses: RefusesFile}
		switch {
		case i < 0:
			p.Record, p.Field, p.Said = "5", "lockbox", box.Lockbox
			p.Problem = "this lockbox is not one of ours (policy key lockboxes): the file is another company's, or the box must be added there"
		case d.Policy.Lockboxes[i].Routing != "" && !sameNumber(d.Policy.Lockboxes[i].Routing, sum.Origin) && !sameNumber(d.Policy.Lockboxes[i].Routing, sum.Destination):
			p.Record, p.Field, p.Said, p.Found = "1", "origin", sum.Origin, d.Policy.Lockboxes[i].Routing
			p.Problem = "the file comes from another bank than the one the policy names for lockbox " + box.Lockbox
		default:
			continue
		}
		if !told[p.Said] {
			told[p.Said] = true
			problems = append(problems, p)
		}
	}
	return problems
}

// sameNumber compares numbers that one side fills with zeros.
func sameNumber(a, b string) bool {
	return strings.TrimLeft(a, "0") == strings.TrimLeft(b, "0")
}

// refused says whether nothing of the file may be taken.
func (f *arrival) refused() bool {
	return f.sum.Refused() || slices.ContainsFunc(f.sum.Problems, func(p Problem) bool { return p.Refuses == RefusesFile })
}

// take stores an inspected file.
func (d Desk) take(ctx context.Context, f *arrival, content io.ReadSeeker) (Ingested, error) {
	out := Ingested{Profile: f.profile.Name, Items: f.sum.Items, Cents: f.sum.Cents, RefusedBatches: f.sum.RefusedBatches, Problems: f.sum.Problems}
	if out.Problems == nil {
		out.Problems = []Problem{}
	}
	err := pgx.BeginFunc(ctx, d.DB, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock($1)`, ingestLock); err != nil {
			return err
		}
		known, state, err := f.known(ctx, tx)
		switch {
		case err != nil:
			return err
		case known != 0 && (state == stateAccepted || state == stateHeld && !f.asNew):
			out.FileID, out.Duplicate = known, true
			out.Refused, out.Skipped = out.Items, out.Items
			return nil
		case f.refused():
			out.Refused = out.Items
			out.FileID, err = f.store(ctx, tx, d.Day, stateRefused)
			return err
		}
		if held, err := f.compare(ctx, tx); err != nil || held != nil {
			out.Held = out.Items
			out.Problems = append(out.Problems, held...)
			return errors.Join(err, d.hold(ctx, tx, f, &out))
		}
		if err := d.takeBatches(ctx, tx, f, content, &out); err != nil || !f.asNew {
			return err
		}
		return d.endWait(ctx, tx, out.FileID, "lockbox take", f.reason)
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

// store writes the file's row, or writes it anew if the file was refused or
// held before.
func (f *arrival) store(ctx context.Context, tx pgx.Tx, day calendar.Date, state string) (id int64, err error) {
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
			differ = append(differ, Problem{Record: "7", Field: "batch", Said: p.number, Batch: p.ordinal,
				Problem: fmt.Sprintf("batch %s of lockbox %s, deposit date %s, was taken before with other checks; a person must say whether this is a new batch or a mistake of the bank", p.number, p.lockbox, p.deposit)})
		}
	}
	if len(differ) > 0 {
		return differ, nil
	}
	for _, e := range replaced {
		if _, err := tx.Exec(ctx, `update lockbox_batch set state = 'replaced' where file_id = $1 and ordinal = $2`, e.file, e.ordinal); err != nil {
			return nil, err
		}
	}
	return nil, nil
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
	if out.FileID, err = f.store(ctx, tx, d.Day, stateHeld); err != nil {
		return err
	}
	for _, p := range f.batches {
		p.state = stateHeld
	}
	if err := f.storeBatches(ctx, tx, out.FileID); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `insert into exception (account_id, on_date, job, code, subject, detail) values ($1, $2, 'lockbox', $3, $4, $5)
		on conflict (account_id, job, code, subject, on_date) do update set detail = excluded.detail, cleared_on = null`,
		billing.House, d.Day, BatchDiffers, fileSubject(out.FileID), f.name+": "+out.Problems[len(out.Problems)-1].Problem)
	return err
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
