package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/billcycle/billcycle/ach"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/delivery/sftptest"
	"github.com/billcycle/billcycle/postgres/postgrestest"
)

// The scripts in testdata/script read like a manual: what an operator types,
// and what must come of it. Their clock begins at noon of 2026-04-10.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"billcycle": func() {
		began := time.Now()
		now := func() time.Time { return time.Date(2026, 4, 10, 19, 0, 0, 0, time.UTC).Add(time.Since(began)) } // noon in Los Angeles
		p := &program{in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.Getenv, user: func() string { return "pat" }, now: now}
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		os.Exit(p.run(ctx, os.Args[1:]))
	}})
}

func TestScripts(t *testing.T) { runScripts(t, "testdata/script") }

// TestReadme types the commands of README.md's first look.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`(?m)^\$ bin/billcycle (.*?) *(#.*)?$`).FindAllStringSubmatch(string(text), -1)
	if len(lines) < 7 {
		t.Fatalf("README.md has %d commands to type", len(lines))
	}
	script := "cd " + root + "\n"
	for _, line := range lines {
		script += "exits 0 " + line[1] + "\n"
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "readme.txtar"), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	runScripts(t, dir)
}

func runScripts(t *testing.T, dir string) {
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			db := postgrestest.New(env.T().(testing.TB))
			url := db.Config().ConnString()
			env.Setenv("BILLCYCLE_DATABASE", url)
			env.Setenv("OTHER_DATABASE", strings.Replace(url, db.Config().ConnConfig.Database, "no_such_database", 1))
			env.Values["tb"] = env.T()
			env.Setenv("BILLCYCLE_DATA", env.WorkDir+"/data")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": exits, "json": checkJSON, "bankreturns": bankReturns, "sql": runSQL, "holdlock": holdDay, "samefigures": sameFigures, "sftpserver": sftpServer, "mixpolicies": mixPolicies,
			"locktable": lockTable, "unlocktable": unlockTable, "awaitrow": awaitRow, "awaitfile": awaitFile, "webhook": webhook, "posted": posted,
		},
	})
}

// exits runs billcycle and checks its exit code: exits 4 lockbox inspect FILE
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: exits CODE [ARGUMENT...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec("billcycle", args[1:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("billcycle %s: exit code %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// checkJSON checks that the last command wrote exactly one JSON document to
// stdout, which holds the values at the paths: json rows=2 problems.0.line=3 'problems=[]'
// A value of * stands for any, of null too.
func checkJSON(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("json can't be negated")
	}
	d := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	d.UseNumber()
	var document any
	if err := d.Decode(&document); err != nil {
		ts.Fatalf("stdout is not JSON: %v", err)
	}
	if d.More() {
		ts.Fatalf("stdout holds more than one JSON document")
	}
	for _, arg := range args {
		path, want, ok := strings.Cut(arg, "=")
		if !ok {
			ts.Fatalf("%q: want PATH=VALUE", arg)
		}
		value, err := at(document, path)
		if err != nil {
			ts.Fatalf("%s: %v", path, err)
		}
		got, err := json.Marshal(value)
		ts.Check(err)
		if want != "*" && want != string(got) && strconv.Quote(want) != string(got) {
			ts.Fatalf("%s is %s, want %s", path, got, want)
		}
	}
}

// at follows a path such as problems.0.line; a last step len is a list's length.
func at(value any, path string) (any, error) {
	for step := range strings.SplitSeq(path, ".") {
		switch v := value.(type) {
		case map[string]any:
			inside, there := v[step]
			if !there {
				return nil, fmt.Errorf("there is no key %q", step)
			}
			value = inside
		case []any:
			if step == "len" {
				return len(v), nil
			}
			n, err := strconv.Atoi(step)
			if err != nil || n < 0 || n >= len(v) {
				return nil, fmt.Errorf("there is no element %q of %d", step, len(v))
			}
			value = v[n]
		default:
			return nil, fmt.Errorf("%v holds nothing", value)
		}
	}
	return value, nil
}

// bankReturns answers a file of debits as their bank would, returning each:
// bankreturns outbox/ach-20260324-A.ach R01 2026-03-27 returns.ach
func bankReturns(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: bankreturns FILE CODE SETTLED OUT")
	}
	sent, problems, err := ach.ReadEntries(strings.NewReader(ts.ReadFile(args[0])))
	ts.Check(err)
	if len(problems) > 0 {
		ts.Fatalf("%s: %v", args[0], problems)
	}
	day, err := calendar.Parse(args[2])
	ts.Check(err)
	answer := ach.AnswerFile{Sender: "121000358", SenderName: "FIRST EXAMPLE BANK", Receiver: "121000358", ReceiverName: "FIRST EXAMPLE BANK",
		Company: sent.Company(), Created: ach.Stamp{Date: day, Hour: 6}, IDModifier: 'A', Settled: day}
	for _, e := range sent.Debits {
		answer.Returns = append(answer.Returns, ach.ReturnOut{Original: e, Code: args[1]})
	}
	out, err := os.Create(ts.MkAbs(args[3]))
	ts.Check(err)
	ts.Check(ach.WriteReturns(out, answer))
	ts.Check(out.Close())
}

// sftpServer starts an SFTP server whose inbox is the script's folder inbox, and
// writes a policy that carries debit files there: sftpserver bank.json
func sftpServer(ts *testscript.TestScript, neg bool, args []string) {
	s := sftptest.New(ts.Value("tb").(testing.TB))
	os.Remove(ts.MkAbs("inbox"))
	ts.Check(os.Symlink(filepath.Join(s.Dir, "inbox"), ts.MkAbs("inbox")))
	policy, err := json.Marshal(map[string]any{"delivery": map[string]any{"ach": "bank", "places": map[string]any{
		"bank": map[string]any{"sftp": s.Address, "user": s.User, "key_file": s.KeyFile, "host_keys": []string{s.HostKey}, "directory": "inbox"}}}})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), policy, 0o600))
}

// mixPolicies writes the policy of one server with the host key of another.
func mixPolicies(ts *testscript.TestScript, neg bool, args []string) {
	hostKey := regexp.MustCompile(`"host_keys":\[[^]]*\]`)
	other := hostKey.FindString(ts.ReadFile(args[1]))
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(hostKey.ReplaceAllLiteralString(ts.ReadFile(args[0]), other)), 0o600))
}

// runSQL runs SQL on the script's database, as nobody but a test would.
func runSQL(ts *testscript.TestScript, neg bool, args []string) {
	ctx := context.Background()
	db, err := pgx.Connect(ctx, ts.Getenv("BILLCYCLE_DATABASE"))
	ts.Check(err)
	defer db.Close(ctx)
	for _, sql := range args {
		_, err := db.Exec(ctx, sql)
		ts.Check(err)
	}
}

// holdDay holds a business date as a run would, until the script ends.
func holdDay(ts *testscript.TestScript, neg bool, args []string) {
	ctx := context.Background()
	db, err := pgx.Connect(ctx, ts.Getenv("BILLCYCLE_DATABASE"))
	ts.Check(err)
	ts.Defer(func() { db.Close(ctx) })
	h := fnv.New32a()
	fmt.Fprintf(h, "billcycle business date %s", args[0])
	_, err = db.Exec(ctx, `select pg_advisory_lock($1)`, int64(h.Sum32()))
	ts.Check(err)
}

// sameFigures holds the last command's JSON against that of the first call with
// this name, but for the time it took.
func sameFigures(ts *testscript.TestScript, neg bool, args []string) {
	var got map[string]any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &got))
	delete(got, "seconds")
	text, err := json.Marshal(got)
	ts.Check(err)
	if _, err := os.Stat(ts.MkAbs(args[0])); err != nil {
		ts.Check(os.WriteFile(ts.MkAbs(args[0]), text, 0o600))
		return
	}
	if same := string(text) == ts.ReadFile(args[0]); same == neg {
		ts.Fatalf("the figures are %s\nthose before were %s", text, ts.ReadFile(args[0]))
	}
}

// Every command shows an example of itself, says what it does in a line, and
// takes the flags of all.
func TestEveryCommandHasAnExample(t *testing.T) {
	root := (&program{}).root()
	seen := 0
	var look func(c *cobra.Command)
	look = func(c *cobra.Command) {
		seen++
		if !strings.HasPrefix(c.Example, "  billcycle ") {
			t.Errorf("%s: its example is %q", c.CommandPath(), c.Example)
		}
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: what it does is said as %q", c.CommandPath(), c.Short)
		}
		for _, inside := range c.Commands() {
			look(inside)
		}
	}
	look(root)
	if seen < 30 {
		t.Errorf("found %d commands only", seen)
	}
	for _, line := range []string{"nightly", "run", "jobs", "runs", "import members", "import charges", "import payments", "import autopay",
		"lockbox inspect", "lockbox ingest", "lockbox held", "lockbox match", "lockbox release", "lockbox void", "lockbox return", "lockbox profiles", "lockbox reconcile",
		"ach inspect", "ach files", "ach release", "ach ingest", "account", "statements get", "rehearse", "verify", "refund", "adjust", "dispute open", "hold place",
		"waive", "assist", "migrate", "version", "man"} {
		if c, rest, err := root.Find(strings.Fields(line)); err != nil || len(rest) > 0 || c.Name() != line[strings.LastIndex(line, " ")+1:] {
			t.Errorf("there is no command %q", line)
		}
	}
}

func TestArgumentsFollowTheLineOfUse(t *testing.T) {
	for _, c := range []struct {
		use  string
		args string
		fine bool
	}{
		{"verify", "", true},
		{"verify", "x", false},
		{"import FILE", "", false},
		{"import FILE", "a", true},
		{"import FILE", "a b", false},
		{"rehearse PATH...", "", false},
		{"rehearse PATH...", "a b c", true},
		{"match FILE_ID ITEM MRN --reason WHY", "1 2", false},
		{"match FILE_ID ITEM MRN --reason WHY", "1 2 3", true},
		{"open MRN (--charge ID | --kind KIND)", "1", true},
		{"open MRN (--charge ID | --kind KIND)", "1 2", false},
	} {
		if err := argumentsOf(c.use)(&cobra.Command{Use: c.use}, strings.Fields(c.args)); (err == nil) != c.fine {
			t.Errorf("%s given %q: %v", c.use, c.args, err)
		}
	}
}

func TestMonthsBefore(t *testing.T) {
	for _, c := range []struct {
		day    string
		months int
		want   string
	}{{"2026-03-31", 1, "2026-02-28"}, {"2026-03-31", 18, "2024-09-30"}, {"2026-03-15", 0, "2026-03-15"}, {"2024-02-29", 12, "2023-02-28"}} {
		if got := monthsBefore(calendar.MustParse(c.day), c.months); got.String() != c.want {
			t.Errorf("%d months before %s: %s, want %s", c.months, c.day, got, c.want)
		}
	}
}
