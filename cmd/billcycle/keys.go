package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/secret"
)

func (p *program) keysCommand() *cobra.Command {
	return group("keys", "The encryption keys: what each keeps, and a new one",
		`  billcycle keys list
  billcycle keys rotate
  billcycle keys open archive/lockbox/2026-03-20/deposits.bai.sealed --out deposits.bai`,
		p.keysListCommand(), p.keysRotateCommand(), p.keysOpenCommand())
}

func (p *program) keysListCommand() *cobra.Command {
	return p.command(command{
		use: "list", short: "List the keys by id, and how many account numbers each keeps", example: "  billcycle keys list",
		run: func(ctx context.Context, _ []string) error {
			house, err := p.open(ctx, p.person())
			if err != nil {
				return err
			}
			return p.showKeys(ctx, house.DB, 0)
		},
	})
}

func (p *program) keysRotateCommand() *cobra.Command {
	again := false
	c := p.command(command{
		use: "rotate", short: "Make a new key and seal every account number with it", example: "  billcycle keys rotate",
		long: `Make a new key, which seals from now on, and seal the account numbers of autopay
with it. The older keys stay in the file, since sealed files and archives need them:
make a new copy of it afterwards. Stopped half way, --go-on seals what is left
without making another key.`,
		run: func(ctx context.Context, _ []string) error {
			house, err := p.open(ctx, p.person())
			if err != nil {
				return err
			}
			if !again {
				if err := house.Keys.Rotate(); err != nil {
					return &configError{err}
				}
			}
			n, err := billing.Reseal(ctx, house.DB, house.Keys)
			if err != nil {
				return err
			}
			return p.showKeys(ctx, house.DB, n)
		},
	})
	c.Flags().BoolVar(&again, "go-on", false, "make no new key, seal what is left")
	return c
}

func (p *program) showKeys(ctx context.Context, q billing.Querier, resealed int64) error {
	uses, err := billing.KeyUses(ctx, q, p.keys)
	if err != nil {
		return err
	}
	return p.answer(struct {
		Resealed int64            `json:"resealed"`
		Keys     []billing.KeyUse `json:"keys"`
	}{resealed, notNull(uses)}, func(w *page) {
		w.line("key\taccount numbers\t")
		for _, u := range uses {
			state := ""
			if u.Current {
				state = "seals now"
			}
			w.line("%d\t%d\t%s", u.KeyID, u.Numbers, state)
		}
	})
}

func (p *program) keysOpenCommand() *cobra.Command {
	var out string
	c := p.command(command{
		use: "open FILE --out FILE", short: "Open a file of the archive that was sealed",
		example: "  billcycle keys open archive/lockbox/2026-03-20/deposits.bai.sealed --out deposits.bai",
		long: `Open a file of archive/ that was encrypted since it holds account numbers, and write
it plain to --out, readable for you alone. A file that was altered or cut is refused
(exit code 4). Delete the plain file when you have what you need.`,
		run: func(ctx context.Context, args []string) error {
			if out == "" {
				return wrongUsage("it needs --out: where to write the plain file")
			}
			if _, err := os.Stat(p.keysFile); err != nil {
				return &configError{fmt.Errorf("the keys file: %w", err)}
			}
			keys, err := secret.Load(p.keysFile)
			if err != nil {
				return &configError{err}
			}
			sealed, err := os.Open(args[0])
			if err != nil {
				return noFile(err)
			}
			defer sealed.Close()
			plain, err := os.OpenFile(out, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
			if errors.Is(err, fs.ErrExist) {
				return refuse(fmt.Errorf("%s is there already: name a file that is not", out))
			}
			if err != nil {
				return noFile(err)
			}
			of, err := keys.OpenFile(plain, sealed)
			if err = errors.Join(err, plain.Close()); err != nil {
				os.Remove(out)
				return refuse(fmt.Errorf("%s: %w", args[0], err))
			}
			return p.answer(struct {
				Of  string `json:"of"`
				Out string `json:"out"`
			}{of, out}, func(w *page) { w.line("%s\t%s", of, out) })
		},
	})
	c.Flags().StringVar(&out, "out", "", "the plain `file` to write; it must not be there yet")
	return c
}
