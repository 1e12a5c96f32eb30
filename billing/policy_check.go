package billing

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/billcycle/billcycle/ledger"
)

// Which values a policy can't have. Each section refuses what no job could
// follow, in a method of its own; policy.check finds them.

// checker is a section of a policy that knows which of its values can't be.
type checker interface{ check(r *refuser) }

// refuser takes down the first value that is refused.
type refuser struct {
	section string
	err     error
}

func (r *refuser) refuse(key, format string, args ...any) {
	if r.err == nil {
		r.err = &PolicyError{join(r.section, key), fmt.Sprintf(format, args...)}
	}
}

func (r *refuser) between(key string, v, low, high int) {
	if v < low || v > high {
		r.refuse(key, "%d is not between %d and %d", v, low, high)
	}
}

func (r *refuser) cents(key string, c ledger.Cents) {
	if c < 0 || c > maxFee {
		r.refuse(key, "%d is not between 0 and %d cents", c, maxFee)
	}
}

// maxFee is a million dollars: a larger bound or fee is a slip.
const maxFee ledger.Cents = 100_000_000

// check refuses values that no job could follow.
func (p *Policy) check() error {
	r := &refuser{}
	if _, err := time.LoadLocation(p.TimeZone); err != nil || p.TimeZone == "" {
		r.refuse("time_zone", "%q is not a time zone (such as America/Los_Angeles)", p.TimeZone)
	}
	r.cents("returned_payment_fee_cents", p.ReturnedPaymentFeeCents)
	v := reflect.ValueOf(p).Elem()
	for i := range v.NumField() {
		if !v.Type().Field(i).IsExported() {
			continue
		}
		if section, checks := v.Field(i).Interface().(checker); checks {
			r.section = v.Type().Field(i).Tag.Get("json")
			section.check(r)
		}
	}
	r.section = "print"
	p.Print.places(p.Delivery, r)
	if r.section = "company"; p.ACH.Balanced && !offsetAccount.MatchString(p.Company.OffsetAccount) {
		r.refuse("offset_account", "a balanced file (ach.balanced) credits our own account: give its number, 1 to 17 digits, letters, hyphens and inner blanks")
	}
	return r.err
}

func (s StatementPolicy) check(r *refuser) {
	r.between("cut_day", s.CutDay, 1, 28)
	if s.DueDay <= s.CutDay || s.DueDay > 31 {
		r.refuse("due_day", "%d is not after the cut day, %d, and at most 31", s.DueDay, s.CutDay)
	}
	if a := s.AgingDays; !(0 < a[0] && a[0] < a[1] && a[1] < a[2]) {
		r.refuse("aging_days", "%v does not rise", a)
	}
}

func (f LateFeePolicy) check(r *refuser) {
	if f.Kind != "flat" && f.Kind != "percent" {
		r.refuse("kind", "%q is neither flat nor percent", f.Kind)
	}
	percent, err := ledger.ParsePercent(f.Percent)
	if err != nil {
		r.refuse("percent", "%v", err)
	} else if percent.Of(100) > 100 {
		r.refuse("percent", "%s is more than the whole: 1.5 is one and a half percent", f.Percent)
	}
	r.between("grace_days", f.GraceDays, 0, 365)
	r.cents("cents", f.Cents)
	r.cents("min_cents", f.MinCents)
	r.cents("minimum_base_cents", f.MinimumBaseCents)
	if f.MaxCents != nil {
		r.cents("max_cents", *f.MaxCents)
		if *f.MaxCents < f.MinCents {
			r.refuse("max_cents", "%d is below min_cents %d", *f.MaxCents, f.MinCents)
		}
	}
}

func (l LockboxPolicy) check(r *refuser) { r.between("posting_days", l.PostingDays, 0, 30) }

func (a AllocationPolicy) check(r *refuser) {
	if o := slices.Sorted(slices.Values(a.Order)); !slices.Equal(o, []Kind{Fee, Medical, Premium}) {
		r.refuse("order", "want premium, medical and fee, each once, found %v", a.Order)
	}
}

func (a ACHPolicy) check(r *refuser) {
	r.between("lead_banking_days", a.LeadBankingDays, 1, 5)
	r.between("retries", a.Retries, 0, 2)
	r.between("retry_within_days", a.RetryWithinDays, 0, 180)
	r.between("regulation_e_notice_days", a.RegulationENoticeDays, 0, 365)
	if len(a.RetryAfterBankingDays) < a.Retries {
		r.refuse("retry_after_banking_days", "%d retries need as many waiting times, found %v", a.Retries, a.RetryAfterBankingDays)
	}
	for _, n := range a.RetryAfterBankingDays {
		if n < a.LeadBankingDays || n > 180 {
			r.refuse("retry_after_banking_days", "a retry %d banking days after its return can't be built %d before", n, a.LeadBankingDays)
		}
	}
	listed := map[string]string{}
	for _, list := range []struct {
		key   string
		codes []string
	}{{"retry_codes", a.RetryCodes}, {"off_codes", a.OffCodes}, {"ended_codes", a.EndedCodes}} {
		for _, code := range list.codes {
			if len(code) != 3 || code[0] != 'R' || strings.Trim(code[1:], "0123456789") != "" {
				r.refuse(list.key, "%q is not a return code (such as R01)", code)
			}
			if before := listed[code]; before != "" {
				r.refuse(list.key, "%s is in %s already", code, before)
			}
			listed[code] = list.key
		}
	}
	if a.MaxEntriesPerFile < 0 {
		r.refuse("max_entries_per_file", "%d is below 0; 0 is as many as a file holds", a.MaxEntriesPerFile)
	}
	if a.MaxCentsPerEntry < 0 {
		r.refuse("max_cents_per_entry_cents", "%d is below 0; 0 is as much as a field holds", a.MaxCentsPerEntry)
	}
	if a.MaxCentsPerFile < 0 {
		r.refuse("max_cents_per_file_cents", "%d is below 0; 0 is as much as a field holds", a.MaxCentsPerFile)
	}
}

// offsetAccount is what an account number may be in a Nacha file.
var offsetAccount = regexp.MustCompile(`^[0-9A-Za-z-]([0-9A-Za-z -]{0,15}[0-9A-Za-z-])?$`)

func (c Company) check(r *refuser) {
	for _, w := range c.Wrong() {
		r.refuse(w.Path, "%s", w.Says)
	}
	if !isRouting(c.ODFI) {
		r.refuse("odfi", "%q is not a routing number: 9 digits, the last a check digit", c.ODFI)
	}
}

// Nacha's own words for entries presented again and for reversals, which no
// company may use for its payments (Operating Rules 2.12.4 and 2.9).
const (
	RetryDescription    = "RETRY PYMT"
	ReversalDescription = "REVERSAL"
)

// Wrong says what of the company's own words does not fit into the fields of a Nacha
// file, by its key.
func (c Company) Wrong() (all []PolicyError) {
	wrong := func(key, format string, args ...any) {
		all = append(all, PolicyError{key, fmt.Sprintf(format, args...)})
	}
	for _, f := range []struct {
		key, value string
		width      int
		required   bool
	}{
		{"name", c.Name, 16, true},
		{"id", c.ID, 10, true},
		{"entry_description", c.EntryDescription, 10, true},
		{"odfi_name", c.ODFIName, 23, false},
		{"origin", c.Origin, 10, true},
	} {
		switch {
		case strings.ContainsFunc(f.value, func(c rune) bool { return c < ' ' || c > '~' }):
			wrong(f.key, "%q holds a character that is not printable ASCII; write it without", f.value)
		case len(f.value) > f.width:
			wrong(f.key, "%q is %d characters long; the field has room for %d", f.value, len(f.value), f.width)
		case strings.TrimSpace(f.value) != f.value:
			wrong(f.key, "%q begins or ends with a blank", f.value)
		case f.required && strings.Trim(f.value, " 0") == "":
			wrong(f.key, "%q is empty or zeros", f.value)
		}
	}
	if c.EntryDescription == RetryDescription || c.EntryDescription == ReversalDescription {
		wrong("entry_description", "%s is reserved; give the payments' own word, such as PREMIUM", c.EntryDescription)
	}
	if len(c.Origin) < 9 || strings.Contains(c.Origin, " ") {
		wrong("origin", "%q is not 9 or 10 characters without blanks", c.Origin)
	}
	return all
}

func (c CardPolicy) check(r *refuser) {
	r.between("retries", c.Retries, 0, 10)
	r.between("retry_after_days", c.RetryAfterDays, 1, 365)
	if kind := c.Gateway.Kind; kind != "" && kind != "stripe" {
		r.refuse("gateway.kind", "%q is no gateway that is known here; want stripe", kind)
	}
}

func (m ReminderPolicy) check(r *refuser) {
	r.between("first_days_before", m.FirstDaysBefore, 0, 60)
	r.between("last_days_before", m.LastDaysBefore, 0, m.FirstDaysBefore)
	for n, channel := range m.Channels {
		if channel != "text" && channel != "email" || slices.Contains(m.Channels[:n], channel) {
			r.refuse("channels", "%q can't be in %v: want text and email, each at most once", channel, m.Channels)
		}
	}
}

func (l PlanPolicy) check(r *refuser) { r.between("broken_after_missed", l.BrokenAfterMissed, 1, 100) }

func (g GracePolicy) check(r *refuser) {
	r.between("aptc_months", g.APTCMonths, 1, 12)
	r.between("claims_paid_months", g.ClaimsPaidMonths, 0, g.APTCMonths)
	r.between("coverage_kept_months", g.CoverageKeptMonths, 0, g.APTCMonths)
}

func (d DormancyPolicy) check(r *refuser) {
	r.between("years", d.Years, 1, 100)
	r.between("report_month", d.ReportMonth, 1, 12)
}

func (b Biller) check(r *refuser) {
	if l := b.Languages; len(l) == 0 || slices.ContainsFunc(l, func(s string) bool { return s != "en" && s != "es" }) {
		r.refuse("languages", "statements are printed in en and es, one or both, found %v", l)
	}
	if !brandColor.MatchString(b.BrandColor) {
		r.refuse("brand_color", "%q is not a color such as #003C64", b.BrandColor)
	}
}

var brandColor = regexp.MustCompile(`^#[0-9A-Fa-f]{6}$`)

func (j JournalPolicy) check(r *refuser) {
	for _, name := range slices.Sorted(maps.Keys(j.Accounts)) {
		switch code := j.Accounts[name]; {
		case !slices.Contains(ledger.GLAccounts, name):
			r.refuse("accounts."+name, "no such account; the ledger has %s", strings.Join(ledger.GLAccounts, ", "))
		case code == "" || len(code) > 40 || strings.ContainsFunc(code, func(c rune) bool { return c < ' ' || c > '~' }):
			r.refuse("accounts."+name, "%q can't stand in a file: give 1 to 40 letters, digits or signs", code)
		}
	}
}
