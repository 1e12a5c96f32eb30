package billing

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // a bare machine may have no zone files

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// Policy is every number and name that a biller may configure. A policy file
// holds only the keys that differ from DefaultPolicy.
type Policy struct {
	TimeZone                string           `json:"time_zone"` // decides which date a moment belongs to
	Statement               StatementPolicy  `json:"statement"`
	LateFee                 LateFeePolicy    `json:"late_fee"`
	ReturnedPaymentFeeCents ledger.Cents     `json:"returned_payment_fee_cents"`
	Lockbox                 LockboxPolicy    `json:"lockbox"`
	Allocation              AllocationPolicy `json:"allocation"`
	ACH                     ACHPolicy        `json:"ach"`
	Card                    CardPolicy       `json:"card"`
	Reminder                ReminderPolicy   `json:"reminder"`
	Plan                    PlanPolicy       `json:"plan"`
	Grace                   GracePolicy      `json:"grace"`
	Dormancy                DormancyPolicy   `json:"dormancy"`
	Journal                 JournalPolicy    `json:"journal"`
	Biller                  Biller           `json:"biller"`
	Company                 Company          `json:"company"`
	Lockboxes               []LockboxAccount `json:"lockboxes"`
	Delivery                DeliveryPolicy   `json:"delivery"`
}

// StatementPolicy says when statements are cut and due.
type StatementPolicy struct {
	CutDay    int    `json:"cut_day"`    // 1 to 28
	DueDay    int    `json:"due_day"`    // after the cut day; the month's last day if it is shorter
	AgingDays [3]int `json:"aging_days"` // the aging buckets' first days
}

// LateFeePolicy says what a late bill costs, and from when.
type LateFeePolicy struct {
	Kind             string        `json:"kind"`    // flat or percent
	Cents            ledger.Cents  `json:"cents"`   // flat only
	Percent          string        `json:"percent"` // percent only, of the base
	MinCents         ledger.Cents  `json:"min_cents"`
	MaxCents         *ledger.Cents `json:"max_cents"`
	GraceDays        int           `json:"grace_days"` // calendar days after the due date, not rolled
	MinimumBaseCents ledger.Cents  `json:"minimum_base_cents"`
}

// LockboxPolicy says when mailed checks post.
type LockboxPolicy struct {
	PostingDays int `json:"posting_days"` // calendar days after received, then rolled: 7, so that none takes more than 10
}

// AllocationPolicy is the order in which open items take money.
type AllocationPolicy struct {
	Order []Kind `json:"order"`
}

// ACHPolicy says when debits are built and what their returns lead to.
type ACHPolicy struct {
	LeadBankingDays       int      `json:"lead_banking_days"`
	Retries               int      `json:"retries"`                   // at most 2 (Nacha 2.12.4)
	RetryAfterBankingDays []int    `json:"retry_after_banking_days"`  // after the first, the second return
	RetryWithinDays       int      `json:"retry_within_days"`         // of the first effective date, at most 180
	RegulationENoticeDays int      `json:"regulation_e_notice_days"`  // 12 CFR 1005.10(d)
	RetryCodes            []string `json:"retry_codes"`               // not enough money: tried again
	OffCodes              []string `json:"off_codes"`                 // no such account
	EndedCodes            []string `json:"ended_codes"`               // not authorized
	MaxEntriesPerFile     int      `json:"max_entries_per_file"`      // 0 = as many as a file holds
	MaxCentsPerEntry      int64    `json:"max_cents_per_entry_cents"` // 0 = what a field holds
	MaxCentsPerFile       int64    `json:"max_cents_per_file_cents"`  // of its debits; 0 = what a field holds
	Balanced              bool     `json:"balanced"`                  // with an offsetting credit
}

// CardPolicy says when declined cards are tried again.
type CardPolicy struct {
	RetryAfterDays int         `json:"retry_after_days"`
	Retries        int         `json:"retries"`
	Gateway        CardGateway `json:"gateway"`
}

// CardGateway is the processor that keeps the cards. Without a kind, charges
// leave as files in outbox/card, and answers come as files into inbox/card.
type CardGateway struct {
	Kind    string `json:"kind"`     // stripe
	URL     string `json:"url"`      // another address than its own, such as a proxy's
	KeyFile string `json:"key_file"` // holds the API key, mode 0600
}

// ReminderPolicy is the window before the due date in which members are reminded.
type ReminderPolicy struct {
	FirstDaysBefore int      `json:"first_days_before"`
	LastDaysBefore  int      `json:"last_days_before"`
	Channels        []string `json:"channels"`
}

// PlanPolicy says when a payment plan is broken.
type PlanPolicy struct {
	BrokenAfterMissed int `json:"broken_after_missed"`
}

// GracePolicy is the premium grace of members with tax credits.
type GracePolicy struct {
	APTCMonths         int  `json:"aptc_months"`
	ClaimsPaidMonths   int  `json:"claims_paid_months"`
	CoverageKeptMonths int  `json:"coverage_kept_months"`
	LateFeeOnPremium   bool `json:"late_fee_on_premium"`
}

// DormancyPolicy says when old credit becomes unclaimed property.
type DormancyPolicy struct {
	Years       int  `json:"years"`
	Letter      bool `json:"letter"`
	ReportMonth int  `json:"report_month"`
}

// JournalPolicy says how the journal's files name what they hold.
type JournalPolicy struct {
	Accounts ledger.Chart `json:"accounts"` // the biller's chart of accounts, by ours
}

// Biller is who sends the statements.
type Biller struct {
	Name       string   `json:"name"`
	Sender     []string `json:"sender"`   // return address lines
	RemitTo    []string `json:"remit_to"` // the lockbox's address lines
	Phone      string   `json:"phone"`
	Hours      string   `json:"hours"`
	Web        string   `json:"web"`
	Assistance string   `json:"assistance"`  // where to ask for financial assistance; "" is web/financial-assistance
	BrandColor string   `json:"brand_color"` // #rrggbb
	Logo       string   `json:"logo"`        // a PNG or JPEG file, its path from the policy's folder
	Languages  []string `json:"languages"`   // statements are printed in; the first for everybody else
	Notices    []Notice `json:"notices"`     // paragraphs for the second page

	LogoImage []byte `json:"-"` // the file's bytes
}

// Notice is a paragraph that the biller prints on every statement.
type Notice struct {
	Language string `json:"language"` // "" for all
	Title    string `json:"title"`
	Text     string `json:"text"`
}

// Company is the biller as its bank knows it.
type Company struct {
	Name             string `json:"name"`              // 16 characters, on the member's bank statement
	ID               string `json:"id"`                // 10 characters
	EntryDescription string `json:"entry_description"` // 10 characters
	ODFI             string `json:"odfi"`              // routing number of our bank, 9 digits
	ODFIName         string `json:"odfi_name"`
	Origin           string `json:"origin"` // immediate origin, as the bank assigned it
	OffsetAccount    string `json:"offset_account"`
}

// LockboxAccount is one of our boxes at a bank.
type LockboxAccount struct {
	Lockbox string `json:"lockbox"` // its number
	Profile string `json:"profile"` // the layout of its files
	Routing string `json:"routing"` // the bank's number in its files, "" to take any
	// SilentWhenEmpty: the bank sends no file of a banking day without mail.
	// Else one is missed for every banking day.
	SilentWhenEmpty bool `json:"silent_when_empty"`
}

// DefaultPolicy is what the jobs do when nothing is configured.
func DefaultPolicy() Policy {
	return Policy{
		TimeZone:                "America/Los_Angeles",
		Statement:               StatementPolicy{CutDay: 1, DueDay: 25, AgingDays: [3]int{30, 60, 90}},
		LateFee:                 LateFeePolicy{Kind: "flat", Cents: 1000, Percent: "0", GraceDays: 5, MinimumBaseCents: 2500},
		ReturnedPaymentFeeCents: 2500,
		Lockbox:                 LockboxPolicy{PostingDays: 7},
		Allocation:              AllocationPolicy{Order: []Kind{Premium, Medical, Fee}},
		ACH: ACHPolicy{LeadBankingDays: 1, Retries: 2, RetryAfterBankingDays: []int{3, 7}, RetryWithinDays: 180, RegulationENoticeDays: 10,
			RetryCodes: []string{"R01", "R09"}, OffCodes: []string{"R02", "R03", "R04"}, EndedCodes: []string{"R05", "R07", "R10", "R11", "R29", "R51"}},
		Card:     CardPolicy{RetryAfterDays: 3, Retries: 2},
		Reminder: ReminderPolicy{FirstDaysBefore: 10, LastDaysBefore: 7, Channels: []string{"text", "email"}},
		Plan:     PlanPolicy{BrokenAfterMissed: 2},
		Grace:    GracePolicy{APTCMonths: 3, ClaimsPaidMonths: 1, CoverageKeptMonths: 1},
		Dormancy: DormancyPolicy{Years: 3, Letter: true, ReportMonth: 10},
		Journal:  JournalPolicy{Accounts: ledger.DefaultChart()},
		Biller: Biller{Name: "Member Health Plan, Inc.", Sender: []string{"Member Health Plan, Inc.", "PO Box 12929", "Oakland CA 94604-2929"},
			RemitTo: []string{"MEMBER HEALTH PLAN INC", "PO BOX 742680", "LOS ANGELES CA 90074-2680"},
			Phone:   "1-800-555-0100 (TTY 711)", Hours: "Monday to Friday, 7 am to 7 pm", Web: "memberhealth.example", BrandColor: "#003C64", Languages: []string{"en", "es"}, Notices: []Notice{}},
		Company:   Company{Name: "MEMBER HEALTH", ID: "1941234567", EntryDescription: "PREMIUM", ODFI: "121000358", ODFIName: "FIRST EXAMPLE BANK", Origin: "1941234567"},
		Lockboxes: []LockboxAccount{},
		Delivery:  DeliveryPolicy{Places: map[string]PlacePolicy{}},
	}
}

// PolicyError is a key of a policy that can't be used.
type PolicyError struct {
	Path string // late_fee.kind
	Says string
}

func (e *PolicyError) Error() string { return fmt.Sprintf("policy: %s: %s", e.Path, e.Says) }

// LoadPolicy reads a policy file over the defaults; "" is the defaults.
func LoadPolicy(path string) (Policy, error) {
	if path == "" {
		return DefaultPolicy(), nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return Policy{}, &PolicyError{path, err.Error()}
	}
	p, err := ParsePolicy(b)
	if err == nil && p.Biller.Logo != "" {
		err = p.Biller.readLogo(filepath.Dir(path))
	}
	return p, err
}

const maxLogoBytes = 256 << 10 // it stands in every statement's file

// readLogo reads the logo's file, its path from the policy's folder.
func (b *Biller) readLogo(folder string) error {
	path := b.Logo
	if !filepath.IsAbs(path) {
		path = filepath.Join(folder, path)
	}
	image, err := os.ReadFile(path)
	if err != nil {
		return &PolicyError{"biller.logo", err.Error()}
	}
	if kind := http.DetectContentType(image); kind != "image/png" && kind != "image/jpeg" {
		return &PolicyError{"biller.logo", fmt.Sprintf("%s is no PNG or JPEG, but %s", path, kind)}
	}
	if len(image) > maxLogoBytes {
		return &PolicyError{"biller.logo", fmt.Sprintf("%s has %d bytes; at most %d keep statements small", path, len(image), maxLogoBytes)}
	}
	b.LogoImage = image
	return nil
}

// ParsePolicy reads overrides over the defaults. An unknown key, a wrong type
// or an impossible value is a *PolicyError that names its path.
func ParsePolicy(overrides []byte) (Policy, error) {
	p := DefaultPolicy()
	if len(bytes.TrimSpace(overrides)) > 0 {
		if err := strict("", overrides, reflect.ValueOf(&p).Elem()); err != nil {
			return Policy{}, err
		}
	}
	return p, p.check()
}

// strict decodes JSON into v key by key, so that an error can name its path;
// encoding/json alone can't.
func strict(path string, raw json.RawMessage, v reflect.Value) error {
	if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct {
		return strictList(path, raw, v)
	}
	if v.Kind() != reflect.Struct && v.Kind() != reflect.Map {
		if err := json.Unmarshal(raw, v.Addr().Interface()); err != nil {
			return &PolicyError{path, fmt.Sprintf("%s can't be used here: want %s", compact(raw), wanted(v.Type()))}
		}
		return nil
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(raw, &keys); err != nil || keys == nil {
		return &PolicyError{orTop(path), "want an object {...}, found " + compact(raw)}
	}
	if v.Kind() == reflect.Map { // the defaults stay but for those given
		if v.IsNil() {
			v.Set(reflect.MakeMap(v.Type()))
		}
		for _, name := range slices.Sorted(maps.Keys(keys)) {
			value := reflect.New(v.Type().Elem())
			if err := strict(path+"."+name, keys[name], value.Elem()); err != nil {
				return err
			}
			v.SetMapIndex(reflect.ValueOf(name), value.Elem())
		}
		return nil
	}
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("json")
		sub, given := keys[name]
		if !given {
			continue
		}
		delete(keys, name)
		if err := strict(strings.TrimPrefix(path+"."+name, "."), sub, v.Field(i)); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		return &PolicyError{strings.TrimPrefix(path+"."+name, "."), "no such key"}
	}
	return nil
}

// strictList reads a list of objects.
func strictList(path string, raw json.RawMessage, v reflect.Value) error {
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil || list == nil {
		return &PolicyError{path, "want a list [...], found " + compact(raw)}
	}
	all := reflect.MakeSlice(v.Type(), len(list), len(list))
	for i := range list {
		if err := strict(fmt.Sprintf("%s[%d]", path, i), list[i], all.Index(i)); err != nil {
			return err
		}
	}
	v.Set(all)
	return nil
}

func orTop(path string) string {
	if path == "" {
		return "(top)"
	}
	return path
}

func compact(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return "something that is not JSON"
	}
	if b.Len() > 60 {
		return b.String()[:60] + "..."
	}
	return b.String()
}

func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a text"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Pointer:
		return wanted(t.Elem()) + " or null"
	}
	return t.String()
}

// check refuses values that no job could follow.
func (p *Policy) check() error {
	bad := func(path, format string, args ...any) error { return &PolicyError{path, fmt.Sprintf(format, args...)} }
	between := func(path string, v, low, high int) error {
		if v < low || v > high {
			return bad(path, "%d is not between %d and %d", v, low, high)
		}
		return nil
	}
	if _, err := time.LoadLocation(p.TimeZone); err != nil || p.TimeZone == "" {
		return bad("time_zone", "%q is not a time zone (such as America/Los_Angeles)", p.TimeZone)
	}
	for _, err := range []error{
		between("statement.cut_day", p.Statement.CutDay, 1, 28),
		between("statement.due_day", p.Statement.DueDay, p.Statement.CutDay+1, 31),
		between("late_fee.grace_days", p.LateFee.GraceDays, 0, 365),
		between("lockbox.posting_days", p.Lockbox.PostingDays, 0, 30),
		between("ach.lead_banking_days", p.ACH.LeadBankingDays, 1, 5),
		between("ach.retries", p.ACH.Retries, 0, 2),
		between("ach.retry_within_days", p.ACH.RetryWithinDays, 0, 180),
		between("ach.regulation_e_notice_days", p.ACH.RegulationENoticeDays, 0, 365),
		between("card.retries", p.Card.Retries, 0, 10),
		between("card.retry_after_days", p.Card.RetryAfterDays, 1, 365),
		between("reminder.last_days_before", p.Reminder.LastDaysBefore, 0, p.Reminder.FirstDaysBefore),
		between("plan.broken_after_missed", p.Plan.BrokenAfterMissed, 1, 100),
		between("grace.aptc_months", p.Grace.APTCMonths, 1, 12),
		between("grace.claims_paid_months", p.Grace.ClaimsPaidMonths, 0, p.Grace.APTCMonths),
		between("grace.coverage_kept_months", p.Grace.CoverageKeptMonths, 0, p.Grace.APTCMonths),
		between("dormancy.years", p.Dormancy.Years, 1, 100),
		between("dormancy.report_month", p.Dormancy.ReportMonth, 1, 12),
	} {
		if err != nil {
			return err
		}
	}
	if kind := p.Card.Gateway.Kind; kind != "" && kind != "stripe" {
		return bad("card.gateway.kind", "%q is no gateway that is known here; want stripe", kind)
	}
	if a := p.Statement.AgingDays; !(0 < a[0] && a[0] < a[1] && a[1] < a[2]) {
		return bad("statement.aging_days", "%v does not rise", a)
	}
	if len(p.ACH.RetryAfterBankingDays) < p.ACH.Retries {
		return bad("ach.retry_after_banking_days", "%d retries need as many waiting times, found %v", p.ACH.Retries, p.ACH.RetryAfterBankingDays)
	}
	for _, n := range p.ACH.RetryAfterBankingDays {
		if n <= p.ACH.LeadBankingDays {
			return bad("ach.retry_after_banking_days", "a retry %d banking days after its return can't be built %d before", n, p.ACH.LeadBankingDays)
		}
	}
	if o := slices.Sorted(slices.Values(p.Allocation.Order)); !slices.Equal(o, []Kind{Fee, Medical, Premium}) {
		return bad("allocation.order", "want premium, medical and fee, each once, found %v", p.Allocation.Order)
	}
	for _, name := range slices.Sorted(maps.Keys(p.Journal.Accounts)) {
		switch code := p.Journal.Accounts[name]; {
		case !slices.Contains(ledger.GLAccounts, name):
			return bad("journal.accounts."+name, "no such account; the ledger has %s", strings.Join(ledger.GLAccounts, ", "))
		case code == "" || len(code) > 40 || strings.ContainsFunc(code, func(r rune) bool { return r < ' ' || r > '~' }):
			return bad("journal.accounts."+name, "%q can't stand in a file: give 1 to 40 letters, digits or signs", code)
		}
	}
	if l := p.Biller.Languages; len(l) == 0 || slices.ContainsFunc(l, func(s string) bool { return s != "en" && s != "es" }) {
		return bad("biller.languages", "statements are printed in en and es, one or both, found %v", l)
	}
	if !brandColor.MatchString(p.Biller.BrandColor) {
		return bad("biller.brand_color", "%q is not a color such as #003C64", p.Biller.BrandColor)
	}
	if err := p.checkLateFee(bad); err != nil {
		return err
	}
	return p.Delivery.check(bad)
}

var brandColor = regexp.MustCompile(`^#[0-9A-Fa-f]{6}$`)

func (p *Policy) checkLateFee(bad func(string, string, ...any) error) error {
	f := p.LateFee
	if f.Kind != "flat" && f.Kind != "percent" {
		return bad("late_fee.kind", "%q is neither flat nor percent", f.Kind)
	}
	if _, err := ledger.ParsePercent(f.Percent); err != nil {
		return bad("late_fee.percent", "%v", err)
	}
	for _, c := range []struct {
		path  string
		cents ledger.Cents
	}{{"late_fee.cents", f.Cents}, {"late_fee.min_cents", f.MinCents}, {"late_fee.minimum_base_cents", f.MinimumBaseCents}, {"returned_payment_fee_cents", p.ReturnedPaymentFeeCents}} {
		if c.cents < 0 {
			return bad(c.path, "%d is below 0", c.cents)
		}
	}
	if f.MaxCents != nil && *f.MaxCents < f.MinCents {
		return bad("late_fee.max_cents", "%d is below min_cents %d", *f.MaxCents, f.MinCents)
	}
	return nil
}

// Location returns the biller's time zone.
func (p *Policy) Location() *time.Location {
	loc, err := time.LoadLocation(p.TimeZone)
	if err != nil {
		panic(err) // check has loaded it before
	}
	return loc
}

// Fee returns the late fee on a base (POLICY section 3).
func (f LateFeePolicy) Fee(base ledger.Cents) ledger.Cents {
	if f.Kind == "flat" {
		return f.Cents
	}
	percent, err := ledger.ParsePercent(f.Percent)
	if err != nil {
		panic(err) // check has parsed it before
	}
	fee := max(percent.Of(base), f.MinCents)
	if f.MaxCents != nil {
		fee = min(fee, *f.MaxCents)
	}
	return fee
}

// PostsOn returns the day on which a check received on a day posts: that many
// calendar days later, rolled to a banking day.
func (l LockboxPolicy) PostsOn(received calendar.Date) calendar.Date {
	return calendar.Roll(received + calendar.Date(l.PostingDays))
}
