package jobs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/billcycle/billcycle/jobs"
)

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
			name := "file.csv"
			if c.feed == "lockbox" {
				name = "file.bai"
				b.check(name, 0, 5000, day("2026-02-27"))
			} else {
				b.put(c.feed+"/"+name, c.file)
			}
			path, reading, away := filepath.Join(b.Dir, "inbox", c.feed, name), false, false
			other := *b
			other.DB = tracedPool(t, b.DB, func(sql string) {
				reading = reading || strings.Contains(sql, "pg_advisory_xact_lock($1)") || strings.Contains(sql, "lockbox_file")
				if !reading || sql != "commit" && sql != "rollback" {
					return
				}
				if err := os.Rename(path, filepath.Join(t.TempDir(), name)); err == nil {
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
