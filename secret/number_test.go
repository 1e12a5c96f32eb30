package secret

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgtype"
)

func TestMask(t *testing.T) {
	for in, want := range map[string]string{
		"":                  "",
		"1":                 "****",
		"12":                "****2",
		"1234":              "****34",
		"12345":             "****45",
		"1234567":           "****567",
		"12345678":          "****5678",
		"12345678901234567": "****4567",
		"äöüß":              "****üß",
	} {
		if got := Mask(in); got != want {
			t.Errorf("Mask(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzMask(f *testing.F) {
	f.Add("123456789")
	f.Add("\xff\x00")
	f.Fuzz(func(t *testing.T, s string) {
		shown := []rune(strings.TrimPrefix(Mask(s), "****"))
		if n := len([]rune(s)); len(shown) > 4 || len(shown) > n/2 {
			t.Errorf("%d characters of %d shown: %q", len(shown), n, string(shown))
		}
	})
}

func TestNumberIsMaskedEverywhere(t *testing.T) {
	const clear = "000123456789"
	n := Number(clear)
	type holder struct {
		N Number
		P *Number
		L []Number
		M map[string]Number
	}
	h := holder{n, &n, []Number{n}, map[string]Number{"n": n}}

	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%#q", "%x", "%X", "% x", "%d", "%20s", "%-20v", "%.30s", "%c", "%U", "%t", "%T"} {
		for _, value := range []any{n, &n, []Number{n}, [1]Number{n}, map[string]Number{"n": n}, map[Number]int{n: 1}, h, &h, struct{ Any any }{n}} {
			got := fmt.Sprintf(verb, value)
			if strings.Contains(got, "123456") || strings.Contains(got, fmt.Sprintf("%x", "123456")) {
				t.Errorf("%s of %T shows %s", verb, value, got)
			}
		}
	}
	for verb, want := range map[string]string{
		"%v": "****6789", "%+v": "****6789", "%s": "****6789", "%q": `"****6789"`, "%#v": `secret.Number("****6789")`, "%10s|": "  ****6789|", "%x": "****6789",
	} {
		if got := fmt.Sprintf(verb, n); got != want {
			t.Errorf("%s: %s, want %s", verb, got, want)
		}
	}
	if got := fmt.Errorf("account %w", fmt.Errorf("%v", n)).Error(); got != "account ****6789" {
		t.Errorf("in an error: %s", got)
	}

	text, err := json.Marshal(h)
	if want := `{"N":"****6789","P":"****6789","L":["****6789"],"M":{"n":"****6789"}}`; err != nil || string(text) != want {
		t.Errorf("JSON %s (%v), want %s", text, err, want)
	}
	text, err = xml.Marshal(struct {
		XMLName xml.Name `xml:"x"`
		N       Number
		A       Number `xml:"a,attr"`
	}{N: n, A: n})
	if want := `<x a="****6789"><N>****6789</N></x>`; err != nil || string(text) != want {
		t.Errorf("XML %s (%v), want %s", text, err, want)
	}

	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"json": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var log bytes.Buffer
		slog.New(handler(&log)).With("a", n).Info("debit", "b", &n, slog.Group("g", "c", n), "d", h, "e", []Number{n})
		if got := log.String(); strings.Contains(got, "123456") || strings.Count(got, "****6789") < 4 {
			t.Errorf("%s log: %s", name, got)
		}
	}
	if n.Reveal() != clear {
		t.Errorf("Reveal gives %q", n.Reveal())
	}
}

func TestNumberIsNotStoredInClear(t *testing.T) {
	n := Number("000123456789")
	for _, oid := range []uint32{pgtype.TextOID, pgtype.VarcharOID, pgtype.ByteaOID, pgtype.JSONBOID, pgtype.UnknownOID, 0} {
		for _, format := range []int16{pgtype.TextFormatCode, pgtype.BinaryFormatCode} {
			for _, value := range []any{n, &n} {
				got, err := pgtype.NewMap().Encode(oid, format, value, nil)
				if err == nil && bytes.Contains(got, []byte("123456")) {
					t.Errorf("type %d format %d of %T: stored %q", oid, format, value, got)
				}
			}
		}
	}
	if got, err := pgtype.NewMap().Encode(pgtype.TextArrayOID, pgtype.BinaryFormatCode, []Number{n}, nil); err == nil {
		t.Errorf("an array: stored %q", got)
	}
	if v, err := n.Value(); err == nil || !strings.Contains(err.Error(), "Seal") || strings.Contains(err.Error(), "6789") {
		t.Errorf("Value: %v, %v; want an error that says what to do", v, err)
	}
}
