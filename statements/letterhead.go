package statements

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/klauspost/compress/zlib"

	"github.com/billcycle/billcycle/billing"
)

// A letterhead is a [Biller] as it was when statements were sealed: it stands in
// the database once, under the hash of what it holds, and each statement names
// its own.
type letterhead struct {
	hash   []byte
	sealed []byte
	biller *Biller
}

// sealLetterheads sees to it that the policy's letterheads are in the database,
// always in the same order, so that two ranges never wait for each other.
func (s *sealing) sealLetterheads(ctx context.Context, tx pgx.Tx) error {
	var all []*Biller
	for _, language := range s.policy.Biller.Languages {
		for _, rules := range s.policy.All() {
			b := billerOf(s.policy, rules, language)
			if !slices.ContainsFunc(all, func(x *Biller) bool { return x.Language == language && x.LateFee == b.LateFee }) {
				all = append(all, b)
			}
		}
	}
	for _, b := range all {
		h, err := newLetterhead(b)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `insert into letterhead (sha256, sealed) select $1, $2 where not exists (select from letterhead where sha256 = $1) on conflict do nothing`, h.hash, h.sealed); err != nil {
			return err
		}
		s.heads = append(s.heads, h)
	}
	return nil
}

func newLetterhead(b *Biller) (letterhead, error) {
	plain, err := json.Marshal(b)
	if err != nil {
		return letterhead{}, err
	}
	sealed, err := pack(b)
	hash := sha256.Sum256(plain)
	return letterhead{hash[:], sealed, b}, err
}

// letterhead returns the one for a member's language, or the first, with the
// late fee of the policy that decides for the bill.
func (s *sealing) letterhead(language string, rules *billing.Policy) letterhead {
	if !slices.ContainsFunc(s.heads, func(h letterhead) bool { return h.biller.Language == language }) {
		language = s.heads[0].biller.Language
	}
	fee := lateFeeWords(rules, language)
	return s.heads[slices.IndexFunc(s.heads, func(h letterhead) bool { return h.biller.Language == language && h.biller.LateFee == fee })]
}

// headOf returns a page's letterhead.
func (s *sealing) headOf(page *Statement) letterhead {
	return s.heads[slices.IndexFunc(s.heads, func(h letterhead) bool { return h.biller == page.Biller })]
}

// readLetterheads returns all letterheads by their hash: there are as many as
// the biller's policy has had states, times the languages.
func readLetterheads(ctx context.Context, tx interface {
	Query(context.Context, string, ...any) (pgx.Rows, error)
}) (map[string]*Biller, error) {
	rows, err := tx.Query(ctx, `select sha256, sealed from letterhead`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[string]*Biller{}
	for rows.Next() {
		var hash, sealed []byte
		if err := rows.Scan(&hash, &sealed); err != nil {
			return nil, err
		}
		b := new(Biller)
		if err := unpack(sealed, b); err != nil {
			return nil, fmt.Errorf("letterhead %x: %w", hash, err)
		}
		all[string(hash)] = b
	}
	return all, rows.Err()
}

// billerOf is the biller of a policy, in one of its languages, with the late fee
// of the rules in force.
func billerOf(p, rules *billing.Policy, language string) *Biller {
	b := p.Biller
	out := &Biller{Language: language, Name: b.Name, Sender: trimName(b.Name, b.Sender), RemitTo: trimName(b.Name, b.RemitTo), Phones: []Phone{{Number: b.Phone}},
		Hours: b.Hours, Web: b.Web, Assistance: b.Assistance, Color: b.BrandColor, Logo: b.LogoImage, LateFee: lateFeeWords(rules, language)}
	if w, err := windowOf(p.Print.Of(p.Print.Vendor)); err == nil { // else Seal refuses it
		out.Window = w
	}
	if out.Assistance == "" && b.Web != "" {
		out.Assistance = b.Web + "/financial-assistance"
	}
	for _, n := range b.Notices {
		if n.Language == "" || n.Language == language {
			out.Notices = append(out.Notices, Notice{n.Title, n.Text})
		}
	}
	return out
}

// trimName leaves the name out of an address that begins with it: the page
// puts it there itself.
func trimName(name string, lines []string) []string {
	plain := func(s string) string { return strings.ToLower(strings.NewReplacer(",", "", ".", "").Replace(s)) }
	if len(lines) > 0 && plain(lines[0]) == plain(name) {
		return lines[1:]
	}
	return lines
}

// lateFeeWords is the rule of the late fee, as members read it.
func lateFeeWords(p *billing.Policy, language string) string {
	f := p.LateFee
	var fee string
	switch {
	case f.Kind == "flat" && f.Cents > 0:
		fee = f.Cents.String()
	case f.Kind == "percent" && language == "es":
		fee = "del " + f.Percent + " por ciento"
	case f.Kind == "percent":
		fee = f.Percent + " percent"
	default:
		return ""
	}
	if language == "es" {
		if f.Kind == "flat" {
			fee = "de " + fee
		}
		return fmt.Sprintf("Puede aplicarse un recargo por mora %s si %s o más de los cargos de esta factura siguen sin pagar %d días después de la fecha de vencimiento. Lo que cuenta es el día en que recibimos su pago.", fee, f.MinimumBaseCents, f.GraceDays)
	}
	return fmt.Sprintf("A late fee of %s may apply if %s or more of this bill's charges are still unpaid %d days after the due date. What counts is the day we receive your payment.", fee, f.MinimumBaseCents, f.GraceDays)
}

// pack is a value as compressed JSON, unpack reads it back.
func pack(v any) ([]byte, error) {
	var out bytes.Buffer
	z := packers.Get().(*zlib.Writer)
	defer packers.Put(z)
	z.Reset(&out)
	if err := json.NewEncoder(z).Encode(v); err != nil {
		return nil, err
	}
	err := z.Close()
	return out.Bytes(), err
}

func unpack(sealed []byte, v any) error {
	u := unpackers.Get().(*unpacker)
	defer unpackers.Put(u)
	u.from.Reset(sealed)
	u.plain.Reset()
	if u.zip == nil {
		var err error
		if u.zip, err = zlib.NewReader(&u.from); err != nil {
			return err
		}
	} else if err := u.zip.(zlib.Resetter).Reset(&u.from, nil); err != nil {
		return err
	}
	if _, err := u.plain.ReadFrom(u.zip); err != nil {
		return err
	}
	return json.Unmarshal(u.plain.Bytes(), v)
}

// A compressor is most of a megabyte and a decompressor forty thousand bytes:
// made anew for every statement they would be half of the work.
var (
	packers   = sync.Pool{New: func() any { return zlib.NewWriter(nil) }}
	unpackers = sync.Pool{New: func() any { return new(unpacker) }}
)

type unpacker struct {
	from  bytes.Reader
	zip   io.ReadCloser
	plain bytes.Buffer
}
