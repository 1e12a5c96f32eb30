package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/billcycle/billcycle/billing"
)

func (p *program) keysCommand() *cobra.Command {
	return group("keys", "The encryption keys: what each keeps, and a new one",
		`  billcycle keys list
  billcycle keys rotate`,
		p.keysListCommand(), p.keysRotateCommand())
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
