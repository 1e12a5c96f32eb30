package billing

import (
	"slices"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// An account as of a day that has passed is the account as it stands, with
// everything taken back that bears a later business date: journal entries,
// allocations, bills, and the days since which items stand as they do. All of
// that is kept for good and dated, so no copy of an earlier state is needed,
// and only what came after the day has to be read. A run that was made up for
// later counts on its own business date, as everywhere in the books.

// rollBack takes back what was dated after the window's end.
func (s *shower) rollBack() {
	end := s.window.end()
	given := s.undoAllocations(end)
	later := s.undoEntries(end)
	for _, x := range slices.Backward(s.standings) {
		if x.On > end && x.Source != 0 {
			s.item(x.Source).Cents += x.Cents
		}
	}
	s.undoPlans(end)
	s.items = slices.DeleteFunc(s.items, func(i *shownItem) bool { return !s.stoodOn(i, end, later) })
	s.receipts = slices.DeleteFunc(s.receipts, func(r *Receipt) bool {
		if r.InEntry != 0 && later[r.InEntry] || r.InEntry == 0 && r.ArrivedOn > end {
			return true
		}
		r.undo(end, given[r.No])
		return false
	})
	s.Autopay = AutopayOff
	for _, x := range s.standings {
		if x.Item == 0 && x.On <= end {
			s.Autopay = x.State
		}
	}
}

// undoEntries takes back the journal entries after a day, and returns their
// numbers: what they brought into the world was not there yet.
func (s *shower) undoEntries(end calendar.Date) map[int32]bool {
	later := map[int32]bool{}
	s.entries = slices.DeleteFunc(s.entries, func(e ledger.Entry) bool {
		if e.PostedOn <= end {
			return false
		}
		later[e.No] = true
		switch e.What {
		case ledger.Adjustment, ledger.FeeReversal, ledger.Waiver:
			if i := s.item(e.Doc); i != nil && e.Credit == ledger.Receivable {
				i.Cents += e.Cents
			}
		case ledger.Refund, ledger.Remittance:
			s.receipt(e.Doc).Refunded -= e.Cents
		}
		return true
	})
	return later
}

// undoAllocations takes back the allocations after a day, and returns what
// each receipt had given by then.
func (s *shower) undoAllocations(end calendar.Date) map[int32]ledger.Cents {
	given := map[int32]ledger.Cents{}
	for _, r := range s.receipts {
		if r.State == Posted {
			given[r.No] = r.Cents - r.Unapplied - r.Refunded
		}
	}
	s.allocations = slices.DeleteFunc(s.allocations, func(al Allocation) bool {
		if al.On <= end {
			return false
		}
		s.item(al.Item).Paid -= al.Cents
		given[al.Receipt] -= al.Cents
		return true
	})
	return given
}

// stoodOn says whether an item was there at the end of a day, and sets it to
// how it stood then. later are the journal entries after that day.
func (s *shower) stoodOn(i *shownItem, end calendar.Date, later map[int32]bool) bool {
	state, made := Unbilled, i.ArrivedOn
	for _, x := range s.standings {
		if x.Item != i.No {
			continue
		}
		if x.On <= end {
			state = State(x.State)
		}
		if x.Source != 0 {
			made = x.On
		}
	}
	if i.Entry != 0 && later[i.Entry] || i.Entry == 0 && made > end {
		return false
	}
	if i.State == Billed && i.MadeOn <= end {
		return true
	}
	i.State, i.Cycle, i.BilledOn, i.MadeOn = state, 0, 0, 0
	return true
}

// undo sets a receipt to how it stood at the end of a day, when it had given
// so much to items.
func (r *Receipt) undo(end calendar.Date, given ledger.Cents) {
	switch {
	case !r.EndedOn.IsZero() && r.EndedOn <= end:
		return
	case !r.PostedOn.IsZero() && r.PostedOn <= end:
		r.State, r.Unapplied = Posted, r.Cents-given-r.Refunded
	default:
		r.State, r.Unapplied = Pending, r.Cents
	}
	r.EndedOn, r.EndCode = 0, ""
}

// undoPlans sets the plans to how they stood at the end of a day.
func (s *shower) undoPlans(end calendar.Date) {
	for n := range s.Plans {
		pl := &s.Plans[n]
		if pl.EndedOn > end {
			pl.State, pl.EndedOn = PlanRunning, 0
		}
		later := map[calendar.Cycle]bool{}
		for _, x := range s.standings {
			if i := s.item(x.Item); x.On > end && x.State == string(Billed) && i != nil && i.ForDoc == pl.no {
				later[i.Cycle] = true
			}
		}
		pl.Billed -= len(later)
	}
}
