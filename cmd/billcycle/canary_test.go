package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/lockbox"
	"github.com/billcycle/billcycle/postgres/postgrestest"
	"github.com/billcycle/billcycle/rehearsal"
	"github.com/billcycle/billcycle/secret"
	"github.com/billcycle/billcycle/watch"
)

// canary knows the account numbers that came into a house, and looks for them
// in whatever it says.
type canary struct {
	*testing.T
	numbers map[string]bool
	heard   int // bytes
}

func (c *canary) hears(where string, said []byte) {
	c.Helper()
	c.heard += len(said)
	for number := range c.numbers {
		if bytes.Contains(said, []byte(number)) {
			c.Errorf("an account number that ends in %s stands in clear in %s", number[len(number)-4:], where)
		}
	}
}

// learns reads the account numbers of what waits in the inbox.
func (c *canary) learns(dir string) {
	c.Helper()
	for _, feed := range []string{"autopay", "lockbox"} {
		paths, err := filepath.Glob(filepath.Join(dir, "inbox", feed, "*"))
		if err != nil {
			c.Fatal(err)
		}
		for _, path := range paths {
			content, err := os.ReadFile(path)
			if err != nil {
				c.Fatal(err)
			}
			if feed == "autopay" {
				c.learnsEnrolments(content)
			} else {
				c.learnsChecks(content)
			}
		}
	}
}

func (c *canary) learnsEnrolments(content []byte) {
	c.Helper()
	rows, err := csv.NewReader(bytes.NewReader(content)).ReadAll()
	if err != nil {
		c.Fatal(err)
	}
	for _, row := range rows[1:] {
		if number := row[slices.Index(rows[0], "account")]; number != "" {
			c.numbers[number] = true
		}
	}
}

func (c *canary) learnsChecks(content []byte) {
	c.Helper()
	profile, err := lockbox.Recognize(bytes.NewReader(content), lockbox.Profiles())
	if err != nil {
		c.Fatal(err)
	}
	if _, err := lockbox.Read(bytes.NewReader(content), profile, func(b lockbox.Batch) error {
		for _, i := range b.Items {
			if len(i.Account) > 5 {
				c.numbers[i.Account] = true
			}
		}
		return nil
	}); err != nil {
		c.Fatal(err)
	}
}

// silent are the commands that this test leaves out: they begin a house of
// their own, run on, or open none.
var silent = strings.Fields("bench demo serve worker completion help rehearse migrate man version")

// What any command answers about a house that has lived two months, and what
// it says when it is refused, holds no account number; nor do the metrics.
func TestNoCommandTellsAnAccountNumber(t *testing.T) {
	c := &canary{t, map[string]bool{}, 0}
	dir := t.TempDir()
	keys, err := secret.Load(filepath.Join(dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	policy := billing.DefaultPolicy()
	policy.ACH.Prenote = true
	h := jobs.House{DB: postgrestest.New(t), Policy: &policy, Keys: keys, Dir: dir, Operator: "system"}
	demo := rehearsal.Demo{Members: 60, Months: 2, Seed: 3, Start: rehearsal.DemoStart, Night: func(ctx context.Context, h jobs.House, day calendar.Date) error {
		c.learns(h.Dir)
		_, err := jobs.Runner{House: h}.Night(ctx, day)
		return err
	}}
	if _, err := demo.Live(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	if len(c.numbers) < 20 || c.sent(dir) == 0 {
		t.Fatalf("%d account numbers came in, %d of them went out", len(c.numbers), c.sent(dir))
	}
	one := func(sql string) (s string) {
		t.Helper()
		if err := h.DB.QueryRow(t.Context(), sql).Scan(&s); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		return s
	}
	sealed, err := filepath.Glob(filepath.Join(dir, "archive", "*", "*", "*.sealed"))
	if err != nil || len(sealed) == 0 {
		t.Fatalf("the archive keeps nothing sealed: %v", err)
	}
	replace := strings.NewReplacer(
		"SEALED", sealed[0],
		"MRN", one(`select a.mrn from account a join autopay_method m on m.account_id = a.id join debit d on d.account_id = a.id where m.method = 'ach' order by a.id limit 1`),
		"NACHA", filepath.Join(dir, "outbox", "ach", one(`select name from ach_file where kind = 'debits' and state = 'released' order by id limit 1`)),
		"FILE", one(`select name from ach_file where state = 'released' order by id desc limit 1`),
		"TRACE", one(`select lpad(trace::text, 15, '0') from debit order by account_id desc, receipt desc limit 1`),
		"ITEM", one(`select coalesce((select file_id || ' ' || ordinal from lockbox_item where state in ('held', 'suspense') limit 1), '1 1')`),
		"PIECE", one(`select max(id)::text from print_piece`),
		"BROKEN", c.broken(dir),
		"LOCKBOX", c.check(dir),
		"OUT", filepath.Join(dir, "out"))
	ran := map[string]bool{}
	for _, line := range strings.Split(strings.TrimSpace(everyCommand), "\n") {
		args := strings.Fields(replace.Replace(line))
		for n := range args {
			args[n] = strings.ReplaceAll(args[n], "_", " ")
		}
		for _, form := range [][]string{args, append(slices.Clone(args), "--json", "--log", "json")} {
			c.asks(h, form)
		}
		if cmd, _, err := (&program{}).root().Find(args); err == nil {
			ran[cmd.CommandPath()] = true
		}
	}
	var missed func(cmd *cobra.Command)
	missed = func(cmd *cobra.Command) {
		if slices.Contains(silent, cmd.Name()) {
			return
		}
		if len(cmd.Commands()) == 0 && !ran[cmd.CommandPath()] {
			t.Errorf("nobody has listened to %s", cmd.CommandPath())
		}
		for _, inside := range cmd.Commands() {
			missed(inside)
		}
	}
	missed((&program{}).root())
	c.measures(h)
	if c.heard < 100_000 {
		t.Errorf("only %d bytes were heard: this proves little", c.heard)
	}
}

// sent is how many of the numbers are in the files for the bank, where they
// belong: the net has no hole.
func (c *canary) sent(dir string) (n int) {
	paths, _ := filepath.Glob(filepath.Join(dir, "outbox", "ach", "*.ach"))
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			c.Fatal(err)
		}
		for number := range c.numbers {
			if bytes.Contains(content, []byte(number)) {
				n++
			}
		}
	}
	return n
}

// asks carries out one command line and listens to all that it says.
func (c *canary) asks(h jobs.House, args []string) {
	c.Helper()
	var out, story bytes.Buffer
	env := map[string]string{"BILLCYCLE_DATABASE": h.DB.(*pgxpool.Pool).Config().ConnString(), "BILLCYCLE_DATA": h.Dir}
	p := &program{in: strings.NewReader("4000123499\n"), out: &out, err: &story, env: func(name string) string { return env[name] }, user: func() string { return "pat" },
		now: func() time.Time { return time.Date(2026, 4, 10, 19, 0, 0, 0, time.UTC) }}
	code := p.run(c.Context(), args)
	where := strings.Join(args, " ")
	if code == exitUsage {
		c.Errorf("%s was not understood: %s", where, story.Bytes())
	}
	c.hears("the answer to "+where, out.Bytes())
	c.hears("the story of "+where, story.Bytes())
}

// broken writes a feed of enrolments in which everything is in the wrong place,
// all numbers that are known: some look like records of other formats.
func (c *canary) broken(dir string) string {
	path := filepath.Join(dir, "broken.csv")
	text := "mrn,method,routing,account,account_type,authorized_on,authorized_by\n"
	for _, number := range slices.Sorted(maps.Keys(c.numbers)) {
		text += strings.Join([]string{number, number, number, number + number, number, number, number}, ",") + "\n\"" + number + "\n"
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		c.Fatal(err)
	}
	return path
}

// check writes a lockbox file with a check drawn on one of the bank accounts,
// and a total that does not foot.
func (c *canary) check(dir string) string {
	var number string
	for number = range c.numbers {
		break
	}
	var b bytes.Buffer
	profile := lockbox.Profiles()[0]
	err := lockbox.Write(&b, profile, lockbox.File{Destination: "BILLER", Origin: "BANK", Date: calendar.MustParse("2026-04-01"), Time: "0600", Batches: []lockbox.Batch{
		{Lockbox: "0000001", Number: "001", DepositDate: calendar.MustParse("2026-04-01"), Said: &lockbox.Total{Items: 2, Cents: 1},
			Items: []lockbox.Item{{Cents: 4711, Check: "1001", Routing: "121000358", Account: number, Payer: number}}}}})
	if err != nil {
		c.Fatal(err)
	}
	path := filepath.Join(dir, "check.bai")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		c.Fatal(err)
	}
	return path
}

// measures listens to what the house tells from outside.
func (c *canary) measures(h jobs.House) {
	c.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.Fatal(err)
	}
	ctx, cancel := context.WithCancel(c.Context())
	defer cancel()
	w := &watch.Window{Runner: jobs.Runner{House: h}, Now: func() time.Time { return time.Date(2026, 4, 10, 19, 0, 0, 0, time.UTC) }, Log: slog.New(slog.DiscardHandler)}
	go w.Open(ctx, l)
	for _, path := range []string{"/metrics", "/readyz"} {
		answer, err := http.Get("http://" + l.Addr().String() + path)
		if err != nil {
			c.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || len(body) == 0 {
			c.Fatalf("%s: %d bytes, %v", path, len(body), err)
		}
		c.hears(path, body)
	}
}

// everyCommand has a line for each command; many are refused, which says
// something, too.
const everyCommand = `
account MRN --history 40
account MRN --as-of 2026-02-10
ach files
ach codes
ach rates --date 2026-03-27
ach returns
ach returns --waiting
ach inspect NACHA
ach inspect BROKEN
ach ingest NACHA --date 2026-04-10
ach ingest BROKEN --date 2026-04-10
ach hold 1 --reason test --date 2026-04-10
ach release 1 --date 2026-04-10
ach bank FILE acknowledged --reason test --date 2026-04-10
ach reverse TRACE --fault duplicate --reason test --date 2026-03-01
adjust MRN --kind premium --cents -100 --reason test --date 2026-04-10
assist MRN --kind medical --percent 50 --reason test --date 2026-04-10
autopay notice MRN --sent 2026-04-10 --reason test --date 2026-04-10
autopay on MRN --method ach --routing 121000359 --reason test --date 2026-04-10
autopay off MRN --reason test --date 2026-04-10
check-return ITEM NSF --reason test --date 2026-04-10
coverage set MRN --plan GOLD --start 2026-04-01 --monthly-cents 100 --reason test --date 2026-04-10
coverage end MRN --plan GOLD --last-day 2026-04-30 --reason test --date 2026-04-10
deliver list
deliver confirm 1 --reason test
deliver again 1 --reason test
deliver cancel 1 --reason test
dispute open MRN --kind medical --reason test --date 2026-04-10
dispute accept MRN --kind medical --reason test --date 2026-04-10
dispute deny MRN --kind medical --reason test --date 2026-04-10
hold place MRN --reason test --date 2026-04-10
hold release MRN --reason test --date 2026-04-10
import autopay BROKEN --date 2026-04-10
import members BROKEN --date 2026-04-10
import coverage BROKEN --date 2026-04-10
import charges BROKEN --date 2026-04-10
import payments BROKEN --date 2026-04-10
jobs
journal files
journal get 1 --out OUT
journal months
journal archive 2026-01
journal restore 2026-01
keys list
keys open SEALED --out OUT.plain
keys rotate
lockbox held
lockbox profiles
lockbox reconcile
lockbox inspect LOCKBOX
lockbox ingest LOCKBOX --date 2026-04-10
lockbox returns BROKEN --date 2026-04-10
lockbox match ITEM MRN --reason test --date 2026-04-10
lockbox split ITEM MRN=1 --reason test --date 2026-04-10
lockbox redate ITEM 2026-04-01 --reason test --date 2026-04-10
lockbox release ITEM --reason test --date 2026-04-10
lockbox return ITEM NSF --reason test --date 2026-04-10
lockbox void ITEM --reason test --date 2026-04-10
lockbox undo ITEM --reason test --date 2026-04-10
lockbox take 1 LOCKBOX --reason test --date 2026-04-10
lockbox refuse 1 --reason test --date 2026-04-10
nightly --date 2026-04-10 --dry-run
nightly --date 2026-04-01
operators list
parked list
parked retry
plan make MRN --kind premium --cents 100 --installments 2 --reason test --date 2026-04-10
plan cancel MRN --kind premium --reason test --date 2026-04-10
preference optout MRN --channel text --reason test --date 2026-04-10
preference optin MRN --channel text --reason test --date 2026-04-10
preference accessible MRN --reason test --date 2026-04-10
reasons
refund MRN --cents 1 --reason test --date 2026-04-10
remit MRN --cents 1 --reason test --date 2026-04-10
report --date 2026-03-01
run autopay --date 2026-04-01
runs
runs --date 2026-03-01
skipped
statements bundles
statements pieces MRN
statements reprint PIECE --reason test --date 2026-04-10
statements to-paper MRN --reason test --date 2026-04-10
statements answers BROKEN --date 2026-04-10
statements get MRN --out OUT
statements imb 53379777234994544928
verify
waive MRN --kind late --cents 1 --reason test --date 2026-04-10
operators add maria --operator root
operators renew maria --operator root
operators disable maria --operator root
operators enable maria --operator root
ach files
`
