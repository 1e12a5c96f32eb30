package billing

import (
	"time"
	_ "time/tzdata" // a bare machine may have no zone files

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// Policy is every number and name that a biller may configure. A policy file
// holds only the keys that differ from DefaultPolicy. Its rules of money may be
// different ones from a day on and for some accounts: For gives those in force.
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
	Print                   PrintPolicy      `json:"print"`
	Schedule                SchedulePolicy   `json:"schedule"`
	Watch                   WatchPolicy      `json:"watch"`

	dated *dated // the file's policies that hold from a day or for some accounts; nil for none
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
	Prenote               bool     `json:"prenote"`                   // a new bank account is tried out with zero cents before it is debited
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
		Print:     DefaultPrint(),
		Schedule:  DefaultSchedule(),
		Watch:     WatchPolicy{LateMinutes: 180},
	}
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
	fee := max(f.percent().Of(base), f.MinCents)
	if f.MaxCents != nil {
		fee = min(fee, *f.MaxCents)
	}
	return fee
}

func (f LateFeePolicy) percent() ledger.Percent {
	percent, err := ledger.ParsePercent(f.Percent)
	if err != nil {
		panic(err) // check has parsed it before
	}
	return percent
}

// PostsOn returns the day on which a check received on a day posts: that many
// calendar days later, rolled to a banking day.
func (l LockboxPolicy) PostsOn(received calendar.Date) calendar.Date {
	return calendar.Roll(received + calendar.Date(l.PostingDays))
}

// PostsOn returns the same by the policy in force on the day it was received,
// which is one for everybody: the check may be nobody's yet.
func (p *Policy) PostsOn(received calendar.Date) calendar.Date {
	return p.For(received, Subject{}).Lockbox.PostsOn(received)
}
