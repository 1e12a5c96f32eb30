package billing

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/billcycle/billcycle/calendar"
)

// A policy file may hold several policies: what stands at its top holds always
// and for everybody, and each of its "policies" changes some keys of that from a
// day on, for some plans or states. Which of them decide for a bill follows
// from its cut day and from the plan and state that its account then had.

// Subject is what of an account a policy may be for. The zero value is an
// account of no plan and no state that a policy names.
type Subject struct {
	Plan  string // the guarantor's, or of the member that was covered first
	State string // the guarantor's
}

// amendment is one of a file's "policies".
type amendment struct {
	path string // policies[2]
	from calendar.Date
	for_ struct {
		Plans  []string `json:"plans"`
		States []string `json:"states"`
	}
	keys map[string]json.RawMessage // what it changes
}

// dated is what a policy file says that does not hold always, for everybody.
type dated struct {
	plain map[string]json.RawMessage
	list  []*amendment // the later ones beat those before
	known sync.Map     // by which of list are in force: *Policy
	all   []*Policy    // every one that can be in force
}

// selective are the sections that may differ by plan and state; datedOnly those
// that may change with a day, but not by account: whose a check is may not be
// known when it comes in.
var (
	selective = []string{"statement", "late_fee", "returned_payment_fee_cents", "allocation", "ach", "card", "reminder", "plan", "grace", "dormancy"}
	datedOnly = []string{"lockbox"}
	// wholeHouse are keys of those that are about a file or a gateway, not about
	// a bill.
	wholeHouse = map[string][]string{"ach": {"max_entries_per_file", "max_cents_per_entry_cents", "max_cents_per_file_cents", "balanced", "prenote"}, "card": {"gateway"}}
)

func parseDated(plain map[string]json.RawMessage, raw json.RawMessage) (*dated, error) {
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil || list == nil {
		return nil, &PolicyError{"policies", fmt.Sprintf("%s can't be used here: want a list [{\"from\": \"2026-07-01\", ...}]", compact(raw))}
	}
	d := &dated{plain: plain}
	for n, raw := range list {
		a, err := parseAmendment(fmt.Sprintf("policies[%d]", n), raw)
		if err != nil {
			return nil, err
		}
		for _, other := range d.list {
			if a.rank() == other.rank() && a.from == other.from && a.meets(other) {
				return nil, &PolicyError{a.path, fmt.Sprintf("it holds from the same day for some of the same accounts as %s: make one of the two", other.path)}
			}
		}
		d.list = append(d.list, a)
	}
	if len(d.list) == 0 {
		return nil, nil
	}
	slices.SortStableFunc(d.list, func(a, b *amendment) int { return cmp.Or(a.rank()-b.rank(), cmp.Compare(a.from, b.from)) })
	return d, d.checkAll()
}

func parseAmendment(path string, raw json.RawMessage) (*amendment, error) {
	keys, err := object(path, raw)
	if err != nil {
		return nil, err
	}
	a := &amendment{path: path, keys: keys}
	if raw, given := keys["from"]; given {
		if err := strict(path+".from", raw, reflect.ValueOf(&a.from).Elem()); err != nil {
			return nil, err
		}
	}
	if raw, given := keys["for"]; given {
		if err := strict(path+".for", raw, reflect.ValueOf(&a.for_).Elem()); err != nil {
			return nil, err
		}
		if a.rank() == 0 {
			return nil, &PolicyError{path + ".for", "it names neither plans nor states; leave it out to mean everybody"}
		}
	}
	delete(keys, "from")
	delete(keys, "for")
	for n, state := range a.for_.States {
		if len(state) != 2 || strings.Trim(state, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			return nil, &PolicyError{fmt.Sprintf("%s.for.states[%d]", path, n), fmt.Sprintf("%q is not a state's two capital letters", state)}
		}
	}
	for n, plan := range a.for_.Plans {
		if plan == "" {
			return nil, &PolicyError{fmt.Sprintf("%s.for.plans[%d]", path, n), "a plan has a name"}
		}
	}
	return a, a.checkKeys()
}

// checkKeys refuses keys that can't change with a day or by account.
func (a *amendment) checkKeys() error {
	if len(a.keys) == 0 {
		return &PolicyError{a.path, "it changes nothing: give it a section, such as late_fee"}
	}
	p := DefaultPolicy()
	if err := fill(a.path, a.keys, reflect.ValueOf(&p).Elem()); err != nil {
		return err
	}
	for name, raw := range a.keys {
		switch {
		case slices.Contains(datedOnly, name):
			if a.rank() > 0 {
				return &PolicyError{join(a.path, name), "it is the same for everybody: put it into a policy without for"}
			}
		case !slices.Contains(selective, name):
			return &PolicyError{join(a.path, name), "it is one for the whole house: put it at the top of the file, outside of policies"}
		default:
			inside, _ := object("", raw) // fill has read it
			for _, key := range wholeHouse[name] {
				if _, given := inside[key]; given {
					return &PolicyError{join(a.path, name+"."+key), "it is one for the whole house: put it at the top of the file, outside of policies"}
				}
			}
		}
	}
	return nil
}

// rank says how closely the accounts are chosen: a closer choice beats a wider
// one, whatever their days.
func (a *amendment) rank() (rank int) {
	if len(a.for_.States) > 0 {
		rank++
	}
	if len(a.for_.Plans) > 0 {
		rank += 2
	}
	return rank
}

// meets says whether two amendments of one rank may hold for one account.
func (a *amendment) meets(b *amendment) bool {
	shared := func(x, y []string) bool {
		return len(x) == 0 || slices.ContainsFunc(x, func(s string) bool { return slices.Contains(y, s) })
	}
	return shared(a.for_.Plans, b.for_.Plans) && shared(a.for_.States, b.for_.States)
}

func (a *amendment) holds(on calendar.Date, s Subject) bool {
	return a.from <= on && (len(a.for_.Plans) == 0 || slices.Contains(a.for_.Plans, s.Plan)) && (len(a.for_.States) == 0 || slices.Contains(a.for_.States, s.State))
}

// For returns the policy in force on a day for an account: its rules of money.
// What is one for the whole house is p's own.
func (p *Policy) For(on calendar.Date, s Subject) *Policy {
	if p.dated == nil {
		return p
	}
	q, err := p.dated.inForce(on, s)
	if err != nil {
		panic(err) // checkAll has resolved it before
	}
	return q
}

// inForce resolves each combination of policies once.
func (d *dated) inForce(on calendar.Date, s Subject) (*Policy, error) {
	var marks [16]byte
	key := marks[:0]
	for n, a := range d.list {
		if n%8 == 0 {
			key = append(key, 0)
		}
		if a.holds(on, s) {
			key[n/8] |= 1 << (n % 8)
		}
	}
	if known, ok := d.known.Load(string(key)); ok {
		return known.(*Policy), nil
	}
	resolved, err := d.resolve(on, s)
	if err != nil {
		return nil, err
	}
	known, _ := d.known.LoadOrStore(string(key), resolved)
	return known.(*Policy), nil
}

// resolve reads everything that is in force anew, so that no two policies share
// a list.
func (d *dated) resolve(on calendar.Date, s Subject) (*Policy, error) {
	p := DefaultPolicy()
	if err := fill("", d.plain, reflect.ValueOf(&p).Elem()); err != nil {
		return nil, err
	}
	var held []*amendment
	for _, a := range d.list {
		if a.holds(on, s) {
			if err := fill(a.path, a.keys, reflect.ValueOf(&p).Elem()); err != nil {
				return nil, err
			}
			held = append(held, a)
		}
	}
	err := p.check()
	if refused, ok := err.(*PolicyError); ok {
		for _, a := range held {
			if a.gives(refused.Path) {
				err = &PolicyError{join(a.path, refused.Path), refused.Says}
			}
		}
	}
	return &p, err
}

// gives says whether an amendment sets the key at a path.
func (a *amendment) gives(path string) bool {
	section, key, inside := strings.Cut(path, ".")
	raw, given := a.keys[section]
	if !given || !inside {
		return given
	}
	keys, err := object("", raw)
	_, given = keys[key]
	return err == nil && given
}

// checkAll resolves every policy that can be in force.
func (d *dated) checkAll() error {
	days, plans, states := []calendar.Date{0}, []string{""}, []string{""}
	for _, a := range d.list {
		days, plans, states = append(days, a.from), append(plans, a.for_.Plans...), append(states, a.for_.States...)
	}
	slices.Sort(days)
	slices.Sort(plans)
	slices.Sort(states)
	for _, day := range slices.Compact(days) {
		for _, plan := range slices.Compact(plans) {
			for _, state := range slices.Compact(states) {
				p, err := d.inForce(day, Subject{plan, state})
				if err != nil {
					return err
				}
				if !slices.Contains(d.all, p) {
					d.all = append(d.all, p)
				}
			}
		}
	}
	return nil
}

// selects says whether it matters which plan and state an account has.
func (p *Policy) selects() bool {
	return p.dated != nil && p.dated.list[len(p.dated.list)-1].rank() > 0
}

// All returns every policy that may be in force for some account on some day.
func (p *Policy) All() []*Policy {
	if p.dated == nil {
		return []*Policy{p}
	}
	return p.dated.all
}

// Widest returns the smallest and the largest value that a number has in any
// policy: what chooses from the database must not leave out what a rule decides.
func (p *Policy) Widest(number func(*Policy) int) (least, most int) {
	least, most = number(p.All()[0]), number(p.All()[0])
	for _, q := range p.All() {
		least, most = min(least, number(q)), max(most, number(q))
	}
	return least, most
}

// of returns the policy that decides for a bill: the one in force on its cut
// day, for the plan and state that its account then had.
func (p *Policy) of(b *Bill) *Policy { return p.For(b.CutOn, b.Subject) }

// policy returns the policy that decides about an account where no bill is
// meant: that of its newest bill, which its member has in hand, or before the
// first that of the day.
func (a *Account) policy(p *Policy, day calendar.Date) *Policy {
	if b := a.NewestBill(); b != nil {
		return p.of(b)
	}
	return p.For(day, a.subject(day))
}

// subject is what the account is on a day. It is known of accounts that were
// loaded as Policy.Need says.
func (a *Account) subject(day calendar.Date) Subject {
	s := Subject{State: a.state}
	periods := a.Coverages
	if !a.whole {
		periods = a.covered
	}
	for _, own := range []bool{true, false} {
		for _, c := range periods {
			if c.Covers(day) && (c.MRN == a.MRN) == own {
				s.Plan = c.Plan
				return s
			}
		}
	}
	return s
}

// cutOn is the cut day of an account's cycle: the first day of its month on
// which the policy in force says that the cut day has come.
func (a *Account) cutOn(p *Policy, c calendar.Cycle) calendar.Date {
	if p.dated == nil {
		return c.CutOn(p.Statement.CutDay)
	}
	for on := c.First(); ; on++ {
		if c.CutOn(p.For(on, a.subject(on)).Statement.CutDay) <= on {
			return on
		}
	}
}

// Fingerprint is a hash of all that a policy says: of two programs that have the
// same, each would decide as the other.
func (p *Policy) Fingerprint() string {
	type held struct {
		From calendar.Date              `json:"from"`
		For  any                        `json:"for"`
		Keys map[string]json.RawMessage `json:"keys"`
	}
	all := struct {
		Always *Policy
		Then   []held
	}{Always: p}
	if p.dated != nil {
		for _, a := range p.dated.list {
			all.Then = append(all.Then, held{a.from, a.for_, a.keys})
		}
	}
	text, err := json.Marshal(all)
	if err != nil {
		panic(err) // it was read from JSON
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}
