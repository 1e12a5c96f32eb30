package billing

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/billcycle/billcycle/postgres/postgrestest"
	"github.com/billcycle/billcycle/secret"
)

// After a rotation every account number is sealed with the new key, and is the
// same number; whatever was sealed meanwhile is found by running it again.
func TestReseal(t *testing.T) {
	db, path := postgrestest.New(t), filepath.Join(t.TempDir(), "keys")
	keys, err := secret.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	store := func(id int64, by *secret.Keys) {
		t.Helper()
		sealed, err := by.Seal([]byte(fmt.Sprint("90000", id)), fmt.Sprintf("autopay_method/%d", id))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(t.Context(), `with a as (insert into account (id, mrn, opened_on) overriding system value values ($1::bigint, ($1::bigint)::text, '2026-01-01') returning id)
			insert into autopay_method (account_id, method, number_sealed, authorized_on, authorized_by, individual) select id, 'ach', $2, '2026-01-01', 'web', 'x' from a`, id, sealed); err != nil {
			t.Fatal(err)
		}
	}
	for id := range int64(5) {
		store(id+1, keys)
	}
	stale, err := secret.Load(path) // another program that has the file open
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Rotate(); err != nil {
		t.Fatal(err)
	}
	want := func(numbers ...int64) {
		t.Helper()
		uses, err := KeyUses(t.Context(), db, keys)
		if err != nil || len(uses) != len(numbers) || !uses[0].Current {
			t.Fatalf("%+v %v", uses, err)
		}
		for i, n := range numbers {
			if uses[i].Numbers != n {
				t.Errorf("%+v, want %d", uses, numbers)
			}
		}
	}
	want(0, 5)
	if n, err := Reseal(t.Context(), db, keys); err != nil || n != 5 {
		t.Errorf("%d %v", n, err)
	}
	want(5, 0)
	store(6, stale)
	want(5, 1)
	if n, err := Reseal(t.Context(), db, keys); err != nil || n != 1 {
		t.Errorf("%d %v", n, err)
	}
	if n, err := Reseal(t.Context(), db, keys); err != nil || n != 0 {
		t.Errorf("again: %d %v", n, err)
	}
	for id := range int64(6) {
		var sealed []byte
		if err := db.QueryRow(t.Context(), `select number_sealed from autopay_method where account_id = $1`, id+1).Scan(&sealed); err != nil {
			t.Fatal(err)
		}
		if number, err := keys.Open(sealed, fmt.Sprintf("autopay_method/%d", id+1)); err != nil || string(number) != fmt.Sprint("90000", id+1) {
			t.Errorf("account %d: %q %v", id+1, number, err)
		}
	}
	other, err := secret.New()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := KeyUses(t.Context(), db, other); err == nil {
		t.Error("keys that open nothing are taken for the right ones")
	}
	if _, err := Reseal(t.Context(), db, other); err == nil {
		t.Error("resealed with keys that open nothing")
	}
}
