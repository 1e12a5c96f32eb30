package ach

import "strings"

// Code is a return reason code.
type Code struct {
	Code  string // R01 to R85; "" for one of no table
	Words string // what happened, in plain words
	Kind  Kind
	Rate  Rate
	Next  Action // what a person does about it; money, fees and autopay follow the policy
	// SixtyDays says that the bank has 60 calendar days to return the entry,
	// not until the opening of the second banking day after settlement: the
	// money may be gone long after it was posted.
	SixtyDays bool
}

// Action is what a return asks of a person, beyond what the policy does by
// itself.
type Action string

// The actions, one for each return code.
const (
	Retry            Action = "retry"
	DisableMethod    Action = "disable_method"
	EndAuthorization Action = "end_authorization"
	StopPayment      Action = "stop_payment"
	CorrectEntry     Action = "correct_entry"
	Deceased         Action = "deceased"
	OurError         Action = "our_error"
	AskBank          Action = "ask_bank"
)

var actions = map[Action]string{
	Retry:            "nothing: it is tried again by itself, twice at most, as RETRY PYMT; after the last time ask the member for another way to pay",
	DisableMethod:    "ask the member for another bank account; none is debited until it is enrolled",
	EndAuthorization: "debit nothing more: review the authorization, keep its proof for two years, and ask for a new one if the member wants autopay",
	StopPayment:      "ask the member before anything else is debited; this payment goes out again only with the member's consent",
	CorrectEntry:     "mend what was not as agreed, the amount or the date; one corrected debit within 60 days needs no new authorization",
	Deceased:         "put the account on hold (hold place MRN --code deceased) and write to the estate; debit nothing",
	OurError:         "find what was wrong with our entry before the next file goes out; the member owes no fee and is not written to",
	AskBank:          "settle it with the bank; the program does nothing more by itself",
}

// Words says what to do, in plain words.
func (a Action) Words() string { return actions[a] }

var actionOf = func() map[string]Action {
	of := map[string]Action{}
	for a, list := range map[Action]string{
		Retry:            "R01 R09",
		DisableMethod:    "R02 R03 R04 R12 R13 R16 R20 R28 R34",
		EndAuthorization: "R05 R07 R10 R29 R51",
		StopPayment:      "R08",
		CorrectEntry:     "R11",
		Deceased:         "R14 R15",
		OurError:         "R17 R18 R19 R21 R22 R24 R25 R26 R27",
	} {
		for _, code := range strings.Fields(list) {
			of[code] = a
		}
	}
	return of
}()

// Kind says who sends a code, and so what it is about.
type Kind string

// The kinds of return codes.
const (
	Returned      Kind = "return"     // by the member's bank: the debit is undone
	Dishonored    Kind = "dishonored" // by our bank, refusing a return
	Contested     Kind = "contested"  // by the member's bank, insisting on it
	International Kind = "international"
)

// Rate is the return rate that Nacha watches and a code counts in, over the
// 60 days before and by original entries: 0.5% unauthorized, 3%
// administrative, 15% over all returns.
type Rate string

// The rates that are watched apart from the overall one.
const (
	Unauthorized   Rate = "unauthorized"
	Administrative Rate = "administrative"
)

// ReturnCode returns what a return reason code means. Banks send codes that
// are in no table, such as R97; those are unknown and need a person.
func ReturnCode(code string) (c Code, known bool) {
	i, known := codeIndex[code]
	if !known {
		return Code{Next: AskBank}, false
	}
	return codes[i], true
}

// Codes returns all return reason codes in order, for a table in the manual.
func Codes() []Code { return append([]Code(nil), codes...) }

var codeIndex = func() map[string]int {
	index := make(map[string]int, len(codes))
	for i := range codes {
		index[codes[i].Code] = i
		if codes[i].Next = actionOf[codes[i].Code]; codes[i].Next == "" {
			codes[i].Next = AskBank
		}
	}
	return index
}()

var codes = []Code{
	{"R01", "not enough money in the account", Returned, "", "", false},
	{"R02", "the account is closed", Returned, Administrative, "", false},
	{"R03", "no such account, or it is not this person's", Returned, Administrative, "", false},
	{"R04", "the account number is not a valid one", Returned, Administrative, "", false},
	{"R05", "a consumer's account was debited as a company's, without authorization", Returned, Unauthorized, "", true},
	{"R06", "returned because our own bank asked for it", Returned, "", "", false},
	{"R07", "the member has revoked the authorization", Returned, Unauthorized, "", true},
	{"R08", "the member has stopped this payment", Returned, "", "", false},
	{"R09", "the money in the account is not collected yet", Returned, "", "", false},
	{"R10", "the member says that the debit was not authorized", Returned, Unauthorized, "", true},
	{"R11", "authorized, but the debit was not as agreed (amount, date)", Returned, Unauthorized, "", true},
	{"R12", "the account was sold to another bank", Returned, "", "", false},
	{"R13", "the routing number is no bank's", Returned, "", "", false},
	{"R14", "the one who acts for the account holder has died or can no longer act", Returned, "", "", false},
	{"R15", "the account holder has died", Returned, "", "", false},
	{"R16", "the account is frozen", Returned, "", "", false},
	{"R17", "the bank could not process a field of the entry, or suspects fraud", Returned, "", "", false},
	{"R18", "the effective date was not in order", Returned, "", "", false},
	{"R19", "the amount was not in order", Returned, "", "", false},
	{"R20", "the account does not allow such debits", Returned, "", "", false},
	{"R21", "the company id is not valid", Returned, "", "", false},
	{"R22", "the individual ID is not valid", Returned, "", "", false},
	{"R23", "the account holder refused the credit", Returned, "", "", false},
	{"R24", "the bank holds it for a duplicate", Returned, "", "", false},
	{"R25", "the addenda was not in order", Returned, "", "", false},
	{"R26", "a required field was missing or wrong", Returned, "", "", false},
	{"R27", "the trace number was missing or wrong", Returned, "", "", false},
	{"R28", "the routing number fails its check digit", Returned, "", "", false},
	{"R29", "the company that holds the account says it was not authorized", Returned, Unauthorized, "", false},
	{"R30", "the bank takes no part in check truncation", Returned, "", "", false},
	{"R31", "returned late with our bank's consent", Returned, "", "", false},
	{"R32", "the bank cannot settle", Returned, "", "", false},
	{"R33", "the bank returned an entry made for a destroyed check", Returned, "", "", true},
	{"R34", "the bank's part in ACH is limited by its supervisor", Returned, "", "", false},
	{"R35", "a debit was not allowed for such an entry or account", Returned, "", "", false},
	{"R36", "a credit was not allowed for such an entry", Returned, "", "", false},
	{"R37", "the check that the entry stands for was presented as well", Returned, "", "", true},
	{"R38", "payment of the check that the entry stands for was stopped", Returned, "", "", true},
	{"R39", "the document that the entry stands for may not be one, or was presented as well", Returned, "", "", false},
	{"R40", "a federal agency returned the enrollment", Returned, "", "", false},
	{"R41", "the enrollment's transaction code was wrong", Returned, "", "", false},
	{"R42", "the enrollment's routing number was wrong", Returned, "", "", false},
	{"R43", "the enrollment's account number was wrong", Returned, "", "", false},
	{"R44", "the enrollment's individual ID was wrong", Returned, "", "", false},
	{"R45", "the enrollment's name was wrong", Returned, "", "", false},
	{"R46", "the enrollment's payee indicator was wrong", Returned, "", "", false},
	{"R47", "the enrollment was a duplicate", Returned, "", "", false},
	{"R50", "state law does not allow a check to be presented again as an entry", Returned, "", "", false},
	{"R51", "a check presented again as an entry was not eligible or not authorized", Returned, Unauthorized, "", true},
	{"R52", "payment of a check presented again as an entry was stopped", Returned, "", "", true},
	{"R53", "the check and the entry for it were both presented", Returned, "", "", true},
	{"R61", "the return came to the wrong bank", Dishonored, "", "", false},
	{"R62", "the return was of an entry already reversed", Dishonored, "", "", false},
	{"R67", "the return was a duplicate", Dishonored, "", "", false},
	{"R68", "the return came too late", Dishonored, "", "", false},
	{"R69", "a field of the return was wrong", Dishonored, "", "", false},
	{"R70", "our bank had not asked for the return, or does not accept it", Dishonored, "", "", false},
	{"R71", "the refusal of the return came to the wrong bank", Contested, "", "", false},
	{"R72", "the refusal of the return came too late", Contested, "", "", false},
	{"R73", "the return had been in time", Contested, "", "", false},
	{"R74", "the return is sent again, corrected", Contested, "", "", false},
	{"R75", "the return had been no duplicate", Contested, "", "", false},
	{"R76", "the return had been without the errors named", Contested, "", "", false},
	{"R77", "the money of an entry already reversed cannot be had back", Contested, "", "", false},
	{"R80", "an international entry was coded wrongly", International, "", "", false},
	{"R81", "the gateway takes no part in international entries", International, "", "", false},
	{"R82", "the foreign bank's identification is not valid", International, "", "", false},
	{"R83", "the foreign bank cannot settle", International, "", "", false},
	{"R84", "the gateway did not process the international entry", International, "", "", false},
	{"R85", "an entry that goes abroad was not coded as international", International, "", "", false},
}
