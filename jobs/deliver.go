package jobs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/ach"
	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/delivery"
)

// queue enters a file of the outbox that the policy has a place for, in the
// transaction that notes it as written: one that was written before there was a
// place was carried by somebody else, and is never sent again.
func (r *Run) queue(ctx context.Context, tx pgx.Tx, p delivery.Parcel) error {
	if p.Place == "" {
		p.Place = r.Policy.Delivery.PlaceOf(p.Folder)
	}
	if p.Place == "" {
		return nil
	}
	p.QueuedOn = r.Day
	return delivery.Queue(ctx, tx, p)
}

func runDeliver(ctx context.Context, r *Run) error {
	outcomes, err := r.deliver(ctx)
	for _, o := range outcomes {
		if o.Reason == "" {
			r.tally.Did(1, 0)
			r.note("outbox/%s/%s: delivered to %s as %s", o.Folder, o.Name, o.Place, o.SentAs)
			continue
		}
		r.tally.Skip(o.Reason, 1)
		r.waits++
		r.note("outbox/%s/%s: not delivered to %s (%s): %s", o.Folder, o.Name, o.Place, o.Reason, o.Note)
	}
	return err
}

// Deliver carries what waits in the outbox now, outside of a night.
func (h House) Deliver(ctx context.Context, day calendar.Date) ([]delivery.Outcome, error) {
	r := &Run{House: h, Job: "deliver", Day: day}
	return r.deliver(ctx)
}

func (r *Run) deliver(ctx context.Context) ([]delivery.Outcome, error) {
	late, err := r.lateFiles(ctx)
	if err != nil {
		return nil, err
	}
	carrier := delivery.Carrier{DB: r.DB, Day: r.Day, Outbox: filepath.Join(r.Dir, "outbox"), Places: places(r.Policy),
		TooLate: func(p delivery.Parcel) string {
			if p.Folder == "ach" {
				return late[p.Name]
			}
			return ""
		}}
	if r.dry {
		return nil, nil
	}
	outcomes, err := carrier.Carry(ctx)
	if err != nil {
		return outcomes, err
	}
	return outcomes, r.clearOutbox(ctx)
}

// lateFiles lists the ACH files that must not go to the bank any more, with the
// reason: their effective date has come, or they were withdrawn.
func (r *Run) lateFiles(ctx context.Context) (map[string]string, error) {
	files, err := r.Office(r.Day).Files(ctx)
	late := map[string]string{}
	for _, f := range files {
		switch {
		case f.State != ach.FileReleased:
			late[f.Name] = "it is " + string(f.State)
		case f.EffectiveOn <= max(r.Day, r.today):
			late[f.Name] = "its effective date, " + f.EffectiveOn.String() + ", has come: agree with the bank on what to do, then cancel it here or say that it was delivered"
		}
	}
	return late, err
}

// places are the policy's places as delivery knows them.
func places(p *billing.Policy) map[string]delivery.Place {
	all := map[string]delivery.Place{}
	for name, is := range p.Delivery.Places {
		all[name] = delivery.Place{
			SFTP: delivery.SFTP{Address: is.SFTP, User: is.User, KeyFile: is.KeyFile, PassphraseFile: is.Passphrase, PasswordFile: is.PasswordFile, HostKeys: is.HostKeys,
				Directory: is.Directory, Suffix: is.Suffix, Idle: time.Duration(is.IdleSeconds) * time.Second},
			OpenPGP: delivery.OpenPGP{RecipientFile: is.OpenPGP.RecipientFile, SignerFile: is.OpenPGP.SignerFile, PassphraseFile: is.OpenPGP.Passphrase},
			Tries:   is.Tries, Wait: time.Duration(is.WaitSeconds) * time.Second,
		}
	}
	return all
}

// clearOutbox moves what has been delivered into the archive, encrypted where
// it holds account numbers.
func (r *Run) clearOutbox(ctx context.Context) error {
	delivered, err := delivery.Parcels(ctx, r.DB, delivery.Delivered)
	if err != nil {
		return err
	}
	for _, p := range delivered {
		path := filepath.Join(r.Dir, "outbox", p.Folder, p.Name)
		if err := delivery.Forget(path); err != nil {
			return err
		}
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = errors.Join(r.archive(filepath.Join("sent", p.Folder), path, f), f.Close())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// DecideDelivery settles a parcel as a person says: see delivery.Decide.
func (h House) DecideDelivery(ctx context.Context, id int64, to delivery.State, reason string, day calendar.Date) (p delivery.Parcel, err error) {
	err = pgx.BeginFunc(ctx, h.DB, func(tx pgx.Tx) error {
		if p, err = delivery.Decide(ctx, tx, id, to, day); err != nil {
			return err
		}
		return billing.Act{Day: day, Operator: h.Operator, Verb: "deliver_" + string(to), Reason: reason,
			Detail: map[string]any{"parcel": id, "file": p.Name}}.Record(ctx, tx, 0)
	})
	return p, err
}
