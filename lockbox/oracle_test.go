package lockbox

import (
	"bufio"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/billcycle/billcycle/ledger"
)

// oracle is an 823 as npm's node-x12 reads it. testdata/node-x12.cjs makes
// testdata/823.golden, one line for each file; it needs node, this test does
// not.
type oracle struct {
	File     string          `json:"file"`
	Sets     int             `json:"sets"`
	Deposits []oracleDeposit `json:"deposits"`
}

type oracleDeposit struct {
	Lockbox string        `json:"lockbox"`
	Date    string        `json:"date"`
	Total   ledger.Cents  `json:"total"`
	Batches []oracleBatch `json:"batches"`
}

type oracleBatch struct {
	Number string        `json:"number"`
	Total  *ledger.Cents `json:"total,omitempty"`
	Checks []oracleCheck `json:"checks"`
}

type oracleCheck struct {
	Cents   ledger.Cents   `json:"cents"`
	Routing string         `json:"routing"`
	Account string         `json:"account"`
	Coupons []oracleCoupon `json:"coupons"`
}

type oracleCoupon struct {
	Reference string       `json:"reference"`
	Cents     ledger.Cents `json:"cents"`
}

// Another reader of X12 finds the same deposits, batches, checks and coupons,
// whatever the delimiters.
func TestNodeX12Agrees(t *testing.T) {
	golden, err := os.Open("testdata/823.golden")
	if err != nil {
		t.Fatal(err)
	}
	defer golden.Close()
	files := 0
	for lines := bufio.NewScanner(golden); lines.Scan(); files++ {
		var want oracle
		if err := json.Unmarshal(lines.Bytes(), &want); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile("testdata/" + want.File)
		if err != nil {
			t.Fatal(err)
		}
		s, batches := read(t, string(text), profile(t, "x12-823"))
		if !s.Foots() || len(s.Problems) > 0 {
			t.Errorf("%s: %v", want.File, s.Problems)
			continue
		}
		if got := asOracle(s, batches); !reflect.DeepEqual(got, want.Deposits) {
			g, _ := json.Marshal(got)
			w, _ := json.Marshal(want.Deposits)
			t.Errorf("%s:\n we %s\nnode-x12 %s", want.File, g, w)
		}
	}
	if files != 5 {
		t.Errorf("%d files", files)
	}
}

func asOracle(s Summary, batches []Batch) []oracleDeposit {
	deposits := []oracleDeposit{}
	for _, box := range s.Boxes {
		d := oracleDeposit{Lockbox: box.Lockbox, Date: strings.ReplaceAll(box.DepositDate.String(), "-", ""), Total: box.Said.Cents, Batches: []oracleBatch{}}
		for range box.Batches {
			b := batches[0]
			batches = batches[1:]
			o := oracleBatch{Number: b.Number, Checks: []oracleCheck{}}
			if b.Said != nil {
				o.Total = &b.Said.Cents
			}
			for _, i := range b.Items {
				c := oracleCheck{i.Cents, i.Routing, i.Account, []oracleCoupon{}}
				for _, x := range i.Overflows {
					c.Coupons = append(c.Coupons, oracleCoupon{x.Invoice, x.Cents})
				}
				o.Checks = append(o.Checks, c)
			}
			d.Batches = append(d.Batches, o)
		}
		deposits = append(deposits, d)
	}
	return deposits
}
