package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/billcycle/billcycle/jobs"
)

// told calls itself with every statement that goes to the database.
type told func(sql string)

func (f told) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	f(q.SQL)
	return ctx
}

func (told) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// runKilled runs a job, which gets no answer any more from the nth statement on
// that begins so, and says whether it came so far.
func (h *house) runKilled(job string, day int, before string, nth int) (killed bool) {
	h.Helper()
	ctx, kill := context.WithCancel(h.Context())
	defer kill()
	config := h.DB.(*pgxpool.Pool).Config()
	config.ConnConfig.Tracer = told(func(sql string) {
		if strings.HasPrefix(sql, before) {
			if nth--; nth == 0 {
				killed = true
				kill()
			}
		}
	})
	dying, err := pgxpool.NewWithConfig(h.Context(), config)
	if err != nil {
		h.Fatal(err)
	}
	defer dying.Close()
	house := h.House
	house.DB, house.Workers = dying, 1
	if _, err := (jobs.Runner{House: house}).Run(ctx, job, march(day)); (err != nil) != killed {
		h.Fatalf("killed before %s: %v, and yet %v", before, killed, err)
	}
	return killed
}

// waiting lists what waits for a person, by code and subject.
func (h *house) waiting() (all string) {
	h.Helper()
	if err := h.DB.QueryRow(h.Context(), `select coalesce(string_agg(concat_ws(' ', job, code, subject), ', ' order by job, subject), '') from exception`).Scan(&all); err != nil {
		h.Fatal(err)
	}
	return all
}

// Killed at any moment of putting a file out, and whatever has its name carried
// away at once: it is put out once. Where it is gone and nobody could note that it
// was out, a person is told.
func TestCarriedAwayOnce(t *testing.T) {
	for _, c := range []struct {
		job, folder, name string
		day               int
	}{
		{"reminders", "notices", firstNotices, 15},
		{"autopay", "card", "card-20260325-1.jsonl", 25},
		{"journal", "journal", "journal-20260305-000001.csv", 5},
	} {
		for _, before := range []string{"update outbox_file set sha256", "update outbox_file set ready_on", "update outbox_file set written_on", "commit"} {
			for nth, reached := 1, true; reached && (nth == 1 || before == "commit"); nth++ {
				t.Run(fmt.Sprintf("%s %s %d", c.job, before, nth), func(t *testing.T) {
					h := newHouse(t)
					if reached = h.runKilled(c.job, c.day, before, nth); !reached {
						if nth == 1 {
							t.Error("it never came so far")
						}
						return
					}
					carried, waits := map[string]int{}, int64(0)
					for range 3 {
						for name := range h.outbox(c.folder) {
							if strings.HasPrefix(name, ".") {
								continue // nobody takes that
							}
							carried[name]++
							if err := os.Remove(filepath.Join(h.Dir, "outbox", c.folder, name)); err != nil {
								t.Fatal(err)
							}
						}
						waits += h.run(c.job, c.day).Waiting
					}
					if len(carried) != 1 || carried[c.name] != 1 {
						t.Errorf("it was carried away as %v", carried)
					}
					want := ""
					if before == "update outbox_file set written_on" {
						want = c.job + " file_gone " + c.name
					}
					if got := h.waiting(); got != want && (before != "commit" || got != c.job+" file_gone "+c.name) {
						t.Errorf("before a person are %q, want %q", got, want)
					} else if (waits == 1) != (got != "") {
						t.Errorf("before a person are %q, and the runs count %d", got, waits)
					}
					if names := h.broken(); names != nil {
						t.Errorf("broken: %v", names)
					}
				})
			}
		}
	}
}

// The same for a print bundle: the vendor takes what has its done-file.
func TestBundleCarriedAwayOnce(t *testing.T) {
	sealed, written := "update print_bundle set state = 'sealed'", "update print_bundle set state = 'written'"
	for _, c := range []struct {
		before string
		nth    int
		gone   string
	}{
		{sealed, 1, ""}, {sealed, 2, ""},
		{written, 1, "statements file_gone print-20260301-printer-0001"},
		{written, 3, "statements file_gone print-20260301-printer-0003"},
	} {
		t.Run(fmt.Sprint(c.before, " ", c.nth), func(t *testing.T) {
			h := newMailHouse(t)
			if !h.runKilled("statements", 1, c.before, c.nth) {
				t.Fatal("it was not killed")
			}
			dir := filepath.Join(h.Dir, "outbox", "print")
			carried := map[string]int{}
			for range 3 {
				for name := range h.outbox("print") {
					bundle, done := strings.CutSuffix(name, ".done")
					if !done {
						continue
					}
					carried[bundle]++
					for _, kind := range []string{".pdf", ".csv", ".json", ".done"} {
						if err := os.Remove(filepath.Join(dir, bundle+kind)); err != nil {
							t.Fatal(err)
						}
					}
				}
				h.run("statements", 1)
			}
			if fmt.Sprint(carried) != "map[print-20260301-printer-0001:1 print-20260301-printer-0002:1 print-20260301-printer-0003:1]" {
				t.Errorf("carried away %v", carried)
			}
			if got := h.waiting(); got != c.gone {
				t.Errorf("before a person are %q, want %q", got, c.gone)
			}
			for _, b := range h.bundles() {
				if b.State != "written" {
					t.Errorf("%s is %s", b.Name, b.State)
				}
			}
			if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			h.proves()
		})
	}
}

// A bundle that had its done-file was whole: of what is carried away nothing is
// made again, though the rest is still there.
func TestBundlePartlyCarriedAway(t *testing.T) {
	h := newMailHouse(t)
	h.run("statements", 1)
	h.exec(`update print_bundle set state = 'sealed', written_on = null where id = 2`)
	bundle := "print-20260301-printer-0002"
	if err := os.Remove(filepath.Join(h.Dir, "outbox", "print", bundle+".pdf")); err != nil {
		t.Fatal(err)
	}
	report := h.run("statements", 2)
	if out := h.outbox("print"); out[bundle+".pdf"] != "" || out[bundle+".done"] == "" || report.Waiting != 1 || h.bundles()[1].State != "written" {
		t.Errorf("it is %+v; the run came to %+v", h.bundles()[1], report)
	}
	if got := h.waiting(); got != "statements file_gone "+bundle {
		t.Errorf("before a person are %q", got)
	}
	list, _, err := h.NotDone(t.Context(), jobs.Filter{Waiting: true, Most: 10})
	if err != nil || len(list) != 1 || !strings.Contains(list[0].Says, "whole in the outbox") || !strings.Contains(list[0].Detail, "ask the vendor") {
		t.Errorf("told is %+v, %v", list, err)
	}
}

// A file that lies there without its name gets it with the next run, to the byte,
// also if a disk has spoiled it meanwhile.
func TestLaidOut(t *testing.T) {
	for _, torn := range []bool{false, true} {
		h := newHouse(t)
		h.run("reminders", 15)
		before := h.outbox("notices")
		h.exec(`update outbox_file set written_on = null`)
		dir := filepath.Join(h.Dir, "outbox", "notices")
		laid := filepath.Join(dir, "."+firstNotices+".whole")
		err := os.Rename(filepath.Join(dir, firstNotices), laid)
		if torn {
			err = errors.Join(err, os.Truncate(laid, 100))
		}
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			h.run("reminders", 16)
			if after := h.outbox("notices"); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("torn %v: got %v\nwant %v", torn, after, before)
			}
		}
		if got := h.waiting(); got != "" {
			t.Errorf("before a person are %q", got)
		}
	}
}
