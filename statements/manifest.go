package statements

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
)

// manifestLine is a piece as the vendor's manifest has it.
type manifestLine struct {
	Piece     string `json:"piece"` // as the mark of each sheet begins
	Place     int    `json:"place"`
	Statement string `json:"statement"`
	FirstPage int    `json:"first_page"`
	Pages     int    `json:"pages"`
	Sheets    int    `json:"sheets"`
	ZIP       string `json:"zip"`
	IMb       string `json:"imb"`      // its digits: tracking and routing
	Replaces  string `json:"replaces"` // the piece that this one is printed in place of
	SHA256    string `json:"sha256"`   // of the statement's sealed data
}

var manifestHead = []string{"piece", "place", "statement", "first_page", "pages", "sheets", "zip", "imb", "replaces", "sha256"}

func pieceNumber(id int64) string {
	if id == 0 {
		return ""
	}
	return fmt.Sprintf("%012d", id)
}

func lineOf(p *Piece) manifestLine {
	l := manifestLine{Piece: pieceNumber(p.ID), Place: p.Place, Statement: fmt.Sprintf("%010d", billing.StatementNumber(p.Account, p.Cycle)),
		FirstPage: p.FirstPage, Pages: p.Pages, Sheets: p.Sheets, ZIP: p.ZIP, Replaces: pieceNumber(p.Of), SHA256: hex.EncodeToString(p.SHA256)}
	if p.Tracking != "" {
		l.IMb = p.Tracking + p.ZIP
	}
	return l
}

func (l manifestLine) row() []string {
	n := strconv.Itoa
	return []string{l.Piece, n(l.Place), l.Statement, n(l.FirstPage), n(l.Pages), n(l.Sheets), l.ZIP, l.IMb, l.Replaces, l.SHA256}
}

// manifest is the JSON form: the bundle, its control totals and every piece.
type manifest struct {
	Bundle   string         `json:"bundle"`
	MadeOn   calendar.Date  `json:"made_on"`
	Vendor   string         `json:"vendor"`
	Inserts  string         `json:"inserts"`
	Sheets   int            `json:"sheets_per_envelope"`
	Duplex   bool           `json:"duplex"`
	Pieces   int            `json:"pieces"`
	Pages    int            `json:"pages"`
	AllIn    int            `json:"sheets"`
	PDF      string         `json:"pdf"`
	PDFHash  string         `json:"pdf_sha256"`
	Manifest []manifestLine `json:"manifest"`
}

// layRest lays out the bundle's two manifests, and the file that says that it is
// whole.
func (d *drawer) layRest() error {
	m := manifest{Bundle: d.name, MadeOn: d.madeOn, Vendor: d.vendor, Inserts: d.inserts, Sheets: d.sheets, Duplex: true, Pieces: len(d.rows), Pages: d.pages,
		AllIn: d.sheets * len(d.rows), PDF: d.name + ".pdf", PDFHash: hex.EncodeToString(d.pdf), Manifest: make([]manifestLine, len(d.rows))}
	var table bytes.Buffer
	w := csv.NewWriter(&table)
	w.Write(manifestHead)
	for i := range d.rows {
		m.Manifest[i] = lineOf(&d.rows[i])
		w.Write(m.Manifest[i].row())
	}
	w.Flush()
	text, err := json.MarshalIndent(m, "", " ")
	if err := errors.Join(err, w.Error()); err != nil {
		return err
	}
	if d.csv, err = d.outgoing(d.name+".csv", d.csv).Lay(content(table.Bytes())); err != nil {
		return err
	}
	if d.doc, err = d.outgoing(d.name+".json", d.doc).Lay(content(append(text, '\n'))); err != nil {
		return err
	}
	done := d.doneFile()
	_, err = d.outgoing(done.Name, done.SHA256).Lay(content(d.doneText()))
	return err
}

// content writes bytes that are there already.
func content(text []byte) func(io.Writer) error {
	return func(to io.Writer) error {
		_, err := to.Write(text)
		return err
	}
}

// doneText is what the done-file says: the names and hashes of the others.
func (b *bundle) doneText() []byte {
	var text bytes.Buffer
	for _, f := range b.files() {
		fmt.Fprintf(&text, "%x  %s\n", f.SHA256, f.Name)
	}
	return text.Bytes()
}

// doneFile is the file that appears last.
func (b *bundle) doneFile() PrintFile {
	sum := sha256.Sum256(b.doneText())
	return PrintFile{Name: b.name + ".done", SHA256: sum[:], Vendor: b.vendor, Set: b.name, Last: true}
}

// Totals are the control totals of a cycle: every statement made is printed,
// paperless or suppressed for a reason.
type Totals struct {
	Cycle      calendar.Cycle `json:"-"`
	Month      string         `json:"cycle"` // YYYY-MM
	Made       int            `json:"made"`
	Printed    int            `json:"printed"`
	Paperless  int            `json:"paperless"`
	Suppressed map[string]int `json:"suppressed"`
	Waiting    int            `json:"waiting"`  // sealed while the bundles were made
	Reprints   int            `json:"reprints"` // pieces made in place of others
}

// Hold says whether the totals add up.
func (t Totals) Hold() bool {
	sum := t.Printed + t.Paperless + t.Waiting
	for _, n := range t.Suppressed {
		sum += n
	}
	return sum == t.Made
}

// ControlTotals counts the statements of some cycles.
func ControlTotals(ctx context.Context, tx pgx.Tx, cycles []calendar.Cycle) ([]Totals, error) {
	list := make([]int32, len(cycles))
	for i, c := range cycles {
		list[i] = int32(c)
	}
	rows, err := tx.Query(ctx, `select c.cycle,
			(select count(*) from statement s where s.cycle = c.cycle),
			(select count(*) from print_piece p where p.cycle = c.cycle and p.of_piece = 0),
			(select count(*) from statement s where s.cycle = c.cycle and s.delivery = 'paperless'),
			(select coalesce(jsonb_object_agg(reason, n), '{}') from (select reason, count(*) as n from print_suppressed x where x.cycle = c.cycle group by reason) r),
			(select count(*) from print_queue q where q.cycle = c.cycle and q.of_piece = 0),
			(select count(*) from print_piece p where p.cycle = c.cycle and p.of_piece <> 0)
		from unnest($1::int[]) c(cycle) order by c.cycle`, list)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (t Totals, err error) {
		err = row.Scan(&t.Cycle, &t.Made, &t.Printed, &t.Paperless, &t.Suppressed, &t.Waiting, &t.Reprints)
		t.Month = t.Cycle.String()
		return t, err
	})
}

// writeTotals writes the control totals of the cycles that new bundles belong
// to, one file a vendor and run, and notes on the bundles that it counts them.
func (p Printer) writeTotals(ctx context.Context) (all []Totals, err error) {
	err = pgx.BeginFunc(ctx, p.DB, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `with fresh as (select id, vendor, name from print_bundle where totals = '' and state <> 'planned' order by id for update)
			select vendor, array_agg(name order by id) from fresh group by vendor order by vendor`) // a bundle is counted once, whoever else is about to
		if err != nil {
			return err
		}
		names := map[string][]string{}
		var vendors []string
		var vendor string
		var bundles []string
		if _, err := pgx.ForEachRow(rows, []any{&vendor, &bundles}, func() error {
			vendors, names[vendor] = append(vendors, vendor), append([]string{}, bundles...)
			return nil
		}); err != nil || len(vendors) == 0 {
			return err
		}
		cyclesOf, err := tx.Query(ctx, `select distinct cycle from print_piece where bundle_id in (select id from print_bundle where totals = '' and state <> 'planned') order by cycle`)
		if err != nil {
			return err
		}
		cycles, err := pgx.CollectRows(cyclesOf, pgx.RowTo[calendar.Cycle])
		if err != nil {
			return err
		}
		if all, err = ControlTotals(ctx, tx, cycles); err != nil {
			return err
		}
		for _, t := range all {
			if !t.Hold() {
				return fmt.Errorf("control totals of %s: %d statements were made, but %d printed, %d paperless and %v suppressed do not add up to that", t.Cycle, t.Made, t.Printed, t.Paperless, t.Suppressed)
			}
		}
		for _, vendor := range vendors {
			if err := p.writeVendorTotals(ctx, tx, vendor, names[vendor], all); err != nil {
				return err
			}
		}
		return nil
	})
	return all, err
}

func (p Printer) writeVendorTotals(ctx context.Context, tx pgx.Tx, vendor string, bundles []string, totals []Totals) error {
	name := bundles[0] + "-totals.json" // of the first that it counts: a run has one
	text, err := json.MarshalIndent(struct {
		MadeOn  calendar.Date `json:"made_on"`
		Vendor  string        `json:"vendor"`
		Bundles []string      `json:"bundles"`
		Totals  []Totals      `json:"totals"` // made = printed + paperless + suppressed
	}{p.Day, vendor, bundles, totals}, "", " ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	sum := sha256.Sum256(text)
	f := PrintFile{Name: name, SHA256: sum[:], Vendor: vendor}
	if err := os.Remove(filepath.Join(p.Outbox, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err // of a run that was killed before it could note it
	}
	out := p.outgoing(f.Name, f.SHA256)
	if _, err := out.Lay(content(text)); err != nil {
		return err
	}
	if _, err := out.GiveName(); err != nil {
		return err
	}
	if p.Written != nil {
		if err := p.Written(ctx, tx, f); err != nil {
			return err
		}
	}
	_, err = tx.Exec(ctx, `update print_bundle set totals = $2 where name = any($1)`, bundles, name)
	return err
}
