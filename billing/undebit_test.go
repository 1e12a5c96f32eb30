package billing_test

import (
	"testing"

	"github.com/billcycle/billcycle/billing"
)

// The last debit, which a notice compares with, is the newest that was not taken
// back: of a retry and the next bill's debit, built on one day, either may be
// taken back alone.
func TestLastDebitAfterOneIsTakenBack(t *testing.T) {
	for _, c := range []struct {
		name string
		take func(l *tale, retry, first *billing.Debit)
		want int64
	}{
		{"the retry is withdrawn", func(l *tale, retry, _ *billing.Debit) {
			l.a.WithdrawDebit(retry, day("2026-04-27"), billing.Exception{})
		}, 20000},
		{"the retry is pulled", func(l *tale, retry, _ *billing.Debit) { l.a.PullDebit(retry, day("2026-04-24")) }, 20000},
		{"the newer is withdrawn", func(l *tale, _, first *billing.Debit) {
			l.a.WithdrawDebit(first, day("2026-04-27"), billing.Exception{})
		}, 10000},
		{"the newer is reversed", func(l *tale, _, first *billing.Debit) {
			if err := l.a.ReverseDebit(&l.p, first, day("2026-04-28")); err != nil {
				l.Fatal(err)
			}
		}, 10000},
		{"the file of the newer is rejected after it posted", func(l *tale, _, first *billing.Debit) {
			l.a.PostDue(&l.p, day("2026-04-27"))
			if err := l.a.RejectDebit(&l.p, first, day("2026-04-28")); err != nil {
				l.Fatal(err)
			}
		}, 10000},
		{"the retry is reversed", func(l *tale, retry, _ *billing.Debit) {
			if err := l.a.ReverseDebit(&l.p, retry, day("2026-04-28")); err != nil {
				l.Fatal(err)
			}
		}, 20000},
		{"the newer is withdrawn after the member has paid by card", func(l *tale, _, first *billing.Debit) {
			l.a.Receive(day("2026-04-25"), billing.Receipt{Channel: "card", Cents: 5000, ReceivedOn: day("2026-04-25"), PostsOn: day("2026-04-25")})
			l.a.WithdrawDebit(first, day("2026-04-27"), billing.Exception{})
		}, 10000},
		{"the newer is withdrawn after its card was charged", func(l *tale, _, first *billing.Debit) {
			l.a.CardApproved(&l.p, day("2026-04-26"), day("2026-04-25"), 5000, "")
			l.a.WithdrawDebit(first, day("2026-04-27"), billing.Exception{})
		}, 5000},
	} {
		l := newTale(t)
		l.p.ReturnedPaymentFeeCents = 0
		l.a.SetAutopay(&l.p, true, day("2026-02-01"))
		l.charge("2026-03-01", billing.Premium, 10000)
		l.cut("2026-03-01")
		l.a.BuildDebits(&l.p, day("2026-03-24"))
		l.a.PostDue(&l.p, day("2026-03-25"))
		if err := l.a.ReturnDebit(&l.p, l.a.Debits[0], day("2026-03-27"), "R01"); err != nil {
			t.Fatal(err)
		}
		l.a.Debits[0].RetryOn = day("2026-04-27") // as the next bill's is
		l.charge("2026-04-01", billing.Premium, 20000)
		b := l.cut("2026-04-01")
		b.DebitOn, b.DebitMoved = day("2026-04-27"), false
		built, reason := l.a.BuildDebits(&l.p, day("2026-04-24"))
		if len(built) != 2 || built[0].Attempt != 1 || built[1].Cents != 20000 {
			t.Fatalf("built %+v, %s", built, reason)
		}
		c.take(l, built[0], built[1])
		if got := int64(*l.a.LastDebit); got != c.want {
			t.Errorf("%s: the last debit was %d, want %d", c.name, got, c.want)
		}
	}
}

// Of debits that were all taken back, in whatever order, none is the last.
func TestLastDebitAfterAllAreTakenBack(t *testing.T) {
	for _, olderFirst := range []bool{true, false} {
		l := newTale(t)
		l.a.SetAutopay(&l.p, true, day("2026-02-01"))
		l.charge("2026-03-01", billing.Premium, 10000)
		l.cut("2026-03-01")
		l.a.BuildDebits(&l.p, day("2026-03-24"))
		l.a.PostDue(&l.p, day("2026-03-25"))
		l.charge("2026-04-01", billing.Premium, 20000)
		l.cut("2026-04-01")
		if built, reason := l.a.BuildDebits(&l.p, day("2026-04-24")); len(built) != 1 {
			t.Fatalf("built %+v, %s", built, reason)
		}
		older, newer := l.a.Debits[0], l.a.Debits[1]
		if !olderFirst {
			l.a.PullDebit(newer, day("2026-04-24"))
		}
		if err := l.a.ReverseDebit(&l.p, older, day("2026-04-24")); err != nil {
			t.Fatal(err)
		}
		if olderFirst {
			l.a.PullDebit(newer, day("2026-04-24"))
		}
		if l.a.LastDebit != nil {
			t.Errorf("the older first %t: the last debit was %s", olderFirst, *l.a.LastDebit)
		}
	}
}
