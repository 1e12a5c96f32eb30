package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// What is about the program itself, not about the biller's books.

func (p *program) programCommands() []*cobra.Command {
	return []*cobra.Command{p.statementsCommand(), p.migrateCommand(), p.versionCommand(), p.manCommand()}
}

func (p *program) migrateCommand() *cobra.Command {
	return p.command(command{
		use:     "migrate",
		short:   "Bring the database's schema up to this program's",
		example: "  billcycle migrate --database postgres://localhost/billcycle",
		long: `Bring the schema up to date, and make the program's own database, the data
directory and the keys if they are not there; a database that --database names
must be there, and may be empty. Every command that opens the database does the same
first, so this is for those who want it done beforehand, and for new books with keys
that are there already, which no other command begins.`,
		run: func(ctx context.Context, _ []string) error {
			p.begins = true
			house, err := p.open(ctx, p.person())
			if err != nil {
				return err
			}
			var database, version string
			if err := house.DB.QueryRow(ctx, `select current_database(), (select max(version_id)::text from goose_db_version)`).Scan(&database, &version); err != nil {
				return err
			}
			return p.answer(struct {
				Database string `json:"database"`
				Schema   string `json:"schema"`
			}{database, version}, func(w *page) { w.line("database %s is at schema version %s", database, version) })
		},
	})
}

func (p *program) versionCommand() *cobra.Command {
	return p.command(command{
		use:     "version",
		short:   "Say which version of billcycle this is",
		example: "  billcycle version",
		run: func(context.Context, []string) error {
			v := readVersion()
			return p.answer(v, func(w *page) {
				w.line("billcycle %s %s", v.Version, v.Revision)
				w.line("%s %s", v.Go, v.Platform)
			})
		},
	})
}

// version is what the build says of the program.
type version struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Modified bool   `json:"modified"` // built from more than that revision
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func readVersion() version {
	v := version{Version: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		v.Version = info.Main.Version
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				v.Revision = s.Value
			case "vcs.modified":
				v.Modified = s.Value == "true"
			}
		}
	}
	return v
}

func (p *program) manCommand() *cobra.Command {
	c := p.command(command{
		use:     "man",
		short:   "Write the manual page",
		example: "  billcycle man | man -l -",
	})
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		p.began = true
		_, err := io.WriteString(p.out, manual(cmd.Root()))
		return err
	}
	return c
}

// manual is the manual page of all commands, in the macros of man(7).
func manual(root *cobra.Command) string {
	var b strings.Builder
	text := func(s string) {
		for line := range strings.Lines(s) {
			if line = strings.ReplaceAll(strings.TrimRight(line, "\n"), `\`, `\e`); line == "" {
				b.WriteString(".PP\n")
				continue
			}
			b.WriteString(`\&` + strings.ReplaceAll(line, "-", `\-`) + "\n") // \& so that no line is a macro
		}
	}
	block := func(s string) {
		b.WriteString(".nf\n")
		text(s)
		b.WriteString(".fi\n")
	}
	var describe func(c *cobra.Command)
	describe = func(c *cobra.Command) {
		if c.HasExample() && !c.HasSubCommands() {
			fmt.Fprintf(&b, ".SS %s\n", strings.ReplaceAll(c.UseLine(), "-", `\-`))
			text(cmp.Or(c.Long, c.Short+"."))
			block(c.Example)
			if c.HasAvailableLocalFlags() {
				block(c.LocalNonPersistentFlags().FlagUsages())
			}
		}
		for _, inside := range c.Commands() {
			describe(inside)
		}
	}
	b.WriteString(".TH BILLCYCLE 1\n.SH NAME\nbillcycle \\- ")
	text(root.Short)
	b.WriteString(".SH DESCRIPTION\n")
	text(root.Long)
	b.WriteString(".SH EXAMPLES\n")
	block(root.Example)
	b.WriteString(".SH OPTIONS OF ALL COMMANDS\n")
	block(root.PersistentFlags().FlagUsages())
	b.WriteString(".SH COMMANDS\n")
	describe(root)
	return b.String()
}
