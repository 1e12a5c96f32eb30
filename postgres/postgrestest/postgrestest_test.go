package postgrestest

import (
	"context"
	"testing"
)

func TestNew(t *testing.T) {
	ctx := context.Background()
	var mine string
	t.Run("a test", func(t *testing.T) {
		if err := New(t).QueryRow(ctx, "SELECT current_database()").Scan(&mine); err != nil {
			t.Fatal(err)
		}
	})
	var other string
	var left int
	err := New(t).QueryRow(ctx, "SELECT current_database(), (SELECT count(*) FROM pg_database WHERE datname = $1)", mine).Scan(&other, &left)
	if err != nil {
		t.Fatal(err)
	}
	if mine == other {
		t.Errorf("two tests got the same database %s", mine)
	}
	if left != 0 {
		t.Errorf("%s outlived its test", mine)
	}
}
