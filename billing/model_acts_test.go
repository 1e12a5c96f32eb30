package billing_test

import (
	"pgregory.net/rapid"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
)

// What may happen in a life between the nightly jobs.

// act does one thing, if there is anything to do it to.
func (l *life) act(what string) {
	acts := map[string]func() error{"charge": l.charge, "pay": l.pay, "guest": l.guest, "check": l.check, "return": l.bounce, "adjust": l.adjustNamed, "lower": l.lowerKind, "raise": l.raise,
		"plan": l.plan, "cover": l.cover, "end": l.endCover, "cancel": l.cancelPlan, "dispute": l.dispute, "settle": l.settle, "assist": l.assist, "refund": l.refund, "waive": l.waive, "hold": l.hold}
	told := len(l.told)
	if err := acts[what](); err != nil {
		l.disagree(what, "it can be done", err)
	}
	if len(l.told) > told {
		l.agree()
	}
}

func (l *life) kind() billing.Kind {
	return rapid.SampledFrom([]billing.Kind{billing.Premium, billing.Medical}).Draw(l.T, "kind")
}

func (l *life) charge() error {
	kind, cents := l.kind(), l.cents("charge", 45000, 12500, 2500, 2499, 1001)
	if l.covered {
		kind = billing.Medical
	}
	no := int32(0)
	err := l.change(billing.Counters, func(a *billing.Account) error {
		no = a.Charge(&l.p, l.day, kind, cents, billing.Detail{}).No
		return nil
	})
	l.tell("charge %d: %s %d", no, kind, cents)
	l.m.charge(no, l.day, kind, cents)
	return err
}

func (l *life) receive(r billing.Receipt) {
	r.ArrivedOn = l.day
	l.tell("%s %d received %s posts %s directed %q", r.Channel, r.Cents, r.ReceivedOn, r.PostsOn, r.Directed)
	no := int32(0)
	l.must(l.change(billing.OpenOnly, func(a *billing.Account) error {
		got := a.Receive(l.day, r)
		no = got.No
		if r.PostsOn <= l.day {
			a.Post(&l.p, got, l.day)
		}
		return nil
	}))
	p := l.m.receive(paid{no: no, cents: r.Cents, received: r.ReceivedOn, arrived: l.day, posts: r.PostsOn, guest: r.Guest, directed: r.Directed})
	if r.PostsOn <= l.day {
		l.m.post(p, l.day)
	}
}

func (l *life) directed() billing.Kind {
	return rapid.SampledFrom([]billing.Kind{"", "", billing.Premium, billing.Medical}).Draw(l.T, "directed")
}

func (l *life) pay() error {
	received := l.day + calendar.Date(rapid.SampledFrom([]int{0, 0, 0, -1, -4, 2}).Draw(l.T, "received"))
	l.receive(billing.Receipt{Channel: "online", Cents: l.amount("paid"), ReceivedOn: received, PostsOn: max(received, l.day), Directed: l.directed()})
	return nil
}

func (l *life) guest() error {
	l.receive(billing.Receipt{Channel: "guest", Cents: l.amount("paid"), ReceivedOn: l.day, PostsOn: l.day, Guest: true, Payer: "Aunt", Directed: l.directed()})
	return nil
}

func (l *life) check() error {
	received := l.day - calendar.Date(rapid.SampledFrom([]int{0, 1, 3, 6, 7, 8, 10, 15, 25, 45}).Draw(l.T, "received"))
	l.receive(billing.Receipt{Channel: "lockbox", Cents: l.amount("paid"), ReceivedOn: received, PostsOn: l.p.Lockbox.PostsOn(received), Directed: l.directed()})
	return nil
}

// some draws one of what fits, nil if nothing does.
func some[E any](l *life, label string, from []*E, fits func(e *E) bool) *E {
	var fit []*E
	for _, e := range from {
		if fits(e) {
			fit = append(fit, e)
		}
	}
	if len(fit) == 0 {
		return nil
	}
	return rapid.SampledFrom(fit).Draw(l.T, label)
}

func (l *life) bounce() error {
	r := some(l, "returned", l.m.paid, func(p *paid) bool { return p.returned.IsZero() && !p.dropped && !p.debit })
	if r == nil || r.received > l.day {
		return nil
	}
	nsf := rapid.Bool().Draw(l.T, "NSF")
	l.tell("return of payment %d (%d, received %s), NSF %v", r.no, r.cents, r.received, nsf)
	l.m.returnPayment(r, l.day, nsf)
	return l.change(billing.Whole, func(a *billing.Account) error {
		err := a.Return(&l.p, a.Receipt(r.no), l.day, "X")
		if nsf && err == nil {
			a.ReturnedFee(&l.p, a.Receipt(r.no), l.day)
		}
		return err
	})
}

func (l *life) adjustNamed() error {
	o := some(l, "adjusted", l.m.owed, func(o *owed) bool { return o.charge != 0 && o.cents > 0 })
	if o == nil {
		return nil
	}
	var standing ledger.Cents
	for _, part := range l.m.partsOf(o.charge) {
		standing += part.cents
	}
	cents := min(standing, l.amount("by"))
	l.tell("adjust charge %d by -%d", o.charge, cents)
	l.m.adjust(l.day, o.kind, -cents, o.charge)
	return l.change(billing.Whole, func(a *billing.Account) error {
		return a.Adjust(&l.p, l.day, o.kind, -cents, o.charge, billing.Detail{})
	})
}

func (l *life) lowerKind() error {
	kind := l.kind()
	cents := min(l.m.adjustable(kind), l.amount("by"))
	if cents == 0 {
		return nil
	}
	l.tell("adjust %s by -%d", kind, cents)
	l.m.adjust(l.day, kind, -cents, 0)
	return l.change(billing.Whole, func(a *billing.Account) error { return a.Adjust(&l.p, l.day, kind, -cents, 0, billing.Detail{}) })
}

func (l *life) raise() error {
	kind, charge := l.chosen("raised", func(o *owed) bool {
		return o.kind == billing.Medical || o.kind == billing.Premium && !l.covered // whether it has a tax credit is not said
	})
	if kind == "" {
		return nil
	}
	cents := l.amount("by")
	l.tell("adjust %s %d by %d", kind, charge, cents)
	l.m.adjust(l.day, kind, cents, charge)
	return l.change(billing.Whole, func(a *billing.Account) error {
		return a.Adjust(&l.p, l.day, kind, cents, charge, billing.Detail{})
	})
}

// chosen is a charge of a kind, or the whole kind.
func (l *life) chosen(label string, fits func(o *owed) bool) (billing.Kind, int32) {
	o := some(l, label, l.m.owed, fits)
	switch {
	case o == nil:
		return "", 0
	case o.charge == 0 || l.odds("the whole kind", 30):
		return o.kind, 0
	}
	return o.kind, o.charge
}

func (l *life) dispute() error {
	kind, charge := l.chosen("disputed", func(o *owed) bool {
		return o.state == billing.Billed && o.kind != billing.Fee && l.m.open(o) > 0
	})
	if kind == "" {
		return nil
	}
	l.tell("dispute %s %d", kind, charge)
	l.m.dispute(charge, kind)
	return l.change(billing.Whole, func(a *billing.Account) error {
		_, err := a.Dispute(&l.p, l.day, kind, charge)
		return err
	})
}

func (l *life) settle() error {
	kind, charge := l.chosen("settled", func(o *owed) bool { return o.state == billing.Disputed && o.cents > 0 })
	if kind == "" {
		return nil
	}
	accept := rapid.Bool().Draw(l.T, "accept")
	l.tell("dispute %s %d accepted: %v", kind, charge, accept)
	l.m.settle(l.day, charge, kind, accept)
	return l.change(billing.Whole, func(a *billing.Account) error {
		_, err := a.Settle(&l.p, l.day, kind, charge, accept)
		return err
	})
}

func (l *life) assist() error {
	kind := l.kind()
	by := rapid.SampledFrom([]string{"50", "100", "33.3"}).Draw(l.T, "percent")
	percent, err := ledger.ParsePercent(by)
	if err != nil {
		return err
	}
	l.tell("assist %s %s%%", kind, by)
	l.m.assist(l.day, kind, percent)
	return l.change(billing.Whole, func(a *billing.Account) error {
		a.Assist(&l.p, l.day, kind, percent)
		return nil
	})
}

func (l *life) refund() error {
	guest := rapid.Bool().Draw(l.T, "to payer")
	credit := l.m.credits(guest)
	if credit == 0 {
		return nil
	}
	cents := min(credit, l.amount("refunded"))
	l.tell("refund %d, to payer %v", cents, guest)
	l.m.refund(l.day, cents, guest)
	return l.change(billing.Whole, func(a *billing.Account) error { return a.Refund(&l.p, l.day, cents, guest) })
}

func (l *life) waive() error {
	origin := rapid.SampledFrom([]string{billing.FromLateFee, billing.FromLateFee, billing.FromReturnedFee}).Draw(l.T, "fee")
	standing := l.m.standing(origin)
	if standing == 0 {
		return nil
	}
	cents := min(standing, l.cents("waived", 1000, standing, 1, 600))
	l.tell("waive %s %d", origin, cents)
	l.m.waive(l.day, origin, cents)
	return l.change(billing.Whole, func(a *billing.Account) error { return a.Waive(&l.p, l.day, origin, cents) })
}

func (l *life) hold() error {
	if l.m.onHold() {
		l.tell("hold released")
		l.m.release(l.day)
		return l.change(billing.Whole, func(a *billing.Account) error {
			a.Release(l.day, "", "ann")
			return nil
		})
	}
	l.tell("hold placed")
	l.m.place(l.day)
	return l.change(billing.Whole, func(a *billing.Account) error {
		a.Place(l.day, "review", "ann", "", false)
		return nil
	})
}
