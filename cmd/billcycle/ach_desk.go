package main

import (
	"context"
	"os"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/billcycle/billcycle/ach"
	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
)

// What people do about debit files before they leave, and about what comes
// back.

// token reads what proves the operator: from the file that --token-file names,
// else from the environment. It is never a flag, since others can see those.
func (p *program) token() (string, error) {
	if p.tokenFile == "" {
		return p.env("BILLCYCLE_TOKEN"), nil
	}
	b, err := os.ReadFile(p.tokenFile)
	if err != nil {
		return "", &configError{err}
	}
	return strings.TrimSpace(string(b)), nil
}

func (p *program) achHoldCommand() *cobra.Command {
	var date dateFlag
	var reason, entry string
	var lift bool
	c := p.command(command{
		use:   "hold FILE_ID|all --reason WHY",
		short: "Keep a file from being released, pull an entry out of it, or stop all releases",
		example: `  billcycle ach hold 7 --reason "amounts look wrong"
  billcycle ach hold 7 --entry 121000350000042 --reason "member called: the account is closed"
  billcycle ach hold all --reason "the bank asked us to wait"`,
		long: `Hold a file, or all of them: none is released until the hold is lifted (--lift).
With --entry a single debit is pulled out of the file, which is made anew without
it; what it was for is due again, and autopay does not build it a second time.

Whoever pulls an entry or lifts a hold is not the one to release the file.`,
		run: func(ctx context.Context, args []string) error {
			if reason == "" {
				return wrongUsage("hold needs --reason: why, in a few words")
			}
			if lift && entry != "" || entry != "" && args[0] == "all" {
				return wrongUsage("--entry names a debit of one file, to be pulled")
			}
			office, err := p.office(ctx, date)
			if err != nil {
				return err
			}
			if args[0] == "all" {
				return p.holdAll(ctx, office, lift, reason)
			}
			return p.holdFile(ctx, office, args[0], entry, lift, reason)
		},
	})
	c.Flags().StringVar(&reason, "reason", "", "`why`, kept with the act; required")
	c.Flags().StringVar(&entry, "entry", "", "`trace` number of the debit to pull")
	c.Flags().BoolVar(&lift, "lift", false, "end the hold")
	return addDate(c, &date)
}

func (p *program) holdAll(ctx context.Context, office ach.Office, lift bool, reason string) error {
	do := office.StopAll
	if lift {
		do = office.LiftStop
	}
	if err := do(ctx, reason); err != nil {
		return err
	}
	return p.answer(struct {
		Stopped bool `json:"stopped"`
	}{!lift}, func(w *page) {
		if lift {
			w.line("Files may be released again; %s releases none of those that waited.", office.Operator)
		} else {
			w.line("Nothing is released until somebody lifts it: ach hold all --lift")
		}
	})
}

func (p *program) holdFile(ctx context.Context, office ach.Office, arg, entry string, lift bool, reason string) error {
	id, err := number("FILE_ID", arg)
	if err != nil {
		return err
	}
	var file ach.FileInfo
	what := "held"
	switch {
	case entry != "":
		trace, wrong := ach.ParseTrace(entry)
		if wrong != nil {
			return wrongUsage("--entry: %w", wrong)
		}
		what = "made anew without the debit " + entry
		file, err = office.Pull(ctx, id, trace, reason)
	case lift:
		what = "no longer held"
		file, err = office.Lift(ctx, id, reason)
	default:
		file, err = office.Hold(ctx, id, reason)
	}
	if err != nil {
		return err
	}
	return p.answer(file, func(w *page) {
		w.line("file %d (%s) is %s: %s, %s", file.ID, file.Name, what, file.Holds(), file.State)
	})
}

func (p *program) achReverseCommand() *cobra.Command {
	var date dateFlag
	var fault, reason string
	c := p.command(command{
		use:     "reverse TRACE... --fault FAULT --reason WHY",
		short:   "Give back debits that went out in error, as a file of reversals",
		example: `  billcycle ach reverse 121000350000042 --fault duplicate --reason "the bank saw it twice"`,
		long: `Make a file of reversals: credits of the same amounts to the same bank accounts,
described REVERSAL, for the next banking day. Each must take effect within five
banking days of its debit, and somebody else has to release the file. As it takes
effect the payments are taken back without any fee, and autopay does not collect
them again.

FAULT is what was wrong with the debits: duplicate, amount, date (sooner than it was
authorized) or receiver (another's bank account). Nacha allows no other. Tell the
members. A debit whose file was not released is pulled instead (ach hold).`,
		run: func(ctx context.Context, args []string) error {
			if reason == "" || fault == "" {
				return wrongUsage("reverse needs --fault duplicate|amount|date|receiver, and --reason: why, in a few words")
			}
			if !slices.Contains(ach.Faults, ach.Fault(fault)) {
				return wrongUsage("--fault %q: give duplicate, amount, date or receiver", fault)
			}
			var traces []ach.Trace
			for _, arg := range args {
				trace, err := ach.ParseTrace(arg)
				if err != nil {
					return wrongUsage("%w", err)
				}
				traces = append(traces, trace)
			}
			office, err := p.office(ctx, date)
			if err != nil {
				return err
			}
			file, err := office.Reverse(ctx, ach.Fault(fault), reason, traces...)
			if err != nil {
				return err
			}
			return p.answer(file, func(w *page) {
				w.line("file %d (%s), %s, effective %s: waits for its release by a second person. Tell the members.", file.ID, file.Name, file.Holds(), file.EffectiveOn)
			})
		},
	})
	c.Flags().StringVar(&fault, "fault", "", "`duplicate|amount|date|receiver`: what was wrong with the debits; required")
	c.Flags().StringVar(&reason, "reason", "", "`why`, kept with the act; required")
	return addDate(c, &date)
}

func (p *program) achBankCommand() *cobra.Command {
	var date dateFlag
	var reason string
	c := p.command(command{
		use:     "bank FILE STATUS --reason WHY",
		short:   "Note what the bank says of a file: acknowledged, rejected or unknown",
		example: `  billcycle ach bank ach-20260324-A.ach acknowledged --reason "seen in the bank's portal"`,
		long: `Note what the bank says of a released file, by its name or its SHA-256. The debits
of a rejected file are withdrawn and built again, into a new file that has to be
released; nothing is ever sent a second time by itself.`,
		run: func(ctx context.Context, args []string) error {
			if reason == "" {
				return wrongUsage("bank needs --reason: who said so, and where")
			}
			if status := args[1]; status != ach.Acknowledged && status != ach.Rejected && status != ach.Unknown {
				return wrongUsage("STATUS %q: give acknowledged, rejected or unknown", status)
			}
			office, err := p.office(ctx, date)
			if err != nil {
				return err
			}
			told, err := office.Say(ctx, ach.Word{File: args[0], Status: args[1], Entries: -1, Cents: -1, Detail: reason})
			if err != nil {
				return err
			}
			p.leaves(told.Review)
			return p.answer(told, func(w *page) {
				w.line("file %d (%s) is %s, by the bank %s", told.File.ID, told.File.Name, told.File.State, told.File.Bank)
			})
		},
	})
	c.Flags().StringVar(&reason, "reason", "", "`why`, kept with the act; required")
	return addDate(c, &date)
}

func (p *program) achReturnsCommand() *cobra.Command {
	var date, since dateFlag
	var waiting bool
	var clear, reason string
	c := p.command(command{
		use:   "returns",
		short: "List what the bank answered, and what of it waits for a person",
		example: `  billcycle ach returns --since 2026-03-01
  billcycle ach returns --waiting
  billcycle ach returns --clear "unusable_method 3" --reason "number mended by the member"`,
		long: `List the returns and corrections that the bank sent, each with what it means, what
became of it and what a person does next. --waiting lists the work that nobody has
seen to yet, debits that could not be sent among it; --clear takes one off the list.`,
		run: func(ctx context.Context, _ []string) error {
			office, err := p.office(ctx, date)
			if err != nil {
				return err
			}
			switch {
			case clear != "":
				return p.clearWork(ctx, office, clear, reason)
			case waiting:
				return p.showWork(ctx, office)
			}
			list, err := office.Answered(ctx, since.Date)
			if err != nil {
				return err
			}
			return p.answer(struct {
				Returns []ach.Answered `json:"returns"`
			}{notNull(list)}, func(w *page) {
				w.line("date\tcode\ttrace\tmember\t%14s\toutcome\twhat it means\tnext", "amount")
				for _, a := range list {
					w.line("%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s", a.On, a.Code, a.Trace, a.MRN, amount(a.Cents), a.Outcome, shorten(a.Words, 50), shorten(a.Next, 60))
				}
			})
		},
	})
	c.Flags().Var(&since, "since", "only answers that came on this day or later")
	c.Flags().BoolVar(&waiting, "waiting", false, "list the work that waits for a person")
	c.Flags().StringVar(&clear, "clear", "", "`CODE SUBJECT` of work that is done, as --waiting lists it")
	c.Flags().StringVar(&reason, "reason", "", "`why`, kept with --clear")
	return addDate(c, &date)
}

func (p *program) showWork(ctx context.Context, office ach.Office) error {
	work, err := office.Waiting(ctx)
	if err != nil {
		return err
	}
	return p.answer(struct {
		Waiting []ach.Work `json:"waiting"`
	}{notNull(work)}, func(w *page) {
		w.line("since\tcode\tsubject\tmember\twhat")
		for _, x := range work {
			w.line("%s\t%s\t%s\t%s\t%s", x.On, x.Code, x.Subject, x.MRN, x.Detail)
		}
	})
}

func (p *program) clearWork(ctx context.Context, office ach.Office, what, reason string) error {
	code, subject, both := strings.Cut(what, " ")
	if !both || reason == "" {
		return wrongUsage(`--clear wants "CODE SUBJECT" as --waiting lists them, and --reason: what was done`)
	}
	n, err := office.Clear(ctx, code, subject, reason)
	if err != nil {
		return err
	}
	return p.cleared(n, what)
}

func (p *program) achCodesCommand() *cobra.Command {
	return p.command(command{
		use:     "codes",
		short:   "Every return code: what it means, what the program does, what a person does next",
		example: "  billcycle ach codes",
		run: func(context.Context, []string) error {
			policy, err := p.loadPolicy()
			if err != nil {
				return err
			}
			type line struct {
				Code   string     `json:"code"`
				Words  string     `json:"words"`
				Kind   ach.Kind   `json:"kind"`
				Rate   ach.Rate   `json:"rate"`
				Policy string     `json:"policy"` // retried, autopay off, autopay ended
				Action ach.Action `json:"action"`
				Next   string     `json:"next"`
			}
			var lines []line
			for _, c := range ach.Codes() {
				lines = append(lines, line{c.Code, c.Words, c.Kind, c.Rate, policyOf(policy, c), c.Next, c.Next.Words()})
			}
			return p.answer(struct {
				Codes []line `json:"codes"`
			}{lines}, func(w *page) {
				for _, l := range lines {
					w.line("%s\t%s\t%s\t%s", l.Code, l.Words, l.Policy, l.Next)
				}
			})
		},
	})
}

// policyOf says what the policy makes of a return code.
func policyOf(p *billing.Policy, c ach.Code) string {
	among := func(list []string) bool { return slices.Contains(list, c.Code) }
	switch {
	case c.Kind == ach.Dishonored || c.Kind == ach.Contested:
		return "shown"
	case among(p.ACH.RetryCodes):
		return "fee, tried again"
	case among(p.ACH.EndedCodes):
		return "autopay ended"
	case among(p.ACH.OffCodes):
		return "autopay off"
	}
	return "autopay off, a person looks"
}

func (p *program) achRatesCommand() *cobra.Command {
	var date dateFlag
	return addDate(p.command(command{
		use:     "rates",
		short:   "Watch how many debits come back, beside Nacha's limits",
		example: "  billcycle ach rates --json",
		long: `For each company id, the debits of the last 60 days and how many came back as
unauthorized (limit 0.5%), for administrative reasons (3%) and in all (15%).
Exit code 3 from four fifths of a limit on.`,
		run: func(ctx context.Context, _ []string) error {
			office, err := p.office(ctx, date)
			if err != nil {
				return err
			}
			rates, err := office.Rates(ctx)
			if err != nil {
				return err
			}
			for _, r := range rates {
				p.leaves(r.State != "ok")
			}
			return p.answer(struct {
				Rates []ach.ReturnRate `json:"rates"`
			}{notNull(rates)}, func(w *page) {
				w.line("company\treturns\t%8s\t%8s\tpercent\tlimit\tstate", "entries", "returned")
				for _, r := range rates {
					w.line("%s\t%s\t%8d\t%8d\t%s\t%s\t%s", r.Company, r.Kind, r.Entries, r.Returns, r.Percent, r.Limit, r.State)
				}
			})
		},
	}), &date)
}

func (p *program) operatorsCommand() *cobra.Command {
	return group("operators", "Who may release debits: list, add, enable, disable",
		`  billcycle operators list
  billcycle operators add maria`,
		p.operatorsListCommand(),
		p.operatorCommand("add", "List a new operator; the token is shown once"),
		p.operatorCommand("renew", "Give an operator a new token; the old one is void"),
		p.operatorCommand("enable", "Let a disabled operator release again"),
		p.operatorCommand("disable", "Let an operator release no more"))
}

func (p *program) operatorsListCommand() *cobra.Command {
	return p.command(command{
		use: "list", short: "List the operators", example: "  billcycle operators list",
		run: func(ctx context.Context, _ []string) error {
			house, err := p.open(ctx, p.person())
			if err != nil {
				return err
			}
			list, err := billing.Operators(ctx, house.DB)
			if err != nil {
				return err
			}
			return p.answer(struct {
				Operators []billing.Operator `json:"operators"`
			}{notNull(list)}, func(w *page) {
				w.line("name\tstate\tsince\tlast changed by")
				for _, o := range list {
					state := "enabled"
					if !o.Enabled {
						state = "disabled"
					}
					w.line("%s\t%s\t%s\t%s", o.Name, state, o.AddedOn, o.ChangedBy)
				}
			})
		},
	})
}

func (p *program) operatorCommand(verb, short string) *cobra.Command {
	var date dateFlag
	return addDate(p.command(command{
		use: verb + " NAME", short: short, example: "  billcycle operators " + verb + " maria",
		long: `While nobody is listed, a name is taken at its word. Once somebody is, only listed
and enabled operators release debits, with their token in BILLCYCLE_TOKEN or
--token-file, and only another operator adds or enables one.`,
		run: func(ctx context.Context, args []string) error {
			office, err := p.office(ctx, date)
			if err != nil {
				return err
			}
			var token string
			err = pgx.BeginFunc(ctx, office.DB, func(tx pgx.Tx) (err error) {
				if err := billing.Identify(ctx, tx, office.Operator, office.Token); err != nil {
					return err
				}
				token, err = billing.Act{Day: office.Day, Operator: office.Operator}.SetOperator(ctx, tx, verb, args[0])
				return err
			})
			if err != nil {
				return err
			}
			return p.answer(struct {
				Name  string        `json:"name"`
				Verb  string        `json:"verb"`
				Token string        `json:"token,omitempty"`
				On    calendar.Date `json:"on"`
			}{args[0], verb, token, office.Day}, func(w *page) {
				w.line("%s: %s, by %s", args[0], verb, office.Operator)
				if token != "" {
					w.line("token\t%s", token)
					w.line("It is shown only now. Keep it where only %s can read it.", args[0])
				}
			})
		},
	}), &date)
}
