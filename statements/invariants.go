package statements

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/delivery"
	"github.com/billcycle/billcycle/ledger"
)

// Invariants are what must always hold of statements and their mail.
var Invariants = []ledger.Invariant{
	{Name: "statements_mailed_once", Says: "each statement is printed once, or waits for it, or is suppressed for a reason, or is paperless", SQL: `
		select s.account_id, s.cycle, s.delivery, p.n as printed, q.n as waiting, x.n as suppressed from statement s
		left join lateral (select count(*) as n from print_piece where account_id = s.account_id and cycle = s.cycle and of_piece = 0) p on true
		left join lateral (select count(*) as n from print_queue where account_id = s.account_id and cycle = s.cycle and of_piece = 0) q on true
		left join lateral (select count(*) as n from print_suppressed where account_id = s.account_id and cycle = s.cycle) x on true
		where p.n + q.n + x.n <> case when s.delivery = 'paperless' then 0 else 1 end`},
	{Name: "bundles_add_up", Says: "a bundle's pieces and pages are those of its rows, one after the other", SQL: `
		select b.name, b.pieces, b.pages, count(p.id) as rows, sum(p.pages) as row_pages from print_bundle b left join print_piece p on p.bundle_id = b.id
		where b.state <> 'planned' group by b.id
		having b.pieces <> count(p.id) or b.pages <> coalesce(sum(p.pages), 0) or min(p.place) <> 1 or max(p.place) <> b.pieces
			or bool_or(p.id <> b.first_piece + p.place - 1 or p.place > b.room or p.pages <> 2 * b.sheets or p.first_page <> 1 + 2 * b.sheets * (p.place - 1))`},
	{Name: "pieces_of_statements", Says: "every piece is a sealed statement's, and a reprint shows the same statement as what it replaces", SQL: `
		select p.id, p.account_id, p.cycle, p.of_piece from print_piece p
		left join statement s on s.account_id = p.account_id and s.cycle = p.cycle left join print_piece o on o.id = p.of_piece
		where s.sealed is null or sha256(s.sealed) <> p.sha256 or p.of_piece <> 0 and (o.account_id, o.cycle) is distinct from (p.account_id, p.cycle)`},
	{Name: "piece_numbers_unique", Says: "no two bundles share numbers of pieces", SQL: `
		select a.name, b.name as other from print_bundle a join print_bundle b on b.id > a.id and a.first_piece < b.first_piece + b.room and b.first_piece < a.first_piece + a.room`},
}

// AlteredBundles holds the bundles that lie in a folder against their hashes
// and names those that differ. One that is not there is no fault: it was
// carried on.
func AlteredBundles(ctx context.Context, tx pgx.Tx, dir string) (names []string, err error) {
	rows, err := tx.Query(ctx, `select `+bundleColumns+` from print_bundle where state <> 'planned' order by id`)
	if err != nil {
		return nil, err
	}
	bundles, err := pgx.CollectRows(rows, scanBundle)
	if err != nil {
		return nil, err
	}
	for _, b := range bundles {
		for _, f := range b.files() {
			sum, err := delivery.HashOf(filepath.Join(dir, f.Name))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return names, err
			}
			if !bytes.Equal(sum, f.SHA256) {
				names = append(names, f.Name)
			}
		}
	}
	return names, nil
}
