package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/jobs"
	"github.com/billcycle/billcycle/postgres"
	"github.com/billcycle/billcycle/secret"
	"github.com/billcycle/billcycle/statements"
)

// program is one call of billcycle: what it is given by the world, what its
// flags say, and what it has opened so far.
type program struct {
	in       io.Reader
	out, err io.Writer           // the result, and the story
	env      func(string) string // the environment
	user     func() string       // who is logged in
	now      func() time.Time    // the only clock of the house

	database, data, policyFile, keysFile, operator, tokenFile string
	json, quiet                                               bool
	logFormat                                                 string

	began    bool // the command line was understood, the command has begun
	answered bool // the result is on stdout
	code     int  // how a command that did not fail ends
	begins   bool // new books may be begun beside keys that are there

	screen *screen      // of the story, or
	log    *slog.Logger // the story as records
	policy *billing.Policy
	keys   *secret.Keys
	server *postgres.Server
	db     *pgxpool.Pool
}

// run carries out one command line and returns its exit code.
func (p *program) run(ctx context.Context, args []string) int {
	defer p.close()
	root := p.root()
	root.SetArgs(args)
	root.SetIn(p.in)
	root.SetOut(p.out)
	root.SetErr(p.err)
	if err := root.ExecuteContext(ctx); err != nil {
		p.json = p.json || slices.Contains(args, "--json") // though it stands after what could not be read
		return p.fail(ctx, err)
	}
	return p.code
}

func (p *program) root() *cobra.Command {
	root := group("billcycle", "Batch billing and lockbox processing for a health plan",
		`  billcycle rehearse scenarios/            play stories with the real jobs
  billcycle import charges charges.csv     take in a feed
  billcycle nightly                        all jobs of today's business date
  billcycle account 1000000016             one account, every cent explained`)
	root.Long = `Billcycle bills the members of a health plan and takes in what they pay.

Without --database it starts a PostgreSQL of its own under the data directory,
from the PostgreSQL installed on the machine. Every flag that has an environment
variable takes its value from there when it is not given.

Exit codes: 0 done, or done already; 1 failed; 2 wrong usage; 3 done, and
something waits for a person; 4 input refused whole, nothing changed; 75 the
environment is out of order, run it again as it is; 78 bad configuration.`
	root.SilenceUsage, root.SilenceErrors = true, true // fail says it
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return plainly(err) })
	root.SetHelpTemplate(helpTemplate)
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(), usageExamples, "", 1))
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return p.readEnvironment() }
	flags := root.PersistentFlags()
	flags.StringVar(&p.database, "database", "", "`URL` of a PostgreSQL 15 or newer to work on (BILLCYCLE_DATABASE); none: our own")
	flags.StringVar(&p.data, "data", "", "`directory` of the biller (BILLCYCLE_DATA, else ./billcycle-data)")
	flags.StringVar(&p.policyFile, "policy", "", "`file` of policy overrides (BILLCYCLE_POLICY)")
	flags.StringVar(&p.keysFile, "keys", "", "`file` of the encryption keys (BILLCYCLE_KEYS, else keys in the data directory)")
	flags.StringVar(&p.operator, "operator", "", "`name` of who acts (BILLCYCLE_OPERATOR, else who is logged in; system for the night)")
	flags.StringVar(&p.tokenFile, "token-file", "", "`file` of the operator's token (else BILLCYCLE_TOKEN), once operators are listed")
	flags.BoolVar(&p.json, "json", false, "answer with one JSON document on stdout")
	flags.BoolVar(&p.quiet, "quiet", false, "tell no story on stderr, only errors")
	flags.StringVar(&p.logFormat, "log", "", "`format` of the story on stderr: plain, text or json (BILLCYCLE_LOG, else plain)")
	root.AddCommand(p.nightCommands()...)
	root.AddCommand(p.serveCommand(), p.reportCommand())
	root.AddCommand(p.notDoneCommands()...)
	root.AddCommand(p.importCommand(), p.lockboxCommand(), p.achCommand(), p.operatorsCommand(), p.keysCommand(), p.deliverCommand(), p.accountCommand(), p.journalCommand())
	root.AddCommand(p.actCommands()...)
	root.AddCommand(p.proofCommands()...)
	root.AddCommand(p.programCommands()...)
	return root
}

// Help leads with an example; the usage that follows leaves its own out.
const (
	helpTemplate = `{{.Short}}.
{{if .HasExample}}
{{.Example}}
{{end}}{{with .Long}}
{{.}}
{{end}}
{{.UsageString}}`
	usageExamples = `{{if .HasExample}}

Examples:
{{.Example}}{{end}}`
)

// plainly is the error of a flag's value without the words of Go's libraries.
func plainly(err error) error {
	var number *strconv.NumError
	if !errors.As(err, &number) {
		return err
	}
	want := "a whole number"
	if number.Func == "ParseBool" {
		want = "true or false"
	}
	what, _, _ := strings.Cut(err.Error(), ": strconv.")
	return fmt.Errorf("%s: give %s", what, want)
}

// readEnvironment fills in the flags that were not given.
func (p *program) readEnvironment() error {
	p.database = cmp.Or(p.database, p.env("BILLCYCLE_DATABASE"))
	p.data = cmp.Or(p.data, p.env("BILLCYCLE_DATA"), "billcycle-data")
	p.policyFile = cmp.Or(p.policyFile, p.env("BILLCYCLE_POLICY"))
	p.keysFile = cmp.Or(p.keysFile, p.env("BILLCYCLE_KEYS"), filepath.Join(p.data, "keys"))
	p.operator = cmp.Or(p.operator, p.env("BILLCYCLE_OPERATOR"))
	return p.openStory(cmp.Or(p.logFormat, p.env("BILLCYCLE_LOG")))
}

// person is who acts, where people do.
func (p *program) person() string { return cmp.Or(p.operator, p.user(), "unknown") }

// clock is who acts, where the clock does unless a person says so.
func (p *program) clock() string { return cmp.Or(p.operator, "system") }

// command is one command with something to do. It leads with an example. The
// words of use up to the first flag are what it must be given: FILE, [FILE] if
// it may be left out, and PATH... for one or more.
type command struct {
	use, short, long, example string
	run                       func(ctx context.Context, args []string) error
}

func (p *program) command(c command) *cobra.Command {
	return &cobra.Command{
		Use: c.use, Short: c.short, Long: c.long, Example: c.example, Args: argumentsOf(c.use), DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			p.began = true
			return c.run(cmd.Context(), args)
		},
	}
}

// argumentsOf checks the arguments of a command against its line of use.
func argumentsOf(use string) cobra.PositionalArgs {
	var want []string
	most := 0
	for _, word := range strings.Fields(use)[1:] {
		if strings.HasPrefix(word, "-") || strings.HasPrefix(word, "(") {
			break
		}
		most++
		if !strings.HasPrefix(word, "[") {
			want = append(want, word)
		}
		if strings.HasSuffix(word, "...") {
			most = 1 << 30
		}
	}
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < len(want) {
			return fmt.Errorf("%s is missing: %s", want[len(args)], cmd.UseLine())
		}
		if len(args) > most {
			return fmt.Errorf("%q is one argument too many: %s", args[most], cmd.UseLine())
		}
		return nil
	}
}

// group is a command that only holds others.
func group(use, short, example string, inside ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{
		Use: use, Short: short, Example: example, SuggestionsMinimumDistance: 2,
		Args: cobra.ArbitraryArgs, // so that RunE can say what is wrong with them
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && !cmd.HasParent() {
				return cmd.Help()
			}
			if len(args) == 0 {
				return fmt.Errorf("%s needs one of its commands: %s", cmd.Name(), strings.Join(names(cmd), ", "))
			}
			meant := ""
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				meant = "; did you mean " + strings.Join(near, " or ") + "?"
			}
			return fmt.Errorf("%s has no command %q%s", cmd.Name(), args[0], meant)
		},
	}
	g.AddCommand(inside...)
	return g
}

func names(g *cobra.Command) (out []string) {
	for _, c := range g.Commands() {
		if c.IsAvailableCommand() {
			out = append(out, c.Name())
		}
	}
	return out
}

// loadPolicy reads the policy, once.
func (p *program) loadPolicy() (*billing.Policy, error) {
	if p.policy == nil {
		policy, err := billing.LoadPolicy(p.policyFile)
		if err != nil {
			return nil, err
		}
		for _, check := range []func(*billing.Policy) error{jobs.CheckSchedule, statements.CheckPolicy} {
			if err := check(&policy); err != nil {
				return nil, err
			}
		}
		p.policy = &policy
	}
	return p.policy, nil
}

// day returns the business date that a command is for: the one given, else
// today in the biller's time zone.
func (p *program) day(given calendar.Date) (calendar.Date, error) {
	if !given.IsZero() {
		return given, nil
	}
	policy, err := p.loadPolicy()
	if err != nil {
		return 0, err
	}
	return calendar.On(p.now(), policy.Location()), nil
}

// openOn opens the house for what a person does on a business date: the one
// given, if it can be meant, else today.
func (p *program) openOn(ctx context.Context, given calendar.Date) (house jobs.House, day calendar.Date, err error) {
	today, err := p.day(0)
	if err != nil {
		return house, 0, err
	}
	if house, err = p.open(ctx, p.person()); err != nil || given.IsZero() {
		return house, today, err
	}
	return house, given, jobs.Runner{House: house}.Believe(ctx, given, today)
}

// open opens the house: policy, keys, database. Commands that need none of it
// never call it.
func (p *program) open(ctx context.Context, operator string) (jobs.House, error) {
	policy, err := p.loadPolicy()
	if err != nil {
		return jobs.House{}, err
	}
	if err := p.findDirectory(); err != nil {
		return jobs.House{}, err
	}
	if err := p.findBooks(); err != nil {
		return jobs.House{}, err
	}
	if err := p.openKeys(ctx); err != nil {
		return jobs.House{}, err
	}
	layouts, err := p.layouts()
	if err != nil {
		return jobs.House{}, err
	}
	returned, err := p.returnsLayouts()
	if err != nil {
		return jobs.House{}, err
	}
	lease, err := p.lease()
	if err != nil {
		return jobs.House{}, err
	}
	if err := p.openDatabase(ctx); err != nil {
		return jobs.House{}, err
	}
	return jobs.House{DB: p.db, Policy: policy, Keys: p.keys, Layouts: layouts, Returned: returned, Dir: p.data, Operator: operator, Log: p.story(),
		Workers: runtime.GOMAXPROCS(0), Lease: lease}, nil
}

// openToWork opens the house for a program that works on runs, which says which
// one it is.
func (p *program) openToWork(ctx context.Context) (jobs.House, error) {
	house, err := p.open(ctx, p.clock())
	house.Program = identity()
	return house, err
}

// findDirectory says if a new biller is about to begin, in case it is a disk that
// is not mounted or a slip of the pen; and refuses if not even the folder is
// there in which its directory would be.
func (p *program) findDirectory() error {
	is, err := os.Stat(p.data)
	if err == nil && !is.IsDir() {
		return &configError{fmt.Errorf("the data directory %s is a file", p.data)}
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	above := filepath.Dir(filepath.Clean(p.data))
	if _, err := os.Stat(above); errors.Is(err, fs.ErrNotExist) {
		return &environmentError{fmt.Errorf("the data directory %s does not exist, nor does %s: is a disk not mounted? For a new biller, make it first", p.data, above)}
	}
	p.tell("%s does not exist: a new biller begins there", p.data)
	return nil
}

// findBooks refuses to begin new books of our own beside keys of old ones, which
// lie elsewhere then: nobody has named their database, or its disk is not mounted.
func (p *program) findBooks() error {
	if p.database != "" || postgres.Embedded(p.data) || !p.begun() {
		return nil
	}
	return &configError{fmt.Errorf("the keys file %s is that of books which are not in %s: name their database (--database or BILLCYCLE_DATABASE), mount its disk, or put them back from your backup; "+newBooks, p.keysFile, p.data)}
}

const newBooks = "new books with these keys begin with: billcycle migrate"

// begun says whether the books must be there: keys are made after the books.
func (p *program) begun() bool {
	_, err := os.Stat(p.keysFile)
	return err == nil && !p.begins
}

// openKeys reads the keys, or makes them at a biller's first start. Books that
// hold account numbers had keys: others would open none of them.
func (p *program) openKeys(ctx context.Context) (err error) {
	if p.keys != nil {
		return nil
	}
	if _, err := os.Stat(p.keysFile); errors.Is(err, fs.ErrNotExist) {
		if err := p.openDatabase(ctx); err != nil {
			return err
		}
		var sealed bool
		if err := p.db.QueryRow(ctx, `select exists (select from autopay_method)`).Scan(&sealed); err != nil {
			return err
		}
		if sealed {
			return &configError{fmt.Errorf("the keys file %s is not there, and the books hold account numbers that were sealed with it: put it back from your copy", p.keysFile)}
		}
	}
	if p.keys, err = secret.Load(p.keysFile); err != nil {
		return &configError{err}
	}
	return nil
}

func (p *program) openDatabase(ctx context.Context) (err error) {
	if p.db != nil {
		return nil
	}
	if err := p.openServer(ctx, postgres.Config{URL: p.database, Data: p.data, Begun: p.begun(), Log: p.story()}); err != nil {
		return err
	}
	p.db, err = p.server.Main(ctx)
	if errors.Is(err, postgres.ErrNoBooks) {
		return &configError{fmt.Errorf("%w, and the keys file %s is that of some: name the database that they are in, or put them back into this one from your backup; "+newBooks, err, p.keysFile)}
	}
	return err
}

// openScratchServer opens a server to make scratch databases on: the one that
// was named, else one in memory that is gone afterwards.
func (p *program) openScratchServer(ctx context.Context) error {
	return p.openServer(ctx, postgres.Config{URL: p.database, Throwaway: p.database == "", Log: p.story()})
}

func (p *program) openServer(ctx context.Context, c postgres.Config) (err error) {
	p.server, err = postgres.Open(ctx, c)
	if err != nil && !postgres.IsUnavailable(err) && ctx.Err() == nil {
		return &configError{err} // a URL that can't be read
	}
	return err
}

func (p *program) close() {
	if p.db != nil {
		p.db.Close()
	}
	if p.server != nil {
		if err := p.server.Close(); err != nil {
			fmt.Fprintln(p.err, "billcycle: closing PostgreSQL:", err)
		}
	}
}

// dateFlag is a business date on the command line.
type dateFlag struct{ calendar.Date }

func (d *dateFlag) Set(s string) (err error) { d.Date, err = calendar.Parse(s); return err }

// Type names the flag's kind in help texts.
func (d *dateFlag) Type() string { return "YYYY-MM-DD" }

// addDate gives a command the flag --date.
func addDate(c *cobra.Command, to *dateFlag) *cobra.Command {
	c.Flags().Var(to, "date", "business date (default today in the biller's time zone)")
	return c
}
