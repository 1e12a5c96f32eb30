package statements

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/delivery"
	"github.com/billcycle/billcycle/postgres"
)

// MakePaperless returns the paperless statements of a key range that it has not
// returned before: their members are still to be sent word. It draws and keeps
// them and records their hashes, but for those that somebody has asked for.
// A printed member's PDF is drawn when it is first asked for.
func MakePaperless(ctx context.Context, tx pgx.Tx, keep delivery.Store, in billing.Range) (made []billing.BillRef, err error) {
	heads, err := readLetterheads(ctx, tx)
	if err != nil {
		return nil, err
	}
	rows, err := tx.Query(ctx, `select account_id, cycle, sealed, letterhead, sha256 is not null from statement where not made and delivery = 'paperless' and account_id >= $1 and account_id < $2 order by account_id, cycle`, in.From, in.To)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var accounts []int64
	var cycles []int32
	var hashes [][]byte
	renderer := NewRenderer()
	for rows.Next() {
		var id int64
		var cycle calendar.Cycle
		var sealed, head, sum []byte
		var drawn bool
		if err := rows.Scan(&id, &cycle, &sealed, &head, &drawn); err != nil {
			return nil, err
		}
		if !drawn {
			if sum, err = drawAndKeep(ctx, renderer, sealed, heads[string(head)], keep); err != nil {
				return nil, fmt.Errorf("account %d, cycle %s: %w", id, cycle, err)
			}
		}
		accounts, cycles, hashes = append(accounts, id), append(cycles, int32(cycle)), append(hashes, sum)
		made = append(made, billing.BillRef{AccountID: id, Cycle: cycle})
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	_, err = tx.Exec(ctx, `update statement s set made = true, sha256 = coalesce(s.sha256, u.sha256) from unnest($1::bigint[], $2::int[], $3::bytea[]) u(id, cycle, sha256) where s.account_id = u.id and s.cycle = u.cycle`, accounts, cycles, hashes)
	return made, err
}

// drawAndKeep draws a statement, keeps its PDF and returns the hash of it.
func drawAndKeep(ctx context.Context, r *Renderer, sealed []byte, head *Biller, keep delivery.Store) ([]byte, error) {
	pdf, err := draw(r, sealed, head, false)
	if err != nil {
		return nil, err
	}
	sum, err := keep.Put(ctx, pdf)
	return sum[:], err
}

func draw(r *Renderer, sealed []byte, head *Biller, tagged bool) ([]byte, error) {
	var s Statement
	if err := unpack(sealed, &s); err != nil {
		return nil, err
	}
	if s.Biller = head; head == nil {
		return nil, errors.New("its letterhead is missing")
	}
	s.Accessible = s.Accessible || tagged
	return r.Render(s)
}

// ErrNone says that there is no such statement.
var ErrNone = errors.New("no such statement")

// Stored is a statement given back.
type Stored struct {
	Number int64
	PDF    []byte
	SHA256 [32]byte
}

// Get gives back an account's statement of a cut day (0 = the newest): the PDF
// that is kept, byte for byte. Where none was made yet, or what is kept was
// lost, it is drawn from what was sealed and kept from then on; drawn again it
// must have the hash that was recorded. Tagged asks for a PDF that programs can
// read aloud, whatever the member prefers; it is kept beside the other.
func Get(ctx context.Context, db postgres.DB, keep delivery.Store, account int64, cutOn calendar.Date, tagged bool) (out Stored, err error) {
	column := "sha256"
	if tagged {
		column = "accessible"
	}
	var cycle calendar.Cycle
	var sealed, head, recorded []byte
	var version int
	err = db.QueryRow(ctx, `select s.cycle, s.renderer, s.sealed, s.letterhead, s.`+column+` from statement s join bill b on b.account_id = s.account_id and b.cycle = s.cycle
		where s.account_id = $1 and ($2::date is null or b.cut_on = $2) order by s.cycle desc limit 1`, account, cutOn).Scan(&cycle, &version, &sealed, &head, &recorded)
	if errors.Is(err, pgx.ErrNoRows) {
		return out, ErrNone
	}
	if err != nil {
		return out, err
	}
	out.Number = billing.StatementNumber(account, cycle)
	if recorded != nil {
		out.SHA256 = [sha256.Size]byte(recorded)
		if out.PDF, err = keep.Get(ctx, out.SHA256); !errors.Is(err, delivery.ErrNotKept) {
			return out, err
		}
	}
	if version != RendererVersion {
		return out, fmt.Errorf("statement %010d was sealed for renderer %d, and its PDF is not kept; this program has renderer %d: draw it with the program of then", out.Number, version, RendererVersion)
	}
	heads, err := readLetterheads(ctx, db)
	if err != nil {
		return out, err
	}
	if out.PDF, err = draw(NewRenderer(), sealed, heads[string(head)], tagged); err != nil {
		return out, err
	}
	out.SHA256 = sha256.Sum256(out.PDF)
	if recorded != nil && string(recorded) != string(out.SHA256[:]) {
		return out, fmt.Errorf("statement %010d was made by renderer %d with hash %x; drawn again it has %x", out.Number, version, recorded, out.SHA256)
	}
	if _, err := keep.Put(ctx, out.PDF); err != nil {
		return out, err
	}
	_, err = db.Exec(ctx, `update statement set `+column+` = $3 where account_id = $1 and cycle = $2 and `+column+` is null`, account, int32(cycle), out.SHA256[:])
	return out, err
}
