package jobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/billcycle/billcycle/ach"
	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/lockbox"
)

// The inbox: folders in which others put files for the night. A file is taken
// when it is whole: its sender writes it under another name and renames it. One
// that changes while it is read is left for the next run, and so is one that was
// put in the place of what is being read.
// Taken files go to archive/, refused ones to refused/ with their reason.

// arrival is a file in an inbox.
type arrival struct {
	feed, name string
	file       *steady
}

// steady reads a file that must stay as it was when it was opened.
type steady struct {
	f   *os.File
	was os.FileInfo
}

var errGrowing = errors.New("the file is still growing")

// Read fails with errGrowing at the end of a file that has changed, so that nothing
// is made of what was read.
func (s *steady) Read(p []byte) (int, error) {
	n, err := s.f.Read(p)
	if err == io.EOF {
		if now, failed := s.f.Stat(); failed != nil || now.Size() != s.was.Size() || !now.ModTime().Equal(s.was.ModTime()) {
			err = errors.Join(errGrowing, failed)
		}
	}
	return n, err
}

func (s *steady) Seek(offset int64, whence int) (int64, error) { return s.f.Seek(offset, whence) }

// FileName is how a file is called in words and in the database: its sender may
// have named it in any bytes, the database takes text alone, and a terminal obeys
// what is no text.
func FileName(path string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, filepath.Base(path))
}

// verdict is what came of an arrival.
type verdict struct {
	tally   billing.Tally
	refused error // why, nil if it was taken
	waits   int64 // left for a person
	note    string
}

// inboxFolders are the folders of the inbox out of which jobs take files.
var inboxFolders = []string{"members", "coverage", "charges", "payments", "autopay", "lockbox", checkReturns, "ach", "card", "print", "notices"}

// unfinished says whether a sender has not given a file its own name yet.
func unfinished(name string) bool {
	return strings.HasPrefix(name, ".") || slices.Contains([]string{".part", ".tmp", ".filepart"}, filepath.Ext(name))
}

// strays puts before a person what lies in the inbox where no job takes it: by a
// slip of the hand its charges would never be billed.
func (r *Run) strays() error {
	entries, err := os.ReadDir(filepath.Join(r.Dir, "inbox"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if !slices.Contains(inboxFolders, e.Name()) {
			r.stray("inbox", e)
		}
	}
	return err
}

// stray puts one such thing before a person; a folder, if there is something in it.
func (r *Run) stray(folder string, e os.DirEntry) {
	path := filepath.Join(folder, e.Name())
	if unfinished(e.Name()) {
		return
	}
	if e.IsDir() {
		if inside, err := os.ReadDir(filepath.Join(r.Dir, path)); err != nil || len(inside) == 0 {
			return
		}
	}
	r.waits++
	r.note("%s/%s is never taken, and stays: files go right into one of the inbox's folders (%s)", folder, FileName(path), strings.Join(inboxFolders, ", "))
}

// take takes every whole file of an inbox folder, in order of name.
func (r *Run) take(ctx context.Context, feed string, do func(ctx context.Context, a arrival) (verdict, error)) error {
	dir := filepath.Join(r.Dir, "inbox", feed)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if unfinished(e.Name()) {
			continue
		}
		if !e.Type().IsRegular() {
			r.stray(filepath.Join("inbox", feed), e)
			continue
		}
		if later, err := r.laterThan(e); err != nil {
			return err
		} else if later {
			continue
		}
		if err := r.takeFile(ctx, feed, filepath.Join(dir, e.Name()), do); err != nil {
			return fmt.Errorf("inbox/%s/%s: %w", feed, FileName(e.Name()), err)
		}
	}
	return nil
}

// laterThan says whether a file came after the night should have begun. A missed
// night leaves it to the night of its own date, as if it had been in time.
func (r *Run) laterThan(e os.DirEntry) (bool, error) {
	if r.before.IsZero() {
		return false, nil
	}
	info, err := e.Info()
	if errors.Is(err, os.ErrNotExist) {
		return true, nil // it has gone
	}
	return err == nil && info.ModTime().After(r.before), err
}

func (r *Run) takeFile(ctx context.Context, feed, path string, do func(ctx context.Context, a arrival) (verdict, error)) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // another program, which was taken for dead and is not, has put it away
	}
	if err != nil {
		return err
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return err
	}
	v, err := do(ctx, arrival{feed, FileName(path), &steady{f, before}})
	if errors.Is(err, errGrowing) || errors.Is(v.refused, errGrowing) {
		r.note("inbox/%s/%s is still growing: left for the next run", feed, FileName(path))
		return nil
	}
	if err != nil {
		return err
	}
	r.tally.Add(v.tally)
	r.waits += v.waits
	if v.note != "" {
		r.note("%s", v.note)
	}
	if err := r.putAway(feed, path, f, v.refused); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	r.note("inbox/%s/%s was put away by another program meanwhile", feed, FileName(path))
	return nil
}

// putAway moves a file that was taken to the archive, or a refused one to the
// others with its reason. f is the open file: if another has taken its place, that
// one stays where it is.
func (r *Run) putAway(feed, path string, f *os.File, refused error) error {
	if refused == nil {
		return r.archive(feed, path, f)
	}
	r.waits++
	r.note("inbox/%s/%s was refused: %v", feed, FileName(path), refused)
	if _, err := stands(path, f); err != nil {
		return err
	}
	to, err := r.place(filepath.Join("refused", feed), filepath.Base(path))
	if err != nil {
		return err
	}
	// Its reason first: killed in between, the next run refuses it again, and says so.
	if err := os.WriteFile(to+".reason", []byte(refused.Error()+"\n"), 0o600); err != nil {
		return err
	}
	return r.file(path, f, to)
}

// stands says whether a file still lies where it was opened.
func stands(path string, f *os.File) (bool, error) {
	was, err := f.Stat()
	if err != nil {
		return false, err
	}
	is, err := os.Lstat(path)
	return err == nil && os.SameFile(was, is), err
}

// sealedFeeds hold account numbers: their archived copies are encrypted.
var sealedFeeds = []string{"autopay", "lockbox", checkReturns, "ach", "sent/ach"}

func (r *Run) archive(feed, path string, f *os.File) error {
	if !slices.Contains(sealedFeeds, feed) {
		to, err := r.place(filepath.Join("archive", feed), filepath.Base(path))
		if err != nil {
			return err
		}
		return r.file(path, f, to)
	}
	if _, err := stands(path, f); err != nil {
		return err
	}
	to, err := r.place(filepath.Join("archive", feed), filepath.Base(path)+".sealed")
	if err != nil {
		return err
	}
	if err := r.seal(to+".part", f, "archive/"+feed+"/"+filepath.Base(path)); err != nil {
		return err
	}
	if err := os.Rename(to+".part", to); err != nil {
		return err
	}
	if still, err := stands(path, f); err != nil || !still {
		return r.replaced(path, err)
	}
	return os.Remove(path)
}

// replaced tells of a file in whose place another was put while it was read.
func (r *Run) replaced(path string, err error) error {
	if err == nil {
		r.note("%s: another file of this name was put in its place while it was read: left for the next run", FileName(path))
	}
	return err
}

// seal writes a file encrypted, piece by piece: a bank's may be large.
func (r *Run) seal(to string, plain *os.File, context string) error {
	if _, err := plain.Seek(0, io.SeekStart); err != nil {
		return err
	}
	sealed, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(r.Keys.SealFile(sealed, plain, context), sealed.Sync(), sealed.Close())
}

// file moves a file to its place in the biller's directory, or what was read of one
// that no longer lies there.
func (r *Run) file(path string, f *os.File, to string) error {
	if still, err := stands(path, f); err != nil {
		return err
	} else if still {
		if err := os.Rename(path, to); err != nil {
			return err
		}
		if same, err := stands(to, f); err != nil || same {
			return err
		}
		if err := os.Rename(to, path); err != nil { // another came in just then
			return err
		}
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	copied, err := os.OpenFile(to+".part", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(copied, f)
	if err := errors.Join(err, copied.Sync(), copied.Close()); err != nil {
		return err
	}
	return r.replaced(path, os.Rename(to+".part", to))
}

// place finds a free name for a file of the run's day.
func (r *Run) place(folder, name string) (string, error) {
	dir := filepath.Join(r.Dir, folder, r.Day.String())
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	to := filepath.Join(dir, name)
	for n := 2; ; n++ {
		if _, err := os.Lstat(to); errors.Is(err, os.ErrNotExist) {
			return to, nil
		}
		to = filepath.Join(dir, fmt.Sprintf("%d-%s", n, name))
	}
}

func runFeeds(ctx context.Context, r *Run) error {
	if err := r.strays(); err != nil {
		return err
	}
	im := billing.Import{Policy: r.Policy, Day: r.Day, Operator: r.Operator, Keys: r.Keys}
	for _, feed := range []struct {
		name string
		take func(context.Context, arrival) (billing.Imported, error)
	}{
		{"members", func(ctx context.Context, a arrival) (billing.Imported, error) { return im.Members(ctx, r.DB, a.file) }},
		{"coverage", func(ctx context.Context, a arrival) (billing.Imported, error) { return im.Coverage(ctx, r.DB, a.file) }},
		{"charges", func(ctx context.Context, a arrival) (billing.Imported, error) { return im.Charges(ctx, r.DB, a.file) }},
		{"payments", func(ctx context.Context, a arrival) (billing.Imported, error) { return im.Payments(ctx, r.DB, a.file) }},
		{"autopay", func(ctx context.Context, a arrival) (billing.Imported, error) { return im.Autopay(ctx, r.DB, a.file) }},
	} {
		err := r.take(ctx, feed.name, func(ctx context.Context, a arrival) (v verdict, err error) {
			got, err := feed.take(ctx, a)
			if errors.Is(err, billing.ErrRefused) {
				v.refused, err = problems(err, got.Problems), nil
			}
			v.tally.Did(int64(got.Accepted), got.Cents)
			v.tally.Skip(unchanged, int64(got.Unchanged))
			v.tally.Skip(refused, int64(got.Rows-got.Accepted-got.Unchanged))
			return v, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// problems makes one error of a refusal and everything that is wrong, a line each.
func problems[P fmt.Stringer](err error, list []P) error {
	var b strings.Builder
	for _, p := range list {
		b.WriteString("\n" + p.String())
	}
	return fmt.Errorf("%w%s", err, b.String())
}

// advised is a problem of a bank's file with what to do about it.
type advised struct{ lockbox.Problem }

func (p advised) String() string {
	if p.Do == "" {
		return p.Problem.String()
	}
	return p.Problem.String() + "; what to do: " + p.Do
}

func withAdvice(list []lockbox.Problem) (out []advised) {
	for _, p := range list {
		out = append(out, advised{p})
	}
	return out
}

// Desk is the house's lockbox desk on a business date.
func (h House) Desk(day calendar.Date) lockbox.Desk {
	return lockbox.Desk{DB: h.DB, Policy: h.Policy, Keys: h.Keys, Profiles: h.Layouts, Day: day, Operator: h.Operator}
}

// Office is the house's ACH office on a business date.
func (h House) Office(day calendar.Date) ach.Office {
	return ach.Office{DB: h.DB, Policy: h.Policy, Keys: h.Keys, Day: day, Operator: h.Operator}
}

func runLockbox(ctx context.Context, r *Run) error {
	return r.take(ctx, "lockbox", func(ctx context.Context, a arrival) (v verdict, err error) {
		got, err := r.Desk(r.Day).Ingest(ctx, a.name, a.file, lockbox.Profile{})
		if errors.Is(err, lockbox.ErrRefused) {
			v.refused, err = problems(err, withAdvice(got.Problems)), nil
		}
		if got.Duplicate {
			v.tally.Skip(duplicate, int64(got.Items))
			v.note = fmt.Sprintf("%s was here before", a.name)
			return v, err
		}
		v.tally.Did(int64(got.Posted+got.Pending), got.Cents)
		v.tally.Skip(suspense, int64(got.Suspense))
		v.tally.Skip(held, int64(got.Held))
		v.tally.Skip(refused, int64(got.Refused))
		v.waits = int64(got.Waiting())
		return v, err
	})
}

func runReturns(ctx context.Context, r *Run) error {
	err := r.take(ctx, "ach", func(ctx context.Context, a arrival) (v verdict, err error) {
		got, err := r.Office(r.Day).Ingest(ctx, a.name, a.file)
		if errors.Is(err, ach.ErrRefused) {
			v.refused, err = problems(err, got.Problems), nil
		}
		v.tally.Did(int64(got.Returns+got.Corrections+got.Words), 0)
		v.tally.Skip(unmatched, int64(got.Unmatched))
		v.waits = int64(got.Waiting)
		return v, err
	})
	if err != nil {
		return err
	}
	if r.tally.Done > 0 {
		if err := r.watchRates(ctx); err != nil {
			return err
		}
	}
	if err := r.takeCheckReturns(ctx); err != nil {
		return err
	}
	if err := r.takeCardAnswers(ctx); err != nil {
		return err
	}
	if err := r.takeMailAnswers(ctx); err != nil {
		return err
	}
	return r.takeBounces(ctx)
}

// checkReturns is the folder of the bank's files of checks that came back unpaid.
const checkReturns = "check-returns"

func (r *Run) takeCheckReturns(ctx context.Context) error {
	layouts := r.Returned
	if layouts == nil {
		layouts = []lockbox.ReturnsLayout{lockbox.PlainReturns()}
	}
	return r.take(ctx, checkReturns, func(ctx context.Context, a arrival) (v verdict, err error) {
		got, err := r.Desk(r.Day).TakeReturns(ctx, a.name, a.file, layouts...)
		if errors.Is(err, lockbox.ErrRefused) {
			v.refused, err = problems(err, withAdvice(got.Problems)), nil
			v.tally.Skip(refused, int64(got.Rows))
			return v, err
		}
		if got.Duplicate {
			v.tally.Skip(duplicate, int64(got.Rows))
			v.note = fmt.Sprintf("%s was here before", a.name)
			return v, err
		}
		v.tally.Did(int64(got.Returned), got.Cents)
		v.tally.Skip(unchanged, int64(got.Already))
		v.tally.Skip(lockbox.ReturnUnmatched, int64(got.Unmatched))
		v.waits = int64(got.Unmatched)
		return v, err
	})
}

// watchRates keeps the return rates, and notes those that come near their limits.
func (r *Run) watchRates(ctx context.Context) error {
	rates, err := r.Office(r.Day).KeepRates(ctx)
	for _, x := range rates {
		if x.State != "ok" {
			r.note("returns of company %s, %s: %d of %d debits in 60 days, %s%%, %s the limit of %s%%", x.Company, x.Kind, x.Returns, x.Entries, x.Percent, x.State, x.Limit)
		}
	}
	return err
}
