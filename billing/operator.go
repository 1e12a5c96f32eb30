package billing

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/billcycle/billcycle/calendar"
)

// Operator is a person who may release debits. While nobody is listed, a name
// is taken at its word; from the first one on, only who is listed, enabled and
// shows the token may release.
type Operator struct {
	Name      string        `json:"name"`
	Enabled   bool          `json:"enabled"`
	AddedOn   calendar.Date `json:"added_on"`
	ChangedBy string        `json:"changed_by"` // who added, enabled or disabled it last
}

// System is the clock as an operator. It makes files and never releases one.
const System = "system"

// SamePerson says whether two names are one person's: capitals and blanks
// around a name make no difference.
func SamePerson(a, b string) bool {
	return strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b))
}

// ErrOperator says that somebody is not who may do this.
var ErrOperator = errors.New("refused")

// Identify proves that a name and a token are those of an enabled operator, if
// any operator is listed. The error is an ErrOperator.
func Identify(ctx context.Context, q Querier, name, token string) error {
	var hash []byte
	var enabled bool
	var listed int
	err := q.QueryRow(ctx, `select (select count(*) from operator), token_hash, enabled from (select 1) one left join operator on lower(name) = lower(btrim($1))`, name).Scan(&listed, &hash, (*nullBool)(&enabled))
	sum := sha256.Sum256([]byte(token))
	switch {
	case err != nil:
		return err
	case listed == 0:
		return nil
	case hash == nil:
		return fmt.Errorf("%w: %q is not listed (billcycle operators list)", ErrOperator, name)
	case subtle.ConstantTimeCompare(hash, sum[:]) != 1:
		return fmt.Errorf("%w: the token is not %s's; give it in BILLCYCLE_TOKEN or --token-file", ErrOperator, name)
	case !enabled:
		return fmt.Errorf("%w: %s is disabled", ErrOperator, name)
	}
	return nil
}

// nullBool scans NULL as false.
type nullBool bool

func (b *nullBool) Scan(v any) error {
	is, _ := v.(bool)
	*b = nullBool(is)
	return nil
}

// Operators lists all operators by name.
func Operators(ctx context.Context, q Querier) ([]Operator, error) {
	rows, err := q.Query(ctx, `select name, enabled, added_on, changed_by from operator order by lower(name)`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Operator])
}

// SetOperator adds, enables or disables an operator, or gives one a new token
// (verb add, enable, disable, renew). It is done by another operator, in whose
// name Identify has succeeded: nobody makes a second person of oneself. Only
// the first of all is added by whoever does it. A new token is returned once
// and is nowhere kept.
func (act Act) SetOperator(ctx context.Context, tx pgx.Tx, verb, name string) (token string, err error) {
	name = strings.TrimSpace(name)
	if _, err := tx.Exec(ctx, `lock table operator in share row exclusive mode`); err != nil {
		return "", err
	}
	listed, err := Operators(ctx, tx)
	if err != nil {
		return "", err
	}
	var known *Operator
	for i := range listed {
		if SamePerson(listed[i].Name, name) {
			known = &listed[i]
		}
	}
	switch {
	case name == "" || len(name) > 60 || SamePerson(name, System):
		return "", fmt.Errorf("%w: %q is no name for a person", ErrOperator, name)
	case len(listed) > 0 && SamePerson(act.Operator, name) && verb != "disable":
		return "", fmt.Errorf("%w: nobody can %s themself; another operator must", ErrOperator, verb)
	case verb == "add" && known != nil:
		return "", fmt.Errorf("%w: %s is listed already", ErrOperator, known.Name)
	case verb != "add" && known == nil:
		return "", fmt.Errorf("%w: %s is not listed", ErrOperator, name)
	}
	if verb == "add" || verb == "renew" {
		token = rand.Text()
	}
	sum := sha256.Sum256([]byte(token))
	switch verb {
	case "add":
		_, err = tx.Exec(ctx, `insert into operator (name, token_hash, added_on, changed_by) values ($1, $2, $3, $4)`, name, sum[:], act.Day, act.Operator)
	case "renew":
		_, err = tx.Exec(ctx, `update operator set token_hash = $2, changed_by = $3 where name = $1`, known.Name, sum[:], act.Operator)
	case "enable", "disable":
		_, err = tx.Exec(ctx, `update operator set enabled = $2, changed_by = $3 where name = $1`, known.Name, verb == "enable", act.Operator)
	default:
		err = fmt.Errorf("no such act on an operator: %s", verb)
	}
	if err != nil {
		return "", err
	}
	act.Verb, act.Detail = "operator_"+verb, map[string]any{"name": name}
	return token, act.Record(ctx, tx, 0)
}
