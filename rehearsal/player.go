package rehearsal

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/lockbox"
	"github.com/billcycle/billcycle/postgres"
	"github.com/billcycle/billcycle/secret"
)

// Result is how a rehearsal came out.
type Result struct {
	Passed   int       `json:"passed"`
	Failed   int       `json:"failed"`
	Failures []Failure `json:"failures"`
}

// Play plays scenarios, each in a scratch database of its own on the server,
// and tells each outcome on log.
func Play(ctx context.Context, server *postgres.Server, stories []*Scenario, log io.Writer) (Result, error) {
	result := Result{Failures: []Failure{}}
	outcomes := make([][]Failure, len(stories))
	errs := make([]error, len(stories))
	var wg sync.WaitGroup
	next := make(chan int)
	for range 2 {
		wg.Go(func() {
			for n := range next {
				outcomes[n], errs[n] = play(ctx, server, stories[n])
			}
		})
	}
	for n := range stories {
		next <- n
	}
	close(next)
	wg.Wait()
	for n, s := range stories {
		if errs[n] != nil {
			return result, fmt.Errorf("%s: %w", s.ID, errs[n])
		}
		if len(outcomes[n]) == 0 {
			result.Passed++
			fmt.Fprintf(log, "pass  %-6s %s\n", s.ID, s.Title)
			continue
		}
		result.Failed++
		result.Failures = append(result.Failures, outcomes[n]...)
		fmt.Fprintf(log, "FAIL  %-6s %s\n", s.ID, s.Title)
		for _, f := range outcomes[n] {
			fmt.Fprintf(log, "      step %d (%s): %s: want %s, got %s\n", f.Step, s.Steps[f.Step-1].Date, f.Key, f.Want, f.Got)
		}
	}
	return result, nil
}

// player plays one scenario.
type player struct {
	story    *Scenario
	house    jobs.House
	ids      map[string]int64  // account ids by the story's names
	mrns     map[string]string // and MRNs
	files    map[string][]byte // lockbox files sent, by the story's names
	batches  map[string]lockbox.Batch
	refused  []lockbox.Batch // that wait to be corrected
	rejected bool            // by this step
	numbers  int             // given to feeds' rows
	failures []Failure
}

func play(ctx context.Context, server *postgres.Server, s *Scenario) (failures []Failure, err error) {
	db, err := server.Scratch(ctx, "billcycle_rehearsal")
	if err != nil {
		return nil, err
	}
	defer db.Drop(context.WithoutCancel(ctx))
	return PlayOn(ctx, db.Pool, s)
}

// PlayOn plays a scenario in an empty database.
func PlayOn(ctx context.Context, db *pgxpool.Pool, s *Scenario) ([]Failure, error) {
	keys, err := secret.New()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "billcycle-rehearsal-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	p := &player{story: s, ids: map[string]int64{}, mrns: map[string]string{}, files: map[string][]byte{}, batches: map[string]lockbox.Batch{}, failures: []Failure{}}
	p.house = jobs.House{DB: db, Policy: &s.policy, Keys: keys, Dir: dir, Operator: "rehearsal", Release: "second person", Workers: 1}
	if err := p.setUp(ctx, s.Steps[0].Date); err != nil {
		return nil, fmt.Errorf("before the first step: %w", err)
	}
	for n, step := range s.Steps {
		was, err := p.mark(ctx, p.ids[step.Account])
		if err != nil {
			return nil, err
		}
		if err := p.step(ctx, step); err != nil {
			if ctx.Err() != nil || postgres.IsUnavailable(err) {
				return nil, err
			}
			p.fail(n, stepName(step), "carried out", err.Error())
		}
		if err := p.compare(ctx, n, step, was); err != nil {
			return nil, fmt.Errorf("step %d: %w", n+1, err)
		}
	}
	return p.failures, nil
}

func stepName(s Step) string {
	if s.Verb != "" {
		return s.Verb
	}
	return "run"
}

// setUp enrols the story's members as of the day of its first step.
func (p *player) setUp(ctx context.Context, day calendar.Date) error {
	var members, enrolments [][]string
	enrolled := (calendar.CycleOf(day) - 1).First() // before the build day of any bill that the story may cut
	names := slices.Sorted(maps.Keys(p.story.Accounts))
	for n, name := range names {
		mrn := string(billing.NewMRN(int64(100000001 + n)))
		p.mrns[name] = mrn
		members = append(members, []string{mrn, mrn, "Account", name, "1 Main Street", "Oakland", cmp.Or(p.story.Accounts[name].State, "CA"), "94601", "paper", strings.ToLower(name) + "@example.com", fmt.Sprintf("510-555-01%02d", n%100)})
		if a := p.story.Accounts[name].Autopay; a != nil {
			enrolments = append(enrolments, enrolment(mrn, a.Method, n, enrolled))
		}
	}
	im := billing.Import{Policy: &p.story.policy, Day: day, Operator: p.house.Operator, Keys: p.house.Keys}
	if err := imported(im.Members(ctx, p.house.DB, csv("mrn,guarantor_mrn,first_name,last_name,address1,city,state,zip,delivery,email,phone", members...))); err != nil {
		return err
	}
	for _, name := range names {
		id, err := billing.Find(ctx, p.house.DB, p.mrns[name])
		if err != nil {
			return err
		}
		p.ids[name] = id
		open := p.story.Accounts[name]
		next := calendar.Cycle(0)
		if open.LastDebit != nil {
			next = calendar.CycleOf(day)
		}
		err = p.act(day, "open").Do(ctx, p.house.DB, p.mrns[name], func(a *billing.Account) error {
			a.Open(&p.story.policy, day, open.OpeningCredit, open.LastDebit, next)
			if open.Plan == "" {
				return nil
			}
			return a.Enrol(&p.story.policy, day, p.mrns[name], open.Plan, billing.Terms{StartOn: calendar.CycleOf(day).First()})
		})
		if err != nil {
			return err
		}
	}
	im.Day = enrolled
	return imported(im.Autopay(ctx, p.house.DB, csv(autopayHeader, enrolments...)))
}

const autopayHeader = "mrn,method,routing,account,account_type,card_token,authorized_on,authorized_by,ended_on"

func enrolment(mrn, method string, n int, day calendar.Date) []string {
	if method == "card" {
		return []string{mrn, "card", "", "", "", fmt.Sprintf("tok_%s_%d", mrn, n), day.String(), "web", ""}
	}
	return []string{mrn, "ach", "121000358", strconv.Itoa(9000000001 + n), "checking", "", day.String(), "written", ""}
}

// imported makes an error of what a feed refused.
func imported(got billing.Imported, err error) error {
	if len(got.Problems) > 0 {
		return fmt.Errorf("line %d, %s: %s", got.Problems[0].Line, got.Problems[0].Field, got.Problems[0].Problem)
	}
	return err
}

func (p *player) act(day calendar.Date, verb string) billing.Act {
	return billing.Act{Day: day, Operator: p.house.Operator, Reason: "rehearsal", Verb: verb}
}

// do carries out an act on the step's account.
func (p *player) do(ctx context.Context, s Step, do func(a *billing.Account) error) error {
	return p.act(s.Date, s.Verb).Do(ctx, p.house.DB, p.mrns[s.Account], do)
}

func (p *player) step(ctx context.Context, s Step) error {
	p.rejected = false
	if s.Verb != "" {
		verb, known := verbs[s.Verb]
		if !known {
			return fmt.Errorf("this version knows no verb %q", s.Verb)
		}
		if err := verb(p, ctx, s); err != nil {
			return err
		}
	}
	for _, job := range inOrder(s.Run) {
		if _, err := (jobs.Runner{House: p.house}).Run(ctx, job, s.Date); err != nil {
			return err
		}
	}
	return nil
}

// inOrder puts a step's jobs into the order of a night, however they are told.
func inOrder(run []string) []string {
	table := jobs.Jobs()
	place := func(name string) int {
		return slices.IndexFunc(table, func(j jobs.Job) bool { return j.Name == name })
	}
	return slices.SortedStableFunc(slices.Values(run), func(a, b string) int { return cmp.Compare(place(a), place(b)) })
}

// verbs are what may happen in a story.
var verbs = map[string]func(p *player, ctx context.Context, s Step) error{
	"charge": (*player).charge, "adjust": (*player).adjust, "pay": (*player).pay,
	"lockbox": (*player).lockbox, "match": (*player).match, "void": (*player).void, "check_return": (*player).checkReturn,
	"ach_return": (*player).achReturn, "ach_noc": (*player).achCorrection, "ach_edit": (*player).achEdit,
	"card": (*player).card, "optout": (*player).optout, "notice": (*player).notice,
	"dispute": (*player).dispute, "assist": (*player).assist, "hold": (*player).hold, "waive": (*player).waive, "refund": (*player).refund,
	"plan": (*player).plan, "coverage": (*player).coverage, "remit_unclaimed": (*player).remitUnclaimed,
}

func (p *player) charge(ctx context.Context, s Step) error {
	f, err := fields[struct {
		Kind        string       `json:"kind"`
		Cents       ledger.Cents `json:"cents"`
		ServiceDate string       `json:"service_date"`
		Ref         string       `json:"ref"`
	}](s.Fields)
	if err != nil {
		return err
	}
	if f.Ref == "" {
		p.numbers++
		f.Ref = fmt.Sprintf("charge-%d", p.numbers)
	}
	if f.ServiceDate == "" {
		f.ServiceDate = s.Date.String()
	}
	im := billing.Import{Policy: &p.story.policy, Day: s.Date, Operator: p.house.Operator, Keys: p.house.Keys}
	cents := strconv.FormatInt(int64(f.Cents), 10)
	return imported(im.Charges(ctx, p.house.DB, csv("charge_id,mrn,kind,service_date,description,gross_cents,insurer_cents,patient_cents",
		[]string{p.ref(s, f.Ref), p.mrns[s.Account], f.Kind, f.ServiceDate, f.Kind + " charge", cents, "0", cents})))
}

// ref is a charge's id: a story's names are per account.
func (p *player) ref(s Step, name string) string { return s.Account + "/" + name }

// charged returns the item that a ref names, or the kind if it is one.
func (p *player) charged(ctx context.Context, s Step, refOrKind string) (billing.Kind, int32, error) {
	if k := billing.Kind(refOrKind); k == billing.Premium || k == billing.Medical {
		return k, 0, nil
	}
	no, err := billing.ItemOfCharge(ctx, p.house.DB, p.mrns[s.Account], p.ref(s, refOrKind))
	return "", no, err
}

func (p *player) adjust(ctx context.Context, s Step) error {
	f, err := fields[struct {
		Kind  billing.Kind `json:"kind"`
		Cents ledger.Cents `json:"cents"`
		Ref   string       `json:"ref"`
	}](s.Fields)
	if err != nil {
		return err
	}
	item := int32(0)
	if f.Ref != "" {
		if _, item, err = p.charged(ctx, s, f.Ref); err != nil {
			return err
		}
	}
	return p.do(ctx, s, func(a *billing.Account) error {
		return a.Adjust(&p.story.policy, s.Date, f.Kind, f.Cents, item, billing.Detail{Description: "Adjustment"})
	})
}

func (p *player) pay(ctx context.Context, s Step) error {
	f, err := fields[struct {
		Channel  string       `json:"channel"`
		Cents    ledger.Cents `json:"cents"`
		Directed string       `json:"directed"`
		Payer    string       `json:"payer"`
	}](s.Fields)
	if err != nil {
		return err
	}
	p.numbers++
	im := billing.Import{Policy: &p.story.policy, Day: s.Date, Operator: p.house.Operator, Keys: p.house.Keys}
	return imported(im.Payments(ctx, p.house.DB, csv("payment_id,mrn,received,channel,amount_cents,directed,payer",
		[]string{fmt.Sprintf("payment-%d", p.numbers), p.mrns[s.Account], s.Date.String(), f.Channel, strconv.FormatInt(int64(f.Cents), 10), f.Directed, f.Payer})))
}

func (p *player) achEdit(ctx context.Context, s Step) error {
	f, err := fields[struct {
		Autopay string `json:"autopay"`
	}](s.Fields)
	if err != nil {
		return err
	}
	if f.Autopay != "on" && f.Autopay != "off" {
		return fmt.Errorf("autopay is on or off, not %q", f.Autopay)
	}
	method := "ach"
	if a := p.story.Accounts[s.Account].Autopay; a != nil {
		method = a.Method
	}
	p.numbers++ // a bank account of its own, so that it is news on any day
	row := enrolment(p.mrns[s.Account], method, 1000+p.numbers, s.Date)
	if f.Autopay == "off" {
		row[8] = s.Date.String()
	}
	im := billing.Import{Policy: &p.story.policy, Day: s.Date, Operator: p.house.Operator, Keys: p.house.Keys}
	return imported(im.Autopay(ctx, p.house.DB, csv(autopayHeader, row)))
}

func (p *player) dispute(ctx context.Context, s Step) error {
	f, err := fields[map[string]string](s.Fields)
	if err != nil {
		return err
	}
	for what, ref := range f {
		kind, item, err := p.charged(ctx, s, ref)
		if err != nil {
			return err
		}
		if what != "open" && what != "accept" && what != "deny" {
			return fmt.Errorf("a dispute is opened, accepted or denied, not %q", what)
		}
		err = p.do(ctx, s, func(a *billing.Account) (err error) {
			if what == "open" {
				_, err = a.Dispute(&p.story.policy, s.Date, kind, item)
			} else {
				_, err = a.Settle(&p.story.policy, s.Date, kind, item, what == "accept")
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *player) assist(ctx context.Context, s Step) error {
	f, err := fields[struct {
		Percent json.Number  `json:"percent"`
		Kind    billing.Kind `json:"kind"`
	}](s.Fields)
	if err != nil {
		return err
	}
	percent, err := ledger.ParsePercent(f.Percent.String())
	if err != nil {
		return err
	}
	return p.do(ctx, s, func(a *billing.Account) error {
		a.Assist(&p.story.policy, s.Date, f.Kind, percent)
		return nil
	})
}

func (p *player) hold(ctx context.Context, s Step) error {
	f, err := fields[struct {
		Place   bool   `json:"place"`
		Release bool   `json:"release"`
		Reason  string `json:"reason"`
	}](s.Fields)
	if err != nil {
		return err
	}
	if f.Place == f.Release {
		return fmt.Errorf("a hold is either placed or released")
	}
	return p.do(ctx, s, func(a *billing.Account) error {
		if f.Place {
			a.Place(s.Date, cmp.Or(f.Reason, "hold"), p.house.Operator, "", false)
			return nil
		}
		// Of several holds the one that it names; in other words, all.
		if f.Reason != "" && a.Release(s.Date, f.Reason, p.house.Operator) || a.Release(s.Date, "", p.house.Operator) {
			return nil
		}
		return fmt.Errorf("the account is not on hold")
	})
}

func (p *player) waive(ctx context.Context, s Step) error {
	f, err := fields[struct {
		Kind   string       `json:"kind"`
		Cents  ledger.Cents `json:"cents"`
		Reason string       `json:"reason"`
	}](s.Fields)
	if err != nil {
		return err
	}
	origin, known := map[string]string{"late": billing.FromLateFee, "returned": billing.FromReturnedFee}[f.Kind]
	if !known {
		return fmt.Errorf("a late or a returned fee is waived, not %q", f.Kind)
	}
	return p.do(ctx, s, func(a *billing.Account) error { return a.Waive(&p.story.policy, s.Date, origin, f.Cents) })
}

func (p *player) refund(ctx context.Context, s Step) error {
	f, err := fields[struct {
		Cents ledger.Cents `json:"cents"`
		To    string       `json:"to"`
	}](s.Fields)
	if err != nil {
		return err
	}
	if f.To != "member" && f.To != "payer" {
		return fmt.Errorf("a refund goes to the member or the payer, not %q", f.To)
	}
	return p.do(ctx, s, func(a *billing.Account) error { return a.Refund(&p.story.policy, s.Date, f.Cents, f.To == "payer") })
}
