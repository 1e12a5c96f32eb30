// Package secret keeps account numbers from the eyes they are not meant for:
// masked wherever a value might be printed, encrypted before it is stored, and
// findable without being readable, by a keyed fingerprint.
package secret

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
)

// Number is an account number in the clear. However it is printed, logged or
// marshaled, it shows its last digits only; Reveal is the one way to the rest.
// A database driver refuses it: Keys.Seal makes what may be stored.
//
// In two places Go asks no method of ours, so keep it out of them: the keys of
// a map that becomes JSON, and unexported fields of a struct that is printed.
type Number string

// Mask returns what may be shown of a number: "****6789", the last four
// characters, or fewer, so that at least half of a short number stays hidden.
// Nothing stays nothing.
func Mask(s string) string {
	if s == "" {
		return ""
	}
	runes := []rune(s)
	return "****" + string(runes[len(runes)-min(4, len(runes)/2):])
}

// Reveal returns the number itself.
func (n Number) Reveal() string { return string(n) }

// String returns the masked number.
func (n Number) String() string { return Mask(string(n)) }

// GoString returns the masked number as Go code would show it.
func (n Number) GoString() string { return fmt.Sprintf("secret.Number(%q)", Mask(string(n))) }

// Format prints the masked number for every verb, %x and %d too.
func (n Number) Format(f fmt.State, verb rune) {
	switch {
	case verb == 'v' && f.Flag('#'):
		fmt.Fprint(f, n.GoString())
	case verb == 's', verb == 'v', verb == 'q':
		fmt.Fprintf(f, fmt.FormatString(f, verb), Mask(string(n)))
	default:
		fmt.Fprint(f, Mask(string(n)))
	}
}

// MarshalText writes the masked number, for XML and other encoders.
func (n Number) MarshalText() ([]byte, error) { return []byte(Mask(string(n))), nil }

// MarshalJSON writes the masked number as a string.
func (n Number) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, "%q", Mask(string(n))), nil }

// LogValue gives logs the masked number.
func (n Number) LogValue() slog.Value { return slog.StringValue(Mask(string(n))) }

var errInClear = errors.New("an account number was about to be stored in the clear: seal it first (secret.Keys.Seal)")

// Value refuses to hand the number to a database.
func (n Number) Value() (driver.Value, error) { return nil, errInClear }
