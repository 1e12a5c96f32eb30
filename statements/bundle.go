package statements

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/delivery"
	"github.com/billcycle/billcycle/postgres"
)

// Statements for the mail wait in print_queue, in the order in which they are
// bundled: vendor, insert set, sheets in the envelope, ZIP code. A plan cuts the
// queue into bundles, whose names and piece numbers are fixed by it; then each
// is drawn by itself, whoever comes to it first, and the rows of its pieces are
// committed with the hashes of its files. So the same rows give the same bytes
// on any number of workers, and after any kill. A statement that turns out to
// have more sheets than its bundle goes back into the queue, to those of its
// like.

var queueColumns = []string{"vendor", "inserts", "sheets", "zip", "account_id", "cycle", "of_piece"}

// Printer makes bundles.
type Printer struct {
	DB      postgres.DB
	Policy  *billing.Policy
	Day     calendar.Date // the business date
	Outbox  string        // folder of the bundles
	Workers int           // bundles drawn at once
	// Written is called in the transaction that notes a file as written, for
	// whoever carries it on.
	Written func(ctx context.Context, tx pgx.Tx, f PrintFile) error
}

// PrintFile is a file of the print outbox.
type PrintFile struct {
	Name   string
	SHA256 []byte
	Vendor string
	Set    string // what goes together
	Last   bool   // says that the set is whole
}

// Made is what a run of the printer has made.
type Made struct {
	Bundles    int
	Pieces     int
	Pages      int
	Gone       int            // bundles that were out before this run, and carried away
	Suppressed map[string]int // by reason
	Totals     []Totals       // of the cycles it has touched
}

// bundle is a row of print_bundle.
type bundle struct {
	id            int64
	name          string
	madeOn        calendar.Date
	vendor        string
	inserts       string
	sheets        int
	firstPiece    int64
	room          int
	from          []string
	state         string
	renderer      int
	pieces, pages int
	pdf, csv, doc []byte // hashes
}

const bundleColumns = `id, name, made_on, vendor, inserts, sheets, first_piece, room, from_key, state, renderer, pieces, pages, pdf_sha256, csv_sha256, json_sha256`

func scanBundle(row pgx.CollectableRow) (*bundle, error) {
	b := new(bundle)
	err := row.Scan(&b.id, &b.name, &b.madeOn, &b.vendor, &b.inserts, &b.sheets, &b.firstPiece, &b.room, &b.from, &b.state, &b.renderer, &b.pieces, &b.pages, &b.pdf, &b.csv, &b.doc)
	return b, err
}

// Print bundles what waits, and writes what is sealed. It ends when nothing
// waits any more.
func (p Printer) Print(ctx context.Context) (made Made, err error) {
	made.Suppressed = map[string]int{}
	if err := os.MkdirAll(p.Outbox, 0o700); err != nil {
		return made, err
	}
	for {
		rows, err := p.DB.Query(ctx, `select `+bundleColumns+` from print_bundle where state in ('planned', 'sealed') order by id`)
		if err != nil {
			return made, err
		}
		open, err := pgx.CollectRows(rows, scanBundle)
		if err != nil {
			return made, err
		}
		if len(open) == 0 {
			planned, err := p.plan(ctx)
			if err != nil {
				return made, err
			}
			if planned == 0 {
				break
			}
			continue
		}
		if err := p.finish(ctx, open, &made); err != nil {
			return made, err
		}
	}
	made.Totals, err = p.writeTotals(ctx)
	return made, err
}

// plan cuts the queue into bundles and returns how many are planned: those that
// another program has planned meanwhile hold the queue, and are made first. Those
// of a day and vendor are numbered after the last that is there: of those before
// it, some may have come out empty and be gone.
func (p Printer) plan(ctx context.Context) (n int64, err error) {
	err = pgx.BeginFunc(ctx, p.DB, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `lock table print_bundle in share row exclusive mode`); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, `select count(*) from print_bundle where state = 'planned'`).Scan(&n); err != nil || n > 0 {
			return err
		}
		tag, err := tx.Exec(ctx, `with starts as (
				select *, row_number() over (order by vendor, inserts, sheets, zip, account_id, cycle, of_piece) as nth from (
					select *, row_number() over (partition by vendor, inserts, sheets order by zip, account_id, cycle, of_piece) - 1 as n,
						greatest(1, $1 / (2 * sheets)) as most, count(*) over (partition by vendor, inserts, sheets) as of_kind from print_queue) q
				where n % most = 0),
			sized as (select *, least(most, of_kind - n) as room from starts),
			numbered as (select *, sum(room) over (order by nth) - room as before,
				row_number() over (partition by vendor order by nth) + (select coalesce(max(substring(name from '[0-9]+$')::bigint), 0) from print_bundle b where b.made_on = $2 and b.vendor = sized.vendor) as of_day from sized),
			last as (select coalesce(max(id), 0) as id, coalesce(max(first_piece + room), 1) as piece from print_bundle)
			insert into print_bundle (id, name, made_on, vendor, inserts, sheets, first_piece, room, from_key)
			select last.id + nth, 'print-' || to_char($2::date, 'YYYYMMDD') || '-' || vendor || '-' || lpad(of_day::text, greatest(4, length(of_day::text)), '0'), $2, vendor, inserts, sheets, last.piece + before, room,
				array[zip, account_id::text, cycle::text, of_piece::text] from numbered, last`, p.Policy.Print.MaxPagesPerFile, p.Day)
		n = tag.RowsAffected()
		return err
	})
	return n, err
}

// finish makes and writes the open bundles, as many at once as there are
// workers.
func (p Printer) finish(ctx context.Context, open []*bundle, made *Made) error {
	heads, err := readLetterheads(ctx, p.DB)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan *bundle)
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range max(p.Workers, 1) {
		wg.Go(func() {
			renderer := NewRenderer()
			for b := range next {
				d := &drawer{Printer: p, bundle: b, renderer: renderer, heads: heads, suppressed: map[string]int{}}
				err := d.finish(ctx)
				mu.Lock()
				if err != nil {
					cancel(fmt.Errorf("bundle %s: %w", b.name, err))
				} else if d.gone {
					made.Gone++
				} else if b.state == "written" && b.pieces > 0 {
					made.Bundles, made.Pieces, made.Pages = made.Bundles+1, made.Pieces+b.pieces, made.Pages+b.pages
				}
				for reason, n := range d.suppressed {
					made.Suppressed[reason] += n
				}
				mu.Unlock()
			}
		})
	}
	for _, b := range open {
		select {
		case next <- b:
		case <-ctx.Done():
		}
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}

// drawer makes one bundle.
type drawer struct {
	Printer
	*bundle
	renderer   *Renderer
	heads      map[string]*Biller
	suppressed map[string]int

	rows    []Piece
	gone    bool    // its files had their names and were carried away before that was noted
	again   [][]any // statements that go back into the queue
	dropped [][]any // suppressed ones
	taken   []Piece // every row of the queue that was read: account, cycle and Of
}

func (d *drawer) finish(ctx context.Context) error {
	if d.state == "planned" {
		if err := d.seal(ctx); err != nil {
			return err
		}
	}
	if d.state != "sealed" {
		return nil
	}
	return d.write(ctx)
}

// lock takes the bundle's row and says whether it is still in a state. Another
// program may have gone on with it meanwhile, or forgotten it as empty.
func (d *drawer) lock(ctx context.Context, tx pgx.Tx, state string) (bool, error) {
	var now string
	err := tx.QueryRow(ctx, `select state from print_bundle where id = $1 for update`, d.id).Scan(&now)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	return err == nil && now == state, err
}

// seal draws the bundle and lays out its files, and commits its pieces with the
// files' hashes.
func (d *drawer) seal(ctx context.Context) error {
	return pgx.BeginFunc(ctx, d.DB, func(tx pgx.Tx) error {
		if planned, err := d.lock(ctx, tx, "planned"); !planned {
			return err
		}
		rows, err := tx.Query(ctx, `select q.account_id, q.cycle, q.of_piece, q.zip, s.sealed, s.letterhead from (
				select * from print_queue where vendor = $1 and inserts = $2 and sheets = $3 and (zip, account_id, cycle, of_piece) >= ($4, $5, $6, $7)
				and ($9::text[] is null or (zip, account_id, cycle, of_piece) < (($9::text[])[1], ($9::text[])[2]::bigint, ($9::text[])[3]::int, ($9::text[])[4]::bigint))
				order by zip, account_id, cycle, of_piece limit $8) q
			join statement s on s.account_id = q.account_id and s.cycle = q.cycle order by q.zip, q.account_id, q.cycle, q.of_piece`,
			append(d.key(), d.room, d.until(ctx, tx))...)
		if err != nil {
			return err
		}
		if err := d.draw(rows, d.number); err != nil {
			return err
		}
		return d.commit(ctx, tx)
	})
}

// key is where the bundle's range of the queue begins.
func (d *drawer) key() []any {
	account, _ := strconv.ParseInt(d.from[1], 10, 64)
	cycle, _ := strconv.Atoi(d.from[2])
	piece, _ := strconv.ParseInt(d.from[3], 10, 64)
	return []any{d.vendor, d.inserts, d.sheets, d.from[0], account, cycle, piece}
}

// until is where the next bundle of its kind begins, nil for none.
func (d *drawer) until(ctx context.Context, tx pgx.Tx) (key []string) {
	_ = tx.QueryRow(ctx, `select from_key from print_bundle where id = $1 + 1 and made_on = $2 and vendor = $3 and inserts = $4 and sheets = $5`, d.id, d.madeOn, d.vendor, d.inserts, d.sheets).Scan(&key)
	return key
}

// number gives a statement of the queue the next piece's number.
func (d *drawer) number(p *Piece) {
	p.ID = d.firstPiece + int64(len(d.rows))
	p.Place, p.Sheets, p.Tracking = len(d.rows)+1, d.sheets, trackingOf(d.Policy.Print, p.ID)
	d.taken = append(d.taken, *p)
}

// errEmpty says that none of a bundle's statements can be mailed in it.
var errEmpty = errors.New("the bundle is empty")

// draw draws the statements of the rows and lays out the PDF, unless it is empty.
func (d *drawer) draw(rows pgx.Rows, number func(*Piece), more ...any) error {
	defer rows.Close()
	sum, err := d.outgoing(d.name+".pdf", d.pdf).Lay(func(to io.Writer) error { return d.drawTo(to, rows, number, more...) })
	if errors.Is(err, errEmpty) {
		return nil
	}
	d.pdf = sum
	return err
}

// drawTo draws the statements of the rows. Each row is account, cycle, piece
// replaced, ZIP code, sealed statement and letterhead, and what number needs
// beside them.
func (d *drawer) drawTo(to io.Writer, rows pgx.Rows, number func(*Piece), more ...any) error {
	pdf := d.renderer.NewBundle(to, d.name, d.madeOn)
	for rows.Next() {
		var p Piece
		var sealed, head []byte
		if err := rows.Scan(append([]any{&p.Account, &p.Cycle, &p.Of, &p.ZIP, &sealed, &head}, more...)...); err != nil {
			return err
		}
		number(&p)
		if err := d.add(pdf, &p, sealed, d.heads[string(head)]); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if d.pages = pdf.Pages(); d.pages == 0 {
		return errEmpty
	}
	return pdf.Close()
}

// The reasons why a statement that should be mailed is not.
const (
	AddressDoesNotFit    = "address_does_not_fit"
	LettersCannotBeShown = "letters_cannot_be_shown"
	TooManySheets        = "too_many_sheets"
	CannotBeDrawn        = "cannot_be_drawn"
)

func (d *drawer) add(pdf *Bundle, p *Piece, sealed []byte, head *Biller) error {
	sum := sha256.Sum256(sealed)
	p.SHA256 = sum[:]
	var s Statement
	err := unpack(sealed, &s)
	if s.Biller = head; err == nil && head == nil {
		err = errors.New("its letterhead is missing")
	}
	var marks Marks
	if err == nil {
		marks, err = MarksOf(p.ID, p.Tracking, p.ZIP, p.Sheets)
	}
	var at Placed
	if err == nil {
		at, err = pdf.Add(&s, marks)
	}
	var sheets *SheetsError
	var address *AddressError
	var letters *LettersError
	var path *fs.PathError
	switch {
	case err == nil:
		p.FirstPage, p.Pages = at.FirstPage, at.Pages
		d.rows = append(d.rows, *p)
	case errors.As(err, &path):
		return err // the disk's fault
	case errors.As(err, &sheets) && sheets.Sheets <= d.Policy.Print.Of(d.vendor).MaxSheets:
		d.again = append(d.again, []any{d.vendor, d.inserts, sheets.Sheets, p.ZIP, p.Account, int32(p.Cycle), p.Of})
	case errors.As(err, &sheets):
		d.suppress(p, TooManySheets, fmt.Errorf("it has %d sheets, an envelope of %s holds %d", sheets.Sheets, d.vendor, d.Policy.Print.Of(d.vendor).MaxSheets))
	case errors.As(err, &address):
		d.suppress(p, AddressDoesNotFit, err)
	case errors.As(err, &letters):
		d.suppress(p, LettersCannotBeShown, err)
	default:
		d.suppress(p, CannotBeDrawn, err)
	}
	return nil
}

func (d *drawer) suppress(p *Piece, reason string, why error) {
	d.suppressed[reason]++
	if p.Of != 0 {
		return // the statement was mailed once; what can't be mailed is its reprint
	}
	d.dropped = append(d.dropped, []any{p.Account, int32(p.Cycle), reason, d.Day, why.Error()})
}

// commit records what was drawn. A bundle that came out empty is forgotten.
func (d *drawer) commit(ctx context.Context, tx pgx.Tx) error {
	accounts, cycles, of := make([]int64, len(d.taken)), make([]int32, len(d.taken)), make([]int64, len(d.taken))
	zips := make([]string, len(d.taken))
	for i, p := range d.taken {
		accounts[i], cycles[i], of[i], zips[i] = p.Account, int32(p.Cycle), p.Of, p.ZIP
	}
	if _, err := tx.Exec(ctx, `delete from print_queue q using unnest($4::text[], $5::bigint[], $6::int[], $7::bigint[]) u(zip, account_id, cycle, of_piece)
		where q.vendor = $1 and q.inserts = $2 and q.sheets = $3 and q.zip = u.zip and q.account_id = u.account_id and q.cycle = u.cycle and q.of_piece = u.of_piece`,
		d.vendor, d.inserts, d.sheets, zips, accounts, cycles, of); err != nil {
		return err
	}
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{"print_queue"}, queueColumns, pgx.CopyFromRows(d.again)); err != nil {
		return err
	}
	for _, row := range d.dropped { // few, and the reprint of one could be here already
		if _, err := tx.Exec(ctx, `insert into print_suppressed (account_id, cycle, reason, on_date, detail) values ($1, $2, $3, $4, $5) on conflict do nothing`, row...); err != nil {
			return err
		}
	}
	if len(d.rows) == 0 {
		d.state = "empty"
		_, err := tx.Exec(ctx, `delete from print_bundle where id = $1`, d.id)
		return err
	}
	if _, err := tx.CopyFrom(ctx, pgx.Identifier{"print_piece"}, []string{"id", "bundle_id", "place", "account_id", "cycle", "first_page", "pages", "zip", "tracking", "sha256", "of_piece"},
		pgx.CopyFromSlice(len(d.rows), func(i int) ([]any, error) {
			p := &d.rows[i]
			return []any{p.ID, d.id, p.Place, p.Account, int32(p.Cycle), p.FirstPage, p.Pages, p.ZIP, p.Tracking, p.SHA256, p.Of}, nil
		})); err != nil {
		return err
	}
	d.pieces = len(d.rows)
	if err := d.layRest(); err != nil {
		return err
	}
	d.state = "sealed"
	_, err := tx.Exec(ctx, `update print_bundle set state = 'sealed', renderer = $2, pieces = $3, pages = $4, pdf_sha256 = $5, csv_sha256 = $6, json_sha256 = $7 where id = $1`,
		d.id, RendererVersion, d.pieces, d.pages, d.pdf, d.csv, d.doc)
	return err
}

// write gives the sealed files their names, the done-file last, and notes it.
func (d *drawer) write(ctx context.Context) error {
	return pgx.BeginFunc(ctx, d.DB, func(tx pgx.Tx) error {
		if sealed, err := d.lock(ctx, tx, "sealed"); !sealed {
			return err
		}
		out, err := d.nameAll(ctx, tx)
		if err != nil {
			return err
		}
		if d.gone = !out; d.gone {
			if err := billing.Raise(ctx, tx, 0, billing.Exception{On: d.Day, Job: "statements", Code: delivery.Gone, Subject: d.name,
				Detail: "it was whole in the outbox and is not there any more, so it is taken as carried to the vendor, and not made again: ask the vendor; if they do not have it, statements reprint makes its pieces again"}); err != nil {
				return err
			}
		}
		if d.Written != nil {
			for _, f := range append(d.files(), d.doneFile()) {
				if err := d.Written(ctx, tx, f); err != nil {
					return err
				}
			}
		}
		d.state = "written"
		_, err = tx.Exec(ctx, `update print_bundle set state = 'written', written_on = $2 where id = $1`, d.id, d.Day)
		return err
	})
}

// nameAll gives the files their names. They are not out if one is nowhere: the
// vendor takes a bundle as soon as its done-file is there, so that, once that had
// its name, nothing is made again.
func (d *drawer) nameAll(ctx context.Context, tx pgx.Tx) (out bool, err error) {
	done := d.doneFile()
	at, err := d.outgoing(done.Name, done.SHA256).Find()
	if err != nil || at == delivery.Nowhere {
		return false, err
	}
	all := append(d.files(), done)
	if at != delivery.Out && len(d.rows) == 0 { // laid out by another run
		if err := d.mend(ctx, tx, all); err != nil {
			return false, err
		}
	}
	out = true
	for _, f := range all {
		is, err := d.outgoing(f.Name, f.SHA256).GiveName()
		if err != nil {
			return false, err
		}
		out = out && is
	}
	return out, nil
}

// mend lays out again what is missing of a bundle whose done-file never had its
// name.
func (d *drawer) mend(ctx context.Context, tx pgx.Tx, all []PrintFile) error {
	for _, f := range all {
		at, err := d.outgoing(f.Name, f.SHA256).Find()
		if err != nil {
			return err
		}
		if at == delivery.Nowhere || at == delivery.Torn {
			return d.redraw(ctx, tx)
		}
	}
	return nil
}

// outgoing is a file of the printer's as the outbox knows it.
func (p Printer) outgoing(name string, sum []byte) delivery.Outgoing {
	return delivery.Outgoing{Path: filepath.Join(p.Outbox, name), SHA256: sum}
}

// files are the bundle's files but the done-file.
func (b *bundle) files() []PrintFile {
	return []PrintFile{
		{Name: b.name + ".pdf", SHA256: b.pdf, Vendor: b.vendor, Set: b.name},
		{Name: b.name + ".csv", SHA256: b.csv, Vendor: b.vendor, Set: b.name},
		{Name: b.name + ".json", SHA256: b.doc, Vendor: b.vendor, Set: b.name},
	}
}

// redraw lays out the files of a sealed bundle again: the same bytes, or an
// error.
func (d *drawer) redraw(ctx context.Context, tx pgx.Tx) error {
	if d.renderer == nil || d.bundle.renderer != RendererVersion {
		return fmt.Errorf("it was drawn by renderer %d, this program has %d: use the program that made it", d.bundle.renderer, RendererVersion)
	}
	d.rows = nil
	var id int64
	var place int
	var tracking string
	rows, err := tx.Query(ctx, `select p.account_id, p.cycle, p.of_piece, p.zip, s.sealed, s.letterhead, p.id, p.place, p.tracking
		from print_piece p join statement s on s.account_id = p.account_id and s.cycle = p.cycle where p.bundle_id = $1 order by p.place`, d.id)
	if err != nil {
		return err
	}
	if err := d.draw(rows, func(p *Piece) { p.ID, p.Place, p.Tracking, p.Sheets = id, place, tracking, d.sheets }, &id, &place, &tracking); err != nil {
		return err
	}
	return d.layRest()
}
