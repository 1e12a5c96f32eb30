package jobs_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/billcycle/billcycle/jobs"
)

// arrives puts a file into an inbox, for the lockbox one with a check of member 0.
func (b *biller) arrives(feed, content string) (path string) {
	if feed == "lockbox" {
		b.check("file.bai", 0, 5000, day("2026-02-27"))
		return filepath.Join(b.Dir, "inbox", feed, "file.bai")
	}
	b.put(feed+"/file.csv", content)
	return filepath.Join(b.Dir, "inbox", feed, "file.csv")
}

// A program that was taken for dead, and wakes up after its file is committed,
// puts the file away while the next one is at it. The night is none the worse
// for it. Torture has found this (seed 32, 4 workers).
func TestFileThatAnotherProgramPutsAway(t *testing.T) {
	for _, c := range []struct{ feed, job, file string }{
		{"members", "feeds", "mrn,guarantor_mrn,first_name,last_name,delivery\n" + mrn(0) + "," + mrn(0) + ",Ann,Other,paperless\n"},
		{"autopay", "feeds", "mrn,method,routing,account,account_type,card_token,authorized_on,authorized_by,ended_on\n" + mrn(0) + ",ach,121000358,7000000001,checking,,2026-01-05,written,\n"},
		{"lockbox", "lockbox", ""},
		{"payments", "feeds", "payment_id,mrn,received,channel,amount_cents\nX1," + mrn(7) + ",2026-02-20,online,45000\n"}, // nobody's: refused
	} {
		t.Run(c.feed, func(t *testing.T) {
			b := newBiller(t, 1)
			b.night("2026-02-28")
			path, reading, away := b.arrives(c.feed, c.file), false, false
			other := *b
			other.DB = tracedPool(t, b.DB, func(sql string) {
				reading = reading || strings.Contains(sql, "pg_advisory_xact_lock($1)") || strings.Contains(sql, "lockbox_file")
				if !reading || sql != "commit" && sql != "rollback" {
					return
				}
				if err := os.Rename(path, filepath.Join(t.TempDir(), "file")); err == nil {
					away = true
				}
			})
			report, err := jobs.Runner{House: other.House}.Run(t.Context(), c.job, day("2026-03-01"))
			if err != nil || !away || !strings.Contains(strings.Join(report.Notes, "\n"), "put away by another program") {
				t.Errorf("the run came to %+v, %v, put away: %v", report, err, away)
			}
			b.night("2026-03-01")
			b.holds()
		})
	}
}

// A sender that renames the next file into the place of one that is being read
// loses neither: what was read is put away, and the other waits for the next run.
func TestFileThatIsReplacedWhileItIsRead(t *testing.T) {
	for _, feed := range []string{"charges", "autopay"} {
		t.Run(feed, func(t *testing.T) {
			b := newBiller(t, 1)
			b.night("2026-02-28")
			header, row := "charge_id,mrn,kind,service_date,description,gross_cents,insurer_cents,patient_cents\n", func(n int) string {
				return fmt.Sprintf("C%d,%s,medical,2026-02-20,Visit,100,0,100\n", n, mrn(0))
			}
			count := `select count(*) from item where charge_id like 'C%'`
			if feed == "autopay" {
				header, row = "mrn,method,routing,account,account_type,card_token,authorized_on,authorized_by,ended_on\n", func(n int) string {
					return fmt.Sprintf("%s,ach,121000358,%d,checking,,2026-01-%02d,written,\n", mrn(0), 7_000_000+n, n)
				}
				count = `select count(*) from autopay_method`
			}
			path := b.arrives(feed, header+row(5))
			next, once := filepath.Join(t.TempDir(), "next"), sync.Once{}
			if err := os.WriteFile(next, []byte(header+row(5)+row(6)), 0o600); err != nil {
				t.Fatal(err)
			}
			other := *b
			other.DB = tracedPool(t, b.DB, func(sql string) {
				if strings.Contains(sql, "pg_advisory_xact_lock($1)") {
					once.Do(func() {
						if err := os.Rename(next, path); err != nil {
							t.Error(err)
						}
					})
				}
			})
			for n, want := range []int64{1, 2} {
				report, err := jobs.Runner{House: other.House}.Run(t.Context(), "feeds", day("2026-03-01"))
				if err != nil || report.Done != 1 {
					t.Errorf("run %d came to %+v, %v", n+1, report, err)
				}
				if got := b.figure(count); got != want {
					t.Errorf("after run %d there are %d, want %d", n+1, got, want)
				}
			}
			if left, err := filepath.Glob(filepath.Join(b.Dir, "archive", feed, "*", "*file.csv*")); err != nil || len(left) != 2 {
				t.Errorf("archived: %v, %v", left, err)
			}
			if left, _ := filepath.Glob(filepath.Join(b.Dir, "inbox", feed, "*")); len(left) != 0 {
				t.Errorf("still in the inbox: %v", left)
			}
			b.holds()
		})
	}
}

// Of a file that grows while it is read nothing is taken, also if all that was
// read makes sense, and the night goes on.
func TestFileThatGrowsIsLeft(t *testing.T) {
	for _, c := range []struct{ feed, job string }{{"charges", "feeds"}, {"lockbox", "lockbox"}} {
		t.Run(c.feed, func(t *testing.T) {
			b := newBiller(t, 1)
			b.night("2026-02-28")
			path := b.arrives(c.feed, "charge_id,mrn,kind,service_date,description,gross_cents,insurer_cents,patient_cents\nC1,"+mrn(0)+",medical,2026-02-20,Visit,1250,0,1250\n")
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			cut := len(whole) - 3 // a smaller amount, or no end
			if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
				t.Fatal(err)
			}
			before, grown := b.figure(`select count(*) from journal`), sync.Once{}
			other := *b
			other.DB = tracedPool(t, b.DB, func(sql string) {
				if !strings.Contains(sql, "pg_advisory_xact_lock($1)") && !strings.Contains(sql, "lockbox_file") {
					return
				}
				grown.Do(func() { // the sender writes in place
					f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
					if err == nil {
						_, err = f.Write(whole[cut:])
						err = errors.Join(err, f.Close())
					}
					if err != nil {
						t.Error(err)
					}
				})
			})
			report, err := jobs.Runner{House: other.House}.Run(t.Context(), c.job, day("2026-03-01"))
			if err != nil || report.Selected != 0 || report.Waiting != 0 || !strings.Contains(strings.Join(report.Notes, "\n"), "still growing") {
				t.Errorf("the run came to %+v, %v", report, err)
			}
			if n := b.figure(`select count(*) from journal`); n != before {
				t.Errorf("%d entries were made of a part", n-before)
			}
			if report := b.night("2026-03-01")[c.job]; report.Done != 1 || report.Waiting != 0 {
				t.Errorf("when it was whole, the run came to %+v", report)
			}
			b.holds()
		})
	}
}

// A dry run that was killed leaves links to the inbox's files, which hold account
// numbers; the next run removes them, but not those of one that is still at work.
func TestDryRunThatWasKilledIsSweptUp(t *testing.T) {
	b := newBiller(t, 1)
	dead := filepath.Join(b.Dir, ".dry-1", "inbox", "autopay")
	if err := os.MkdirAll(dead, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dead, "autopay.csv"), []byte("numbers"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := jobs.Runner{House: b.House}.Dry(t.Context(), func(dry jobs.Runner) error {
		if left, _ := filepath.Glob(filepath.Join(b.Dir, ".dry-*")); len(left) != 1 || left[0] != dry.Dir {
			t.Errorf("beside a dry run: %v", left)
		}
		_, err := jobs.Runner{House: b.House}.Run(t.Context(), "deliver", day("2026-03-01"))
		if _, gone := os.Stat(dry.Dir); gone != nil {
			t.Error("a run has swept a dry one away that is at work")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A file may have been named in any bytes. It is taken or refused like any other,
// and the night goes on; what is told of it is text.
func TestFileNamedInNoText(t *testing.T) {
	for _, c := range []struct{ feed, job, text string }{
		{"lockbox", "lockbox", "no bank's file\n"},
		{"ach", "returns", "no bank's file\n"},
		{"print", "returns", "piece,result,date\n1,mailed,2026-03-01\n"},
		{"check-returns", "returns", "routing,account,check,cents,reason\n121000358,1,2,3,NSF\n"},
		{"members", "feeds", "mrn,guarantor_mrn,first_name,last_name,delivery\n" + mrn(0) + "," + mrn(0) + ",Ann,Other,paperless\n"},
	} {
		t.Run(c.feed, func(t *testing.T) {
			b := newBiller(t, 1)
			b.put(c.feed+"/d\xe9p\x1b[2J\nx.csv", c.text)
			report, err := jobs.Runner{House: b.House}.Run(t.Context(), c.job, day("2026-03-01"))
			if err != nil {
				t.Fatal(err)
			}
			for _, note := range report.Notes {
				if strings.ContainsAny(note, "\xe9\x1b") || strings.Contains(note, "\nx.csv") {
					t.Errorf("%q is told", note)
				}
			}
			if left, err := os.ReadDir(filepath.Join(b.Dir, "inbox", c.feed)); err != nil || len(left) > 0 {
				t.Errorf("the file is still there: %v, %v", left, err)
			}
			b.holds()
		})
	}
}

// What lies in the inbox where nobody takes it is put before a person, as long as
// it lies there.
func TestStraysOfTheInbox(t *testing.T) {
	b := newBiller(t, 1)
	at := func(path string) string { return filepath.Join(b.Dir, "inbox", path) }
	for _, folder := range []string{"members/done", "chargs", "lost+found"} {
		if err := os.MkdirAll(at(folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"charges.csv", "chargs/a.csv", "members/done/b.csv", ".hidden", "c.part"} {
		if err := os.WriteFile(at(file), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/nowhere", at("members/link.csv")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		report := b.night("2026-03-01")["feeds"]
		told := strings.Join(report.Notes, "\n")
		if report.Waiting != 4 || len(report.Notes) != 4 {
			t.Errorf("%d strays wait, want 4:\n%s", report.Waiting, told)
		}
		for _, path := range []string{"inbox/charges.csv", "inbox/chargs", "inbox/members/done", "inbox/members/link.csv"} {
			if !strings.Contains(told, path+" is never taken") {
				t.Errorf("nothing is said of %s:\n%s", path, told)
			}
		}
	}
}

// A refused file leaves the inbox with its reason or not at all: stopped before, the
// next run refuses it again, and tells.
func TestRefusedFileHasItsReason(t *testing.T) {
	b := newBiller(t, 1)
	path := b.arrives("payments", "payment_id,mrn,received,channel,amount_cents\nX1,"+mrn(7)+",2026-02-20,online,45000\n") // nobody's
	refused := filepath.Join(b.Dir, "refused", "payments", "2026-03-01", "file.csv")
	inTheWay := refused + ".reason"
	if err := os.MkdirAll(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	run := func() (jobs.Report, error) {
		return jobs.Runner{House: b.House}.Run(t.Context(), "feeds", day("2026-03-01"))
	}
	if _, err := run(); err == nil {
		t.Error("a reason that could not be written was passed over")
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the file left without its reason: %v", err)
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	if report, err := run(); err != nil || report.Waiting != 1 {
		t.Errorf("the next run came to %+v, %v", report, err)
	}
	if text, err := os.ReadFile(inTheWay); err != nil || len(text) == 0 {
		t.Errorf("no reason: %v", err)
	}
	if _, err := os.Stat(refused); err != nil {
		t.Error(err)
	}
}
