package ach

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseCorrection(t *testing.T) {
	for _, tc := range []struct {
		name, code, data string
		want             Correction
	}{
		{"account", "C01", "1918171614", Correction{Account: "1918171614"}},
		{"account of 17", "C01", "12345678901234567", Correction{Account: "12345678901234567"}},
		{"account with blanks", "C01", "12 345-67", Correction{Account: "12 345-67"}},
		{"routing", "C02", "091000019", Correction{Routing: "091000019"}},
		{"routing, all columns", "C02", "091000019" + strings.Repeat(" ", 26), Correction{Routing: "091000019"}},
		{"routing and account", "C03", "091000019   123456789", Correction{Routing: "091000019", Account: "123456789"}},
		{"routing and account of 17", "C03", "091000019   12345678901234567", Correction{Routing: "091000019", Account: "12345678901234567"}},
		{"a blank in the account", "C03", "091000019   1234 56789", Correction{Routing: "091000019", Account: "1234 56789"}},
		{"no blanks between", "C03", "091000019123456789", Correction{Routing: "091000019", Account: "123456789"}},
		{"pushed right", "C03", "091000019           123456789", Correction{Routing: "091000019", Account: "123456789"}},
		{"name", "C04", "LOVELACE ADA", Correction{Name: "LOVELACE ADA"}},
		{"type", "C05", "37", Correction{TransactionCode: 37}},
		{"account and type", "C06", "123456789           37", Correction{Account: "123456789", TransactionCode: 37}},
		{"a blank in the account", "C06", "1234 56789          27", Correction{Account: "1234 56789", TransactionCode: 27}},
		{"account of 17 and type", "C06", "12345678901234567   27", Correction{Account: "12345678901234567", TransactionCode: 27}},
		{"type pushed right", "C06", "123456789                  27", Correction{Account: "123456789", TransactionCode: 27}},
		{"all three", "C07", "091000019123456789        27", Correction{Routing: "091000019", Account: "123456789", TransactionCode: 27}},
		{"all three, account of 17", "C07", "0910000191234567890123456737", Correction{Routing: "091000019", Account: "12345678901234567", TransactionCode: 37}},
		{"all three, type pushed right", "C07", "0910000191234 56789         28", Correction{Routing: "091000019", Account: "1234 56789", TransactionCode: 28}},
		{"individual ID", "C09", "0000000018", Correction{IndividualID: "0000000018"}},
		{"addenda", "C13", "", Correction{}},
		{"addenda with words", "C13", "ADDENDA NOT READABLE", Correction{}},
	} {
		tc.want.Code = tc.code
		data := tc.data
		if tc.name == "all three, type pushed right" {
			data = data[:9] + data[9:26] + " 28"
		}
		if got, err := ParseCorrection(tc.code, data); err != nil || got != tc.want {
			t.Errorf("%s %s %q: %+v, %v; want %+v", tc.name, tc.code, data, got, err, tc.want)
		}
	}
}

// TestParseCorrectionRefuses what could send money to a wrong account.
func TestParseCorrectionRefuses(t *testing.T) {
	for _, tc := range []struct{ name, code, data, want string }{
		{"nothing", "C01", "", "account number is empty"},
		{"account runs over", "C01", "123456789012345678", "columns 18-29 of the corrected data are not blank"},
		{"something beyond", "C01", "123456789           37", "columns 18-29"},
		{"marks in the account", "C01", "123_456", "character 4"},
		{"check digit", "C02", "091000018", "a check digit that holds"},
		{"account for a routing number", "C02", "123456789", "a check digit that holds"},
		{"routing of 8", "C02", "09100001", "9 digits"},
		{"routing and more", "C02", "091000019 1", "columns 10-29"},
		{"routing first", "C03", "123456789   091000019", "a check digit that holds"},
		{"no account", "C03", "091000019", "account number is empty"},
		{"account of 18", "C03", "091000019 123456789012345678", "18 characters"},
		{"no name", "C04", "", "no name"},
		{"no type", "C05", "", "transaction code"},
		{"no such type", "C05", "20", "transaction code"},
		{"type of three digits", "C05", "270", "transaction code"},
		{"no type", "C06", "123456789", "transaction code"},
		{"type in the account's columns", "C06", "123456789 27", "transaction code"},
		{"account without type, 17", "C06", "12345678901234567", "transaction code"},
		{"no account", "C06", "                    27", "account number is empty"},
		{"account of 18", "C06", "123456789012345678  27", "transaction code"},
		{"routing", "C07", "091000018123456789        27", "check digit"},
		{"no type", "C07", "091000019123456789", "transaction code"},
		{"too long", "C07", "091000019123456789        27 37", "longer than 29"},
		{"not ASCII", "C04", "JOSÉ", "not ASCII"},
		{"no ID", "C09", " ", "no individual ID"},
		{"international", "C08", "12345", "corrects nothing of a domestic debit"},
		{"refused", "C61", "12345", "refused"},
		{"unknown", "C92", "12345", "not one of Nacha's"},
		{"none", "", "12345", "not one of Nacha's"},
	} {
		got, err := ParseCorrection(tc.code, tc.data)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %s %q: %+v, %v; want %q", tc.name, tc.code, tc.data, got, err, tc.want)
			continue
		}
		if got != (Correction{}) {
			t.Errorf("%s: a correction beside the error: %+v", tc.name, got)
		}
		if strings.Contains(err.Error(), "123456789") || strings.Contains(err.Error(), "091000018") {
			t.Errorf("%s: the error repeats the account: %v", tc.name, err)
		}
	}
}

func TestAccountType(t *testing.T) {
	for code, want := range map[int]string{0: "", 22: Checking, 27: Checking, 28: Checking, 26: Checking, 32: Savings, 37: Savings, 38: Savings, 47: "", 52: "", 55: ""} {
		if got := (Correction{TransactionCode: code}).AccountType(); got != want {
			t.Errorf("%d: %q, want %q", code, got, want)
		}
	}
}

// TestCorrectedData: what a bank writes by Nacha's columns is read back.
func TestCorrectedData(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Correction{Code: rapid.SampledFrom([]string{"C01", "C02", "C03", "C04", "C05", "C06", "C07", "C09", "C13"}).Draw(t, "code")}
		if strings.Contains("C02 C03 C07", c.Code) {
			c.Routing = rapid.SampledFrom([]string{"091000019", "121042882", "021000021"}).Draw(t, "routing")
		}
		if strings.Contains("C01 C03 C06 C07", c.Code) {
			c.Account = rapid.StringMatching(`[0-9A-Za-z-]([0-9A-Za-z -]{0,15}[0-9A-Za-z-])?`).Draw(t, "account")
		}
		if strings.Contains("C05 C06 C07", c.Code) {
			c.TransactionCode = rapid.SampledFrom([]int{22, 27, 28, 32, 37, 38}).Draw(t, "type")
		}
		switch c.Code {
		case "C04":
			c.Name = rapid.StringMatching(`[A-Z]([A-Z ]{0,20}[A-Z])?`).Draw(t, "name")
		case "C09":
			c.IndividualID = rapid.StringMatching(`[0-9]{1,15}`).Draw(t, "id")
		}
		data, err := CorrectedData(c)
		if err != nil || len(data) != correctedLength {
			t.Fatalf("%+v -> %q, %v", c, data, err)
		}
		if got, err := ParseCorrection(c.Code, data); err != nil || got != c {
			t.Fatalf("%+v -> %q -> %+v, %v", c, data, got, err)
		}
	})
	for _, c := range []Correction{{Code: "C01"}, {Code: "C01", Account: "123456789012345678"}, {Code: "C02", Routing: "091000018"}, {Code: "C61"}, {}, {Code: "C05", TransactionCode: 5}} {
		if data, err := CorrectedData(c); err == nil {
			t.Errorf("%+v is written %q", c, data)
		}
	}
}

// FuzzParseCorrection: whatever is accepted could go into a file of ours, came
// from the data, and, written again, is read the same.
func FuzzParseCorrection(f *testing.F) {
	for code := range changeCodes {
		f.Add(code, "091000019   12345678901234567")
		f.Add(code, "0910000191234567890123456737")
		f.Add(code, "1234 56789          27")
		f.Add(code, "37")
	}
	f.Add("C92", "\xff")
	f.Fuzz(func(t *testing.T, code, data string) {
		c, err := ParseCorrection(code, data)
		if err != nil {
			if c != (Correction{}) {
				t.Fatalf("%+v beside %v", c, err)
			}
			return
		}
		for _, part := range []string{c.Routing, c.Account, c.Name, c.IndividualID} {
			if !strings.Contains(data, part) {
				t.Fatalf("%q is not in %q", part, data)
			}
		}
		if c.Routing != "" && CheckRouting(c.Routing) != nil || c.Account != "" && CheckAccount(c.Account) != nil {
			t.Fatalf("%+v could not be sent", c)
		}
		again, err := CorrectedData(c)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := ParseCorrection(code, again); err != nil || back != c {
			t.Fatalf("%q -> %+v -> %q -> %+v, %v", data, c, again, back, err)
		}
	})
}
