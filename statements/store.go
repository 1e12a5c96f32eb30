package statements

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/postgres"
)

// Make draws the sealed statements of a key range that have no PDF yet, writes
// them below dir and records their hashes. The files can always be made again
// from the sealed data, so they are not synced one by one.
func Make(ctx context.Context, tx pgx.Tx, dir string, in billing.Range) (billing.Tally, error) {
	var t billing.Tally
	heads, err := readLetterheads(ctx, tx)
	if err != nil {
		return t, err
	}
	rows, err := tx.Query(ctx, `select account_id, cycle, sealed, letterhead from statement where sha256 is null and account_id >= $1 and account_id < $2 order by account_id, cycle`, in.From, in.To)
	if err != nil {
		return t, err
	}
	defer rows.Close()
	var accounts []int64
	var cycles []int32
	var hashes [][]byte
	renderer := NewRenderer()
	for rows.Next() {
		var id int64
		var cycle calendar.Cycle
		var sealed, head []byte
		if err := rows.Scan(&id, &cycle, &sealed, &head); err != nil {
			return t, err
		}
		pdf, err := draw(renderer, sealed, heads[string(head)])
		if err != nil {
			return t, fmt.Errorf("account %d, cycle %s: %w", id, cycle, err)
		}
		if err := write(filepath.Join(dir, Path(id, cycle)), pdf); err != nil {
			return t, err
		}
		sum := sha256.Sum256(pdf)
		accounts, cycles, hashes = append(accounts, id), append(cycles, int32(cycle)), append(hashes, sum[:])
		t.Did(1, 0)
	}
	if err := rows.Err(); err != nil {
		return t, err
	}
	_, err = tx.Exec(ctx, `update statement s set sha256 = u.sha256 from unnest($1::bigint[], $2::int[], $3::bytea[]) u(id, cycle, sha256) where s.account_id = u.id and s.cycle = u.cycle`, accounts, cycles, hashes)
	return t, err
}

func draw(r *Renderer, sealed []byte, head *Biller) ([]byte, error) {
	var s Statement
	if err := unpack(sealed, &s); err != nil {
		return nil, err
	}
	if s.Biller = head; head == nil {
		return nil, errors.New("its letterhead is missing")
	}
	return r.Render(s)
}

// Path is where a statement's PDF lies below the biller's statements folder:
// by month, a thousand accounts to a folder.
func Path(account int64, cycle calendar.Cycle) string {
	return filepath.Join(cycle.String(), fmt.Sprintf("%05d", account/1000), fmt.Sprintf("%010d.pdf", billing.StatementNumber(account, cycle)))
}

func write(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(path+".part", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".part", path)
}

// ErrNone says that there is no such statement.
var ErrNone = errors.New("no such statement")

// Stored is a statement given back.
type Stored struct {
	Number int64
	PDF    []byte
	SHA256 [32]byte
}

// Get gives back an account's statement of a cut day (0 = the newest), byte
// for byte the one that was made.
func Get(ctx context.Context, db postgres.DB, account int64, cutOn calendar.Date) (Stored, error) {
	var cycle calendar.Cycle
	var sealed, head, recorded []byte
	var version int
	err := db.QueryRow(ctx, `select s.cycle, s.renderer, s.sealed, s.letterhead, s.sha256 from statement s join bill b on b.account_id = s.account_id and b.cycle = s.cycle
		where s.account_id = $1 and ($2::date is null or b.cut_on = $2) order by s.cycle desc limit 1`, account, cutOn).Scan(&cycle, &version, &sealed, &head, &recorded)
	if errors.Is(err, pgx.ErrNoRows) {
		return Stored{}, ErrNone
	}
	if err != nil {
		return Stored{}, err
	}
	heads, err := readLetterheads(ctx, db)
	if err != nil {
		return Stored{}, err
	}
	pdf, err := draw(NewRenderer(), sealed, heads[string(head)])
	if err != nil {
		return Stored{}, err
	}
	out := Stored{billing.StatementNumber(account, cycle), pdf, sha256.Sum256(pdf)}
	if recorded != nil && string(recorded) != string(out.SHA256[:]) {
		return out, fmt.Errorf("statement %010d was made by renderer %d with hash %x; drawn again it has %x", out.Number, version, recorded, out.SHA256)
	}
	return out, nil
}
