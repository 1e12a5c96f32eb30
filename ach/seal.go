package ach

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/klauspost/compress/s2"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/secret"
)

// modifiers tell apart the files of one day, in the order they are used.
const modifiers = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// sealedAt is the hour that every file says it was made at. A file's bytes
// follow from the rows it is made of alone, so no clock may enter them.
const sealedAt = 18

// partContext is what a part of a file's bytes is sealed for.
func partContext(name string, part int) string { return fmt.Sprintf("ach_file/%s/%d", name, part) }

// Seal makes the bytes of every file that Select has opened and whose day has
// not come, once, from the rows alone, and stores them encrypted with their
// hash: one row for the file and one for each megabyte of it, none for a debit.
// Nothing has left the house. A debit that cannot be sent is withdrawn and put
// before a person (exception unusable_method or no_authorization); the others
// go out. Called again, it finds nothing left to do. It returns the files it
// made. Those made before are mended first.
func (o Office) Seal(ctx context.Context) (files []FileInfo, err error) {
	if err := o.Mend(ctx); err != nil {
		return nil, err
	}
	rows, err := o.DB.Query(ctx, `select id from ach_file where state = 'open' and effective_on > $1 order by id`, o.Day)
	if err != nil {
		return nil, err
	}
	open, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, err
	}
	for _, id := range open {
		var made FileInfo
		err := pgx.BeginFunc(ctx, o.DB, func(tx pgx.Tx) error {
			if err := lockFiles(ctx, tx); err != nil {
				return err
			}
			made, err = o.sealFile(ctx, tx, id)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("sealing the debits of %s: %w", o.Day, err)
		}
		if made.State == FileSealed {
			files = append(files, made)
		}
	}
	return files, nil
}

// lockFiles lets one program at a time fill and seal files. Locks are taken in
// the order files, accounts, traces everywhere, so that nobody waits in a ring.
func lockFiles(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `lock table ach_file in share row exclusive mode`)
	return err
}

// sealFile makes the bytes of an open file. What it returns is not sealed if
// another program was faster, or if nothing of it could be sent.
func (o Office) sealFile(ctx context.Context, tx pgx.Tx, id int64) (FileInfo, error) {
	info, err := fileForUpdate(ctx, tx, id)
	if err != nil || info.State != fileOpen {
		return FileInfo{}, err
	}
	if err := o.name(ctx, tx, &info); err != nil {
		return info, err
	}
	return o.fill(ctx, tx, info, false)
}

// name gives a file the name and modifier of the day that it is sealed on.
func (o Office) name(ctx context.Context, tx pgx.Tx, info *FileInfo) error {
	var before int
	if err := tx.QueryRow(ctx, `select count(*) from ach_file where built_on = $1 and modifier is not null`, o.Day).Scan(&before); err != nil {
		return err
	}
	if before >= len(modifiers) {
		return fmt.Errorf("%d files were made on %s, and a bank tells apart no more: raise policy ach.max_entries_per_file", before, o.Day)
	}
	info.modifier = modifiers[before]
	info.BuiltOn, info.Maker = o.Day, cmp.Or(o.Operator, system)
	info.Name = fmt.Sprintf("ach-%s-%c.ach", o.Day.Format("20060102"), info.modifier)
	return nil
}

// fill writes the entries of a file into its parts, and notes what it came to.
// Anew says that the transaction has changed them.
func (o Office) fill(ctx context.Context, tx pgx.Tx, info FileInfo, anew bool) (FileInfo, error) {
	company := CompanyOf(o.Policy)
	parts := &sealer{ctx: ctx, tx: tx, keys: o.Keys, file: info, hash: sha256.New()}
	defer parts.wait() // whoever rolls back needs the connection
	w, err := NewWriter(parts, File{Company: company, Created: Stamp{Date: info.BuiltOn, Hour: sealedAt}, IDModifier: info.modifier, Effective: info.EffectiveOn, FirstBatch: 1})
	if err != nil {
		return info, err
	}
	read := reading{o: o, tx: tx, w: w, parts: parts, file: info, alone: anew}
	all := read.all
	if info.Kind != FileOfDebits {
		all = read.others
	}
	bad, err := all(ctx)
	if err = cmp.Or(err, parts.alone()); err != nil {
		return info, err
	}
	if err := read.prove(); err != nil {
		return info, err
	}
	setAside := o.setAside
	if info.Kind != FileOfDebits {
		setAside = o.setAsideOthers
	}
	if err := setAside(ctx, tx, bad); err != nil {
		return info, err
	}
	if w.sum.Entries == 0 { // nothing is left of it
		info.State = FileWithdrawn
		_, err := tx.Exec(ctx, `update ach_file set state = 'withdrawn', entries = 0, prenotes = 0, reversals = 0, cents = 0, credit_cents = 0 where id = $1`, info.ID)
		return info, err
	}
	debits, credits := w.sum.DebitCents, w.sum.CreditCents // without the balancing entries
	offset, err := takeRun(ctx, tx, company.ODFI, o.Day, w.Offsets())
	if err != nil {
		return info, err
	}
	sum, err := w.Close(offset)
	if err != nil {
		return info, err
	}
	if info.SHA256, err = parts.close(); err != nil {
		return info, err
	}
	info.State, info.Entries, info.Prenotes, info.Reversals, info.Cents, info.CreditCents = FileSealed, sum.Debits, sum.Prenotes, sum.Reversals, debits, credits
	if _, err := tx.Exec(ctx, `update ach_file set state = 'sealed', built_on = $2, company = $3, modifier = $4, name = $5, entries = $6, prenotes = $7, reversals = $8, cents = $9, credit_cents = $10, sha256 = $11, maker = $12 where id = $1`,
		info.ID, info.BuiltOn, company.ID, string(info.modifier), info.Name, info.Entries, info.Prenotes, info.Reversals, int64(info.Cents), int64(info.CreditCents), []byte(info.SHA256), info.Maker); err != nil {
		return info, err
	}
	return info, nil
}

// setAside withdraws the debits that cannot be sent and takes them out of
// their file.
func (o Office) setAside(ctx context.Context, tx pgx.Tx, bad []loose) error {
	return inParts(ctx, tx, bad, func(d loose) int64 { return d.account }, func(b *billing.Book, some []loose) error {
		for _, d := range some {
			a := b.Account(d.account)
			debit := a.DebitTraced(int64(d.Trace))
			a.WithdrawDebit(debit, o.Day, unusable(o.Day, debit, d))
			debit.LeaveFile()
		}
		return nil
	})
}

// unusable puts a debit that is set aside before a person.
func unusable(day calendar.Date, debit *billing.Debit, d loose) billing.Exception {
	subject := debit.Cycle.String()
	if d.code == UnusableMethod {
		subject = strconv.FormatInt(d.methodID, 10) // Select passes the method over until this is cleared
	}
	return billing.Exception{On: day, Job: "autopay", Code: d.code, Subject: subject,
		Detail: fmt.Sprintf("the debit of %s effective %s was not sent: %s", d.Cents, debit.EffectiveOn, d.problem)}
}

// partSize is how much of a file is encrypted at once, and so how much of it is
// in memory.
const partSize = 1 << 20

// sealer stores a file's bytes part by part in the database: compressed, since
// a record is mostly blanks and what all have in common, then encrypted.
type sealer struct {
	ctx  context.Context
	tx   pgx.Tx
	keys *secret.Keys
	file FileInfo

	part    []byte // being filled
	full    []byte // being sealed
	squeeze []byte // room for it compressed
	parts   int
	hash    hash.Hash
	beside  bool // a part is sealed while the next is filled: nobody else uses the connection
	sealing sync.WaitGroup
	err     error // of sealing; after wait
}

func (s *sealer) Write(b []byte) (int, error) {
	for n := len(b); ; {
		room := min(partSize-len(s.part), len(b))
		s.part = append(s.part, b[:room]...)
		if b = b[room:]; len(s.part) < partSize {
			return n, nil
		}
		if err := s.next(); err != nil {
			return 0, err
		}
	}
}

// next seals the part that was filled.
func (s *sealer) next() error {
	if err := s.wait(); err != nil {
		return err
	}
	s.part, s.full = s.full[:0], s.part
	s.parts++
	s.sealing.Go(func() { s.err = s.seal(s.full, s.parts) })
	if s.beside {
		return nil
	}
	return s.wait()
}

func (s *sealer) wait() error {
	s.sealing.Wait()
	return s.err
}

// alone ends the sealing beside other work.
func (s *sealer) alone() error {
	s.beside = false
	return s.wait()
}

func (s *sealer) seal(plain []byte, part int) error {
	if part == 1 { // a file that is made anew
		if _, err := s.tx.Exec(s.ctx, `delete from ach_file_part where file_id = $1`, s.file.ID); err != nil {
			return err
		}
	}
	s.hash.Write(plain)
	s.squeeze = s2.Encode(s.squeeze[:cap(s.squeeze)], plain)
	sealed, err := s.keys.Seal(s.squeeze, partContext(s.file.Name, part))
	if err != nil {
		return err
	}
	_, err = s.tx.Exec(s.ctx, `insert into ach_file_part (file_id, part, sealed) values ($1, $2, $3)`, s.file.ID, part, sealed)
	return err
}

// close seals the last part and returns the hash of all.
func (s *sealer) close() (SHA256, error) {
	err := s.alone()
	if err == nil && len(s.part) > 0 {
		err = s.next()
	}
	return s.hash.Sum(nil), err
}

// Unseal writes the bytes of a sealed file, decrypted, and proves that they
// have the hash that the file was sealed with.
func Unseal(ctx context.Context, q billing.Querier, keys *secret.Keys, f FileInfo, to io.Writer) error {
	rows, err := q.Query(ctx, `select sealed from ach_file_part where file_id = $1 order by part`, f.ID)
	if err != nil {
		return err
	}
	defer rows.Close()
	sum := sha256.New()
	plain, room := []byte(nil), []byte(nil)
	var writing sync.WaitGroup // of a part, while the next one is opened
	var wrong error
	for part := 1; rows.Next(); part++ { // the server reads the one after it meanwhile
		r := ledger.ReadRow(rows)
		squeezed, broken := keys.Open(r.Bytes(), partContext(f.Name, part))
		if broken == nil {
			room, broken = s2.Decode(room[:cap(room)], squeezed)
		}
		writing.Wait()
		if broken != nil {
			return fmt.Errorf("%w: %w", ErrAltered, broken)
		}
		if wrong != nil {
			return wrong
		}
		plain, room = room, plain
		writing.Go(func() {
			sum.Write(plain)
			_, wrong = to.Write(plain)
		})
	}
	writing.Wait()
	if err := cmp.Or(wrong, rows.Err()); err != nil {
		return err
	}
	if got := SHA256(sum.Sum(nil)); !bytes.Equal(got, f.SHA256) {
		return fmt.Errorf("%w: file %d (%s) has the hash %s, not %s as when it was made; do not send it", ErrAltered, f.ID, f.Name, got, f.SHA256)
	}
	return nil
}

// ErrAltered says that sealed bytes are not those that were sealed.
var ErrAltered = errors.New("the sealed bytes were altered")
