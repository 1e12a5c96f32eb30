package ach_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/ach"
	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
)

// simulator is a bank that shares no code with this house: it knows our files
// only as bytes, by Nacha's columns, and writes its own the same way.
type simulator struct {
	*testing.T
	dice *rand.Rand

	taken    map[string]bool // files
	waiting  []debited       // to be settled on their day
	settled  map[string]int64
	returned map[string]int64
	reversed map[string]int64
	tried    map[string]int      // prenotes
	plans    map[string][]string // what becomes of a member's next debits: codes, "" for paid
	accounts map[string]string   // routing, type and number that a member should be debited by
	wrong    map[string]bool     // members debited otherwise
	answers  map[string]bool     // members whose entries were answered

	outbox   map[calendar.Date][]answered // what goes out on a day
	sequence int
	sent     [][]byte
}

// debited is an entry that the bank was given.
type debited struct {
	header, entry string
	effective     calendar.Date
}

func (d debited) member() string { return strings.TrimSpace(d.entry[39:54]) }
func (d debited) cents() int64   { n, _ := strconv.ParseInt(d.entry[29:39], 10, 64); return n }

// answered is an answer: a code, and what stands in the addenda.
type answered struct {
	debited
	code, data string
}

// take reads the files that have appeared in the outbox.
func (s *simulator) take(dir string) {
	s.Helper()
	files, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		s.Fatal(err)
	}
	for _, f := range files {
		if s.taken[f.Name()] {
			continue
		}
		s.taken[f.Name()] = true
		content, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			s.Fatal(err)
		}
		header := ""
		for _, line := range strings.Split(strings.TrimSuffix(string(content), "\n"), "\n") {
			if len(line) != 94 {
				s.Fatalf("%s: a line of %d characters", f.Name(), len(line))
			}
			switch line[0] {
			case '5':
				header = line
			case '6':
				s.waiting = append(s.waiting, debited{header, line, calendar.MustParse("20" + dateOf(header))})
			}
		}
	}
}

func dateOf(header string) string { return header[69:71] + "-" + header[71:73] + "-" + header[73:75] }

// settle pays the debits of a day, and decides what comes back of them.
func (s *simulator) settle(day calendar.Date) {
	s.waiting = slices.DeleteFunc(s.waiting, func(d debited) bool {
		if d.effective > day {
			return false
		}
		m := d.member()
		code := d.entry[1:3]
		switch code[1] {
		case '2': // a credit: we are to give back what was taken
			if d.header[53:63] != "REVERSAL  " {
				s.Errorf("a credit described %q", d.header[53:63])
			}
			s.reversed[m] += d.cents()
			code = code[:1] + "7"
		case '8':
			if d.cents() != 0 || s.settled[m] != 0 {
				s.Errorf("a prenote of %d cents after debits of %d", d.cents(), s.settled[m])
			}
			s.tried[m]++
			code = code[:1] + "7"
		default:
			s.settled[m] += d.cents()
		}
		if as := d.entry[3:12] + code + strings.TrimSpace(d.entry[12:29]); s.accounts[m] != as {
			s.wrong[m] = true
		}
		plan := s.plans[m]
		if len(plan) == 0 {
			return true
		}
		s.plans[m] = plan[1:]
		s.answer(d, plan[0], day)
		return true
	})
}

func (s *simulator) answer(d debited, plan string, day calendar.Date) {
	if plan != "" {
		s.answers[d.member()] = true
	}
	code, rest, _ := strings.Cut(plan, " ")
	soon := calendar.AddBankingDays(day, 2)
	switch {
	case code == "":
	case code[0] == 'C':
		s.outbox[soon] = append(s.outbox[soon], answered{d, code, rest})
	case rest == "late":
		s.outbox[day+55] = append(s.outbox[day+55], answered{d, code, ""})
	case rest == "dishonored": // our bank refuses the return that it has got: no money moves, and we are told
		s.outbox[soon] = append(s.outbox[soon], answered{d, code, ""})
		s.outbox[soon+3] = append(s.outbox[soon+3], answered{d, "R68", code}, answered{d, "R73", code})
	default:
		s.outbox[soon] = append(s.outbox[soon], answered{d, code, ""})
	}
}

// files writes what goes out on a day, in whatever order; now and then the same
// file twice, or the same answers once more in another file.
func (s *simulator) files(day calendar.Date) (files [][]byte) {
	answers := s.outbox[day]
	delete(s.outbox, day)
	if len(answers) == 0 {
		return nil
	}
	for _, a := range answers {
		for _, c := range corrections {
			if c.code == a.code { // from now on
				s.accounts[a.member()] = strings.Replace(c.as, "%s", strings.TrimSpace(a.entry[12:29]), 1)
			}
		}
		if a.code[0] == 'R' && !slices.Contains([]string{"R68", "R73"}, a.code) {
			s.returned[a.member()] += a.cents()
		}
	}
	s.dice.Shuffle(len(answers), func(i, j int) { answers[i], answers[j] = answers[j], answers[i] })
	first := s.write(day, answers)
	files = append(files, first)
	switch s.dice.IntN(3) {
	case 0:
		files = append(files, first)
	case 1:
		slices.Reverse(answers)
		files = append(files, s.write(day, answers))
	}
	s.sent = append(s.sent, first)
	if s.dice.IntN(4) == 0 { // an old one turns up again
		files = append(files, s.sent[s.dice.IntN(len(s.sent))])
	}
	return files
}

// write lays out a file of answers, a batch for each.
func (s *simulator) write(day calendar.Date, answers []answered) []byte {
	var lines []string
	var hash, debit int64
	lines = append(lines, fmt.Sprintf("101 %s %s%s0615A094101%-23s%-23s%8s", ourBank, ourBank, day.Format("060102"), "THE BANK", "THE BANK", ""))
	for n, a := range answers {
		s.sequence++
		trace := fmt.Sprintf("%s%07d", ourBank[:8], s.sequence)
		cents, sec := a.cents(), a.header[50:53]
		addenda := fmt.Sprintf("799%s%s%6s%s%44s%s", a.code, a.entry[79:94], "", a.entry[3:11], "", trace)
		switch {
		case a.code[0] == 'C':
			cents, sec = 0, "COR"
			addenda = fmt.Sprintf("798%s%s%6s%s%-29s%15s%s", a.code, a.entry[79:94], "", a.entry[3:11], a.data, "", trace)
		case a.code == "R68" || a.code == "R73":
			addenda = fmt.Sprintf("799%s%s%6s%s%3s%s%03d%s%21s%s", a.code, a.entry[79:94], "", a.entry[3:11], "", trace, day.Time().YearDay(), a.data[1:], "", trace)
		}
		lines = append(lines, "5225"+a.header[4:50]+sec+a.header[53:75]+fmt.Sprintf("%03d1%s%07d", day.Time().YearDay(), ourBank[:8], n+1))
		lines = append(lines, fmt.Sprintf("6%s6%s%s%010d%s1%s", a.entry[1:2], ourBank, a.entry[12:29], cents, a.entry[39:78], trace), addenda)
		odfi, _ := strconv.ParseInt(ourBank[:8], 10, 64)
		lines = append(lines, fmt.Sprintf("8225%06d%010d%012d%012d%s%25s%s%07d", 2, odfi, cents, 0, a.header[40:50], "", ourBank[:8], n+1))
		hash, debit = hash+odfi, debit+cents
	}
	blocks := (len(lines) + 1 + 9) / 10
	lines = append(lines, fmt.Sprintf("9%06d%06d%08d%010d%012d%012d%39s", len(answers), blocks, 2*len(answers), hash%1e10, debit, 0, ""))
	for len(lines) < 10*blocks {
		lines = append(lines, strings.Repeat("9", 94))
	}
	return []byte(strings.Join(lines, "\n") + "\n")
}

// corrections are what the bank corrects: the data by Nacha's columns, and what
// the member is to be debited by from then on.
var corrections = []struct{ code, data, as string }{
	{"C01", "7777", "121000358" + "27" + "7777"},
	{"C02", "091000019", "091000019" + "27" + "%s"},
	{"C03", "091000019   00123456789012345", "091000019" + "27" + "00123456789012345"},
	{"C04", "DIFFERENT NAME", "121000358" + "27" + "%s"},
	{"C05", "37", "121000358" + "37" + "%s"},
	{"C06", "12 34 5             37", "121000358" + "37" + "12 34 5"},
	{"C07", "0910000191234567890123456737", "091000019" + "37" + "12345678901234567"},
	{"C09", "SOMEBODY", "121000358" + "27" + "%s"},
	{"C13", "ADDENDA", "121000358" + "27" + "%s"},
}

// A bank that knows our files as bytes only settles debits, returns some with
// every code of the table, some of them late, corrects methods, dishonors,
// repeats and reorders. In the end the books say what the bank's own say.
func TestSimulatedBank(t *testing.T) {
	for _, seed := range []uint64{1, 2} {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			b := newBiller(t)
			b.p.ACH.MaxEntriesPerFile = 17
			s := &simulator{T: t, dice: rand.New(rand.NewPCG(seed, 3)), taken: map[string]bool{}, settled: map[string]int64{}, returned: map[string]int64{}, reversed: map[string]int64{}, tried: map[string]int{},
				plans: map[string][]string{}, accounts: map[string]string{}, wrong: map[string]bool{}, answers: map[string]bool{}, outbox: map[calendar.Date][]answered{}}
			enrolled := b.debtors(s)
			dir := t.TempDir()
			for day := cutDay + 1; day < cutDay+150; day++ {
				b.morning(s, day, enrolled)
				if day == dueDay+1 {
					b.errs(s, enrolled, day)
				}
				b.night(s, day, dir)
			}
			b.agree(s)
		})
	}
}

// debtors opens an account for each thing that the bank may do.
func (b *biller) debtors(s *simulator) (ids []int64) {
	var plans [][]string
	for _, c := range ach.Codes() {
		if c.Kind == ach.Returned || c.Kind == ach.International {
			plans = append(plans, []string{c.Code})
		}
	}
	for _, c := range corrections {
		plans = append(plans, []string{c.code + " " + c.data})
	}
	plans = append(plans, []string{"R97"}, []string{"R01", "R01", "R01"}, []string{"R01", "R09"}, []string{"R09", "", "R01"}, []string{"R07 late"}, []string{"R10 late"}, []string{"R05 late"}, []string{"R51 late"},
		[]string{"R02 dishonored"}, []string{"R29 dishonored"}, nil, nil, nil, []string{"", "R10"}, []string{"", "", "R02"})
	for n, plan := range plans {
		id := b.payer(20000)
		b.exec(`update autopay_method set authorized_by = $2 where account_id = $1`, id, []string{"written", "web", "phone"}[n%3])
		m := b.ask(`select mrn from account where id = $1`, id)
		s.plans[m] = plan
		s.accounts[m] = ourBank + "27" + numberOf(id)
		ids = append(ids, id)
	}
	// And new ones, whose bank accounts are tried out: their plans begin with the
	// prenote.
	b.p.ACH.Prenote = true
	for n, plan := range [][]string{nil, {"R03"}, {"R02"}, {"R04"}, {"C01 7777"}, {"C03 091000019   00123456789012345"}, {"", "R01"}, {"", "R10"}, {"", "", "R02"}} {
		id := b.takes(cutDay+1, 20000, []string{"written", "web", "phone"}[n%3])
		m := b.ask(`select mrn from account where id = $1`, id)
		s.plans[m], s.accounts[m] = plan, ourBank+"27"+numberOf(id)
		ids = append(ids, id)
	}
	return ids
}

// errs finds some of the month's debits, which the bank has paid, to be wrong.
func (b *biller) errs(s *simulator, ids []int64, day calendar.Date) {
	b.Helper()
	var traces []ach.Trace
	for _, id := range ids {
		if plan := s.plans[mrnOf(id)]; len(plan) == 0 && len(traces) < 4 && b.ask(`select state || ' ' || sec from debit where account_id = $1`, id) == "built PPD" {
			if _, answered := s.answers[mrnOf(id)]; !answered {
				traces = append(traces, b.trace(id))
			}
		}
	}
	if len(traces) == 0 {
		b.Fatal("no debit to be reversed")
	}
	b.release(day, b.reverses(day, ach.Duplicate, traces...))
}

// morning bills the accounts on the first of a month, and takes in what the
// bank sends.
func (b *biller) morning(s *simulator, day calendar.Date, ids []int64) {
	b.Helper()
	if _, _, d := day.Date(); d == 1 {
		for _, id := range ids {
			b.change(id, func(a *billing.Account) {
				a.Charge(b.p, day, billing.Premium, 20000, billing.Detail{MRN: a.MRN})
				a.Cut(b.p, day)
			})
		}
	}
	b.post(day)
	s.settle(day)
	for n, content := range s.files(day) {
		in, err := b.office(day, "system").Ingest(b.Context(), fmt.Sprintf("%s-%d", day, n), strings.NewReader(string(content)))
		if err != nil {
			b.Fatalf("%v: %v\n%s", err, in.Problems, content)
		}
		if in.Unmatched > 0 || n == 0 && in.Repeated > 0 && in.Applied == 0 && in.Review == 0 {
			b.Errorf("%s, file %d: %+v", day, n, in)
		}
	}
}

func (b *biller) night(s *simulator, day calendar.Date, dir string) {
	b.Helper()
	_, files := b.build(day)
	b.release(day, files...)
	if _, _, err := b.office(day, "system").WriteOut(b.Context(), dir); err != nil {
		b.Fatal(err)
	}
	s.take(dir)
}

// agree holds the books against the bank's.
func (b *biller) agree(s *simulator) {
	b.Helper()
	rows, err := b.db.Query(b.Context(), `select a.mrn, coalesce(sum(r.cents) filter (where r.channel = 'ach' and r.state = 'posted'), 0)::bigint, coalesce(sum(r.cents) filter (where r.channel = 'ach' and r.state in ('posted', 'returned')), 0)::bigint
		from account a left join receipt r on r.account_id = a.id where a.id > 0 group by a.id, a.mrn`)
	b.must(err)
	var mrn string
	var kept, ever int64
	seen := 0
	_, err = pgx.ForEachRow(rows, []any{&mrn, &kept, &ever}, func() error {
		seen++
		if want := s.settled[mrn] - s.returned[mrn] - s.reversed[mrn]; kept != want {
			b.Errorf("member %s: the books hold %d cents, the bank %d", mrn, kept, want)
		}
		if ever != s.settled[mrn] {
			b.Errorf("member %s: debits of %d cents in the books, %d at the bank", mrn, ever, s.settled[mrn])
		}
		return nil
	})
	b.must(err)
	if len(s.waiting) > 0 || seen < 60 || len(s.returned) < 50 {
		b.Errorf("%d debits wait at the bank, %d accounts, %d with returns", len(s.waiting), seen, len(s.returned))
	}
	if len(s.reversed) == 0 || len(s.tried) != 9 {
		b.Errorf("%d members got money back, %d were tried out", len(s.reversed), len(s.tried))
	}
	for m := range maps.Keys(s.wrong) {
		b.Errorf("member %s was debited by a method that the bank had corrected", m)
	}
	b.want("invariants", b.broken(), "")
}
