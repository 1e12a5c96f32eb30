package lockbox_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/lockbox"
)

// byLayout takes a file of one check in, laid out as a built-in profile says.
func (m *mail) byLayout(layout, day, sent, routing string, cents ledger.Cents, payer string) lockbox.Ingested {
	m.Helper()
	p, err := lockbox.ProfileNamed(lockbox.Profiles(), layout)
	m.must(err)
	item := lockbox.Item{Check: "1001", Cents: cents, Routing: routing, Account: "9988776655"}
	if payer != "" {
		item.Overflows = []lockbox.Overflow{{Text: payer, Payer: payer}}
	}
	var b bytes.Buffer
	m.must(lockbox.Write(&b, p, lockbox.File{Destination: "BILLER", Origin: "BANK", Time: sent, Batches: []lockbox.Batch{batch(sent[1:], item)}}))
	got, err := m.desk(day).Ingest(m.Context(), layout+sent, bytes.NewReader(b.Bytes()), p)
	m.must(err)
	m.addsUp(got)
	return got
}

// The same check is the same by a layout with the routing number's check digit
// and by one without.
func TestSameCheckByOtherLayouts(t *testing.T) {
	m := newMail(t)
	ann, _ := m.member(1, 57500)
	for n, c := range []struct {
		first, firstRouting, second, secondRouting string
		held                                       bool
	}{
		{"bai-a", "121000358", "bai-b", "12100035", true},
		{"bai-b", "12100035", "bai-c", "121000358", true},
		{"bai-a", "021000021", "bai-b", "02100002", true},  // it begins with 0
		{"bai-b", "00000051", "bai-a", "000000518", true},  // and with many
		{"bai-b", "12100035", "bai-b", "12100035", true},   // both without
		{"bai-a", "21000021", "bai-a", "021000021", true},  // one lost its zero
		{"bai-a", "021000021", "bai-b", "21000021", false}, // no zero was lost: another bank
		{"bai-a", "21000021", "bai-b", "21000021", false},
		{"bai-a", "121000357", "bai-b", "12100035", false}, // a digit was misread
		{"bai-b", "12100035", "bai-b", "12100036", false},
	} {
		cents := ledger.Cents(100 + n)
		m.byLayout(c.first, "2026-03-16", fmt.Sprintf("06%02d", n), c.firstRouting, cents, ann)
		got := m.byLayout(c.second, "2026-03-17", fmt.Sprintf("07%02d", n), c.secondRouting, cents, ann)
		if held := got.Held == 1; held != c.held {
			t.Errorf("%s of %s and %s of %s: held %v, want %v", c.firstRouting, c.first, c.secondRouting, c.second, held, c.held)
		}
	}
}

// Who paid from a bank account is remembered across layouts.
func TestProposedByOtherLayouts(t *testing.T) {
	m := newMail(t)
	ann, _ := m.member(1, 57500)
	m.byLayout("bai-a", "2026-03-16", "0600", "021000021", 100, ann)
	m.byLayout("bai-b", "2026-03-17", "0700", "02100002", 200, "")
	work, err := m.desk("2026-03-17").Held(t.Context())
	m.must(err)
	if len(work) != 1 || len(work[0].Proposals) != 1 || work[0].Proposals[0].MRN != ann {
		t.Errorf("%+v", work)
	}
}

// A bank without check digits may tell returned checks without them, too.
func TestReturnedCheckWithoutCheckDigit(t *testing.T) {
	m := newMail(t)
	ann, _ := m.member(1, 57500)
	m.byLayout("bai-b", "2026-03-16", "0600", "02100002", 100, ann)
	m.byLayout("bai-b", "2026-03-16", "0700", "02100002", 200, ann)
	m.byLayout("bai-a", "2026-03-16", "0800", "021000021", 300, ann)
	lines := []string{"routing,account,check,cents,reason", "02100002,9988776655,1001,100,STOP", "021000021,9988776655,1001,200,STOP", "21000021,9988776655,1001,300,STOP"}
	if got := m.returns("2026-03-18", strings.Join(lines, "\n")+"\n"); got.Returned != 3 {
		t.Errorf("%+v", got)
	}
}
