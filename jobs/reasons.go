package jobs

import (
	"slices"
	"strings"

	"github.com/billcycle/billcycle/ach"
	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/cards"
	"github.com/billcycle/billcycle/delivery"
	"github.com/billcycle/billcycle/lockbox"
	"github.com/billcycle/billcycle/notices"
	"github.com/billcycle/billcycle/statements"
)

// Reason is a coded reason for something that was not done.
type Reason struct {
	Code   string `json:"code"`
	Listed bool   `json:"listed"` // kept by account; the others are what most accounts are skipped for, and only counted
	Says   string `json:"says"`
}

// Reasons is the table of all codes. A hold's own word (legal, bankruptcy) is a
// code as well; those that the house does not give itself are not in it.
func Reasons() []Reason { return slices.Clone(reasons) }

var reasons = []Reason{
	// No statement.
	{billing.NothingCharged, false, "Nothing was ever charged to the account, so it has no billing cycle."},
	{billing.AlreadyCut, false, "The statement of its cycle is made, or its cut day has not come."},

	{statements.AddressDoesNotFit, true, "The statement is not mailed: its address does not fit the envelope's window even in 8 point type. Shorten it in the members feed."},
	{statements.LettersCannotBeShown, true, "The statement is not mailed: a name or the address is in letters that the page can't show. Write it in Latin letters in the members feed."},
	{statements.TooManySheets, true, "The statement is not mailed: it has more sheets than an envelope holds."},
	{statements.CannotBeDrawn, true, "The statement is not mailed: its page could not be drawn."},

	// No late fee.
	{billing.NotLate, false, "Too little of the bill's own charges was open at its deadline, by the days on which money was received."},
	{billing.FeeStands, false, "The bill has its late fee."},
	{billing.FeeWaived, true, "The bill's late fee was waived whole, so it gets no other."},
	{billing.HeldThen, true, "The account was on hold as the bill's deadline ended."},
	{billing.CutTooLate, true, "The statement was made after its own due date."},
	{billing.Unauthorized, true, "The bill's debit came back as not authorized."},
	{billing.OurDelay, true, "We moved or missed the bill's debit ourselves."},

	// No debit, no card charge.
	{billing.NoBill, false, "There is no bill yet that autopay could collect."},
	{billing.AutopayNotOn, false, "Autopay is not on for the account."},
	{billing.AlreadyDebited, false, "The bill's debit is built, or its card was asked."},
	{billing.NotYet, false, "The day for it has not come."},
	{billing.NothingDue, false, "Nothing is due: it is paid, or credit or a payment on its way covers it."},
	{billing.AuthorizationEnds, true, "The authorization ends before the debit would take effect: the member pays this one otherwise."},
	{billing.EnrolledTooLate, true, "Autopay went on after the bill's build day, so it works from the next bill."},
	{billing.ReleasedTooLate, true, "The account came off hold after the bill's build day, so autopay works from the next bill."},
	{billing.RetryTooLarge, true, "Less is due now than the debit that came back, so it is not tried again."},
	{billing.RetryDropped, true, "Autopay was not on, or the account was on hold, on the day the retry was to be built."},
	{ach.ByCard, false, "It is charged to a card on its due date, not debited."},
	{ach.NoAuthorization, true, "Autopay is on, but no bank account is authorized: enrol it again or cancel autopay."},
	{ach.AboveLimit, true, "The debit is above the limit of one entry: collect it another way."},
	{ach.PrenoteWaits, true, "The bank account was not tried out yet: its prenote has not gone out."},
	{ach.UnusableMethod, true, "The bank account can't be debited as it is on file: mend the enrolment."},
	{ach.HeldSince, true, "The account was put on hold after its debit was built, so it was taken out of its file before that was released."},
	{billing.NotReleased, true, "Nobody released the debit's file in time, so it was withdrawn and is built again."},
	{billing.NotSent, true, "The debit's file was released, but not put into the outbox in time, so it was withdrawn and is built again."},
	{cards.NoCard, true, "It was to be asked of a card again, but the account has none in force now."},
	{cards.Unanswered, true, "The gateway owes an answer to the last charge, so nothing more is asked of the card, and no bank account is debited."},

	// No reminder, and no word that a statement is there.
	{notices.OptedOut, true, "The member wants no messages on this channel."},
	{notices.NoAddress, true, "There is no telephone number or e-mail address for this channel."},
	{notices.Bounced, true, "Messages to the address come back: nothing more is sent there, and paperless statements go by mail until the member has another address."},
	{nowhereToSend, true, "Word of a paperless statement came back, and there is no address to mail it to: ask the member."},
	{notices.Already, false, "The reminder was queued by an earlier run."},
	{notices.Missed, true, "The whole window for the reminder went by without a run: tell the member otherwise."},

	// Nothing broken, ended or flagged.
	{billing.PlanOnCourse, false, "The payment plan is on course."},
	{billing.PremiumPaid, false, "The premium is paid, so there is no grace."},
	{billing.GraceClaimsPaid, true, "Premium is unpaid, in the months of grace in which claims are still paid."},
	{billing.GraceClaimsPends, true, "Premium is unpaid, in the months of grace in which claims wait."},
	{billing.CreditUsed, false, "The old credit has been used or paid out since."},

	// On hold: the word that the hold was placed with.
	{"hold", true, "The account is on hold."},
	{billing.Deceased, true, "The account is on hold: its guarantor has died."},
	{billing.BadAddress, true, "The account is on hold: its address can't be mailed to."},

	// Files of the outbox.
	{delivery.Gone, true, "The file was whole in the outbox and is gone, and no run has noted that it was out, so it is taken as carried on and not made again: ask whom it is for."},
	{"file_unknown", true, "It is not known what became of a debit file: ask the bank, and say it by ach bank."},

	// No posting: files and checks.
	{unchanged, false, "The row was taken before, with the same content."},
	{refused, false, "The input was refused; the run's notes and the file's .reason say why."},
	{duplicate, false, "The file was taken before."},
	{suspense, false, "The check is nobody's yet: lockbox held lists it."},
	{held, false, "The check waits for a person: lockbox held lists it."},
	{unmatched, false, "The bank's answer belongs to no debit of ours."},
	{lockbox.ReceivedBlank, false, "The bank left the check's received date blank."},
	{lockbox.ReceivedFuture, false, "The check's received date is after the day on which it came in."},
	{lockbox.DuplicateCheck, false, "The same check came before."},
	{lockbox.NoAmount, false, "The check has no amount."},
	{lockbox.NoReference, false, "Nothing on the check names a payer."},
	{lockbox.BadReference, false, "The check's number does not prove itself, or is none of ours."},
	{lockbox.UnknownMember, false, "The check names an MRN that no member has."},
	{lockbox.UnknownStatement, false, "The check names a statement that was never made."},
	{lockbox.Ambiguous, false, "The check names several accounts, and no amounts to divide it by."},
	{lockbox.ReferenceConflict, false, "The check's MRN and statement name different accounts."},
	{lockbox.TakenBack, false, "A person took the check from whom its references named."},
	{lockbox.CouponsDontAddUp, false, "The check's coupons do not come to the check."},
	{lockbox.BatchRefused, false, "The check was refused with its batch."},
	{lockbox.NSF, false, "The check came back: there was not enough money."},
	{lockbox.Stop, false, "The check came back: its payment was stopped."},
	{lockbox.Closed, false, "The check came back: the account it is drawn on is closed."},
	{lockbox.Payer, false, "The check was sent back to its payer."},
	{lockbox.BatchDiffers, true, "A batch that was taken before came with other checks: take or refuse the file."},

	// Answers of the bank that a person must see.
	{"return_unmatched", true, "A check came back that is none of ours, or may be one of several."},
	{"unmatched_return", true, "A return came for a debit that is none of ours."},
	{"unmatched_correction", true, "A correction came for a debit that is none of ours."},
	{"prenote_returned", true, "The bank account came back from being tried out: ask the member for another one."},
	{"returned_and_reversed", true, "A debit came back although it was reversed: the member has the money twice."},
	{"reversal_returned", true, "The member's bank did not take a reversal: we have the money again."},
	{"reversal_not_sent", true, "A reversal did not go out: nobody released its file, or the bank rejected it."},
	{"return_unreleased", true, "A return came for a debit whose file nobody has released."},
	{"correction_unreleased", true, "A correction came for a debit whose file nobody has released."},
	{"return_not_applied", true, "A return could not be applied to its debit."},
	{"forward_entries", true, "The bank's file held debits or credits beside its answers: they were left alone."},
	{string(ach.Dishonored), true, "Our bank has refused a return."},
	{string(ach.Contested), true, "The member's bank insists on a return that ours had refused."},
	{string(ach.International), true, "A return that concerns a payment abroad: we make none."},
	{parkedCode, true, "The job failed on the account and put it aside; it is tried again in the next run."},
}

// The codes of this room.
const (
	unchanged  = "unchanged"
	refused    = "refused"
	duplicate  = "duplicate"
	suspense   = "suspense"
	held       = "held"
	unmatched  = "unmatched"
	parkedCode = "parked"

	nowhereToSend = "nowhere_to_send"
)

// ReasonOf looks a code up. A code that is not in the table is a return code of
// the bank's, or else a hold's own word.
func ReasonOf(code string) Reason {
	if n := slices.IndexFunc(reasons, func(r Reason) bool { return r.Code == code }); n >= 0 {
		return reasons[n]
	}
	if r, found := strings.CutPrefix(code, "authorization_"); found {
		return Reason{code, true, "The debit came back with " + r + ", as not authorized: review the authorization."}
	}
	if c, found := strings.CutPrefix(code, "correction_"); found {
		return Reason{code, true, "The bank's correction " + c + " could not be followed: mend the enrolment."}
	}
	if r, found := strings.CutPrefix(code, "returned_"); found {
		return Reason{code, true, "The debit came back with " + r + ", which needs a person."}
	}
	return Reason{code, true, "The account is on hold: " + strings.ReplaceAll(code, "_", " ") + "."}
}
