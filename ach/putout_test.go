package ach_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/billcycle/billcycle/ach"
	"github.com/billcycle/billcycle/billing"
)

// A file that was released, but not put into the outbox before its effective
// date, stays in the house: its debits are withdrawn and built again.
func TestNotPutOutInTime(t *testing.T) {
	b := newBiller(t)
	one := b.payer(57500)
	_, files := b.build(buildDay)
	b.release(buildDay, files...)
	dir := t.TempDir()
	o := b.office(dueDay, "system")
	if paths, _, err := o.WriteOut(t.Context(), dir); err != nil || len(paths) != 0 {
		t.Errorf("written on its effective date: %v %v", paths, err)
	}
	for _, want := range []int{1, 0} { // once
		if missed, _, err := o.TakeBack(t.Context(), dir); err != nil || len(missed) != want {
			t.Fatalf("took back %+v, %v", missed, err)
		}
	}
	withdrawn, posted := b.post(dueDay)
	if withdrawn.Skipped[billing.NotSent] != 1 || posted.Done != 0 {
		t.Errorf("withdrawn %+v, posted %+v", withdrawn, posted)
	}
	b.want("due again", b.figures(one), "57500 0 57500 on")
	b.want("asks", b.exceptions(), "0:ach:file_unknown:"+files[0].Name+" 1:post:not_sent:2026-03")
	if told, err := o.Say(t.Context(), ach.Word{File: files[0].Name, Status: "accepted", Entries: -1, Cents: -1}); err != nil || !told.Review {
		t.Errorf("the bank has it all the same: %+v %v", told, err)
	}
	_, again := b.build(dueDay)
	if len(again) != 1 || again[0].EffectiveOn != dueDay+1 {
		t.Fatalf("built again %+v", again)
	}
	b.release(dueDay, again...)
	if paths, _, err := o.WriteOut(t.Context(), dir); err != nil || len(paths) != 1 || filepath.Base(paths[0]) != again[0].Name {
		t.Errorf("written %v %v", paths, err)
	}
	if missed, _, err := b.office(dueDay+1, "system").TakeBack(t.Context(), dir); err != nil || len(missed) != 0 {
		t.Errorf("took back %+v, %v", missed, err)
	}
	b.post(dueDay + 1)
	b.want("paid", b.figures(one), "0 0 0 on")
	b.want("invariants", b.broken(), "")
}

// The program stopped before it could note that the file was there: it went in
// time.
func TestPutOutInTimeNotNoted(t *testing.T) {
	b := newBiller(t)
	one := b.payer(57500)
	_, files := b.build(buildDay)
	b.release(buildDay, files...)
	dir := t.TempDir()
	if _, _, err := b.office(buildDay, "system").WriteOut(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	b.exec(`update ach_file set written_on = null`)
	if missed, _, err := b.office(dueDay, "system").TakeBack(t.Context(), dir); err != nil || len(missed) != 0 {
		t.Errorf("took back %+v, %v", missed, err)
	}
	b.want("noted", b.ask(`select count(written_on) from ach_file`), "1")
	b.post(dueDay)
	b.want("paid", b.figures(one), "0 0 0 on")
}

// Killed at any moment of putting a file out, and the file carried away as soon as
// it has its name: it is put out once.
func TestPutOutKilled(t *testing.T) {
	for _, before := range []string{"update ach_file set ready_on", "update ach_file set written_on", "commit"} {
		for nth := 1; nth <= 2; nth++ {
			t.Run(fmt.Sprint(before, " ", nth), func(t *testing.T) {
				b := newBiller(t)
				one := b.payer(57500)
				_, files := b.build(buildDay)
				b.release(buildDay, files...)
				dir, carried := t.TempDir(), 0
				path := filepath.Join(dir, files[0].Name)
				carry := func() {
					if err := os.Remove(path); err == nil {
						carried++
					}
				}
				ctx, kill := context.WithCancel(t.Context())
				defer kill()
				config := b.db.Config()
				seen := 0
				config.ConnConfig.Tracer = killer(func(sql string) {
					if strings.HasPrefix(sql, before) {
						if seen++; seen == nth {
							kill()
						}
					}
				})
				dying, err := pgxpool.NewWithConfig(t.Context(), config)
				b.must(err)
				defer dying.Close()
				o := b.office(buildDay, "system")
				o.DB = dying
				_, _, _ = o.WriteOut(ctx, dir)
				carry()
				asked := 0
				for range 2 {
					_, n, err := b.office(buildDay, "system").WriteOut(t.Context(), dir)
					b.must(err)
					asked += n
					carry()
				}
				if carried != 1 {
					t.Errorf("the bank got it %d times", carried)
				}
				if missed, _, err := b.office(dueDay, "system").TakeBack(t.Context(), dir); err != nil || len(missed) != 0 {
					t.Errorf("took back %+v, %v", missed, err)
				}
				b.want("noted", b.ask(`select count(written_on) from ach_file`), "1")
				told := b.ask(`select count(*) from exception where detail like '%taken as carried to the bank%'`)
				if fmt.Sprint(asked) != told {
					t.Errorf("a person was told %s times, and the calls count %d", told, asked)
				}
				if gone := before == "update ach_file set written_on" && nth == 1; gone != (told == "1") && before != "commit" {
					t.Errorf("it was gone unnoted: %v; a person was told %s times", gone, told)
				}
				b.post(dueDay)
				b.want("paid", b.figures(one), "0 0 0 on")
			})
		}
	}
}

type killer func(sql string)

func (k killer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	k(q.SQL)
	return ctx
}

func (k killer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func TestWriteOut(t *testing.T) {
	b := newBiller(t)
	b.payer(100)
	_, files := b.build(buildDay)
	b.release(buildDay, files...)
	o, dir := b.office(buildDay, "system"), t.TempDir()
	path := filepath.Join(dir, files[0].Name)

	b.must(os.WriteFile(path, []byte("something else"), 0o600))
	if _, _, err := o.WriteOut(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "other bytes") {
		t.Errorf("wrote over another file: %v", err)
	}
	b.must(os.Remove(path))
	paths, _, err := o.WriteOut(t.Context(), dir)
	if err != nil || len(paths) != 1 {
		t.Fatalf("%v %v", paths, err)
	}
	// The program stopped before it could note it: the same bytes again.
	b.exec(`update ach_file set written_on = null`)
	if paths, _, err := o.WriteOut(t.Context(), dir); err != nil || len(paths) != 1 {
		t.Errorf("after a crash: %v %v", paths, err)
	}
	// Nor had it its name yet, and a disk has spoiled it meanwhile.
	want, err := os.ReadFile(path)
	b.must(err)
	b.exec(`update ach_file set written_on = null`)
	b.must(os.Remove(path))
	b.must(os.WriteFile(filepath.Join(dir, "."+files[0].Name+".whole"), want[:100], 0o600))
	if paths, _, err := o.WriteOut(t.Context(), dir); err != nil || len(paths) != 1 {
		t.Errorf("torn: %v %v", paths, err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != string(want) {
		t.Errorf("torn: %d bytes are out, want %d, %v", len(got), len(want), err)
	}
	// Carried to the bank: it is not made again.
	b.must(os.Remove(path))
	if paths, _, err := o.WriteOut(t.Context(), dir); err != nil || len(paths) != 0 {
		t.Errorf("written a second time: %v %v", paths, err)
	}
	// Bytes that do not open, that lack their end, or that are other ones.
	b.exec(`alter table ach_file disable trigger ach_file_guard`)
	for name, sql := range map[string]string{
		"altered": `update ach_file_part set sealed = set_byte(sealed, 40, get_byte(sealed, 40) # 1)`,
		"missing": `delete from ach_file_part`,
		"hash":    `update ach_file set sha256 = '\x00', released_sha256 = '\x00'`,
	} {
		b.exec(`update ach_file set written_on = null, ready_on = null`)
		b.exec(`create table kept as select * from ach_file_part`)
		hash := b.ask(`select encode(sha256, 'hex') from ach_file`)
		b.exec(sql)
		if _, _, err := o.WriteOut(t.Context(), dir); !errors.Is(err, ach.ErrAltered) {
			t.Errorf("%s: wrote bytes that are not those that were sealed: %v", name, err)
		}
		b.exec(`delete from ach_file_part`)
		b.exec(`insert into ach_file_part select * from kept`)
		b.exec(`drop table kept`)
		b.exec(`update ach_file set sha256 = decode($1, 'hex'), released_sha256 = decode($1, 'hex')`, hash)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("the outbox holds %v", left)
	}
}
