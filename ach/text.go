package ach

import (
	"bytes"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// letters are those that do not come apart into a plain letter and an accent.
var letters = map[rune]string{
	'ß': "SS", 'ẞ': "SS", 'Æ': "AE", 'æ': "AE", 'Œ': "OE", 'œ': "OE", 'Ø': "O", 'ø': "O",
	'Ł': "L", 'ł': "L", 'Đ': "D", 'đ': "D", 'Ð': "D", 'ð': "D", 'Þ': "TH", 'þ': "TH",
	'ı': "I", 'ŋ': "N", 'Ŋ': "N", 'ħ': "H", 'Ħ': "H", 'ŧ': "T", 'Ŧ': "T", 'ĸ': "K",
	'‘': "'", '’': "'", 'ʼ': "'", '´': "'", '`': "'", '“': `"`, '”': `"`,
	'‐': "-", '‑': "-", '‒': "-", '–': "-", '—': "-",
}

// Plain writes a text in the characters a Nacha file may hold: ASCII capitals,
// digits and marks. An accented letter loses its accent, a few letters become
// two, what has no counterpart is left out, and blanks are single. It may be
// empty: a name in another script has no plain form.
func Plain(s string) string {
	if isPlain(s) {
		return s
	}
	if isASCII(s) { // most other names: small letters
		var room [64]byte
		return string(capitals(room[:0], []byte(s)))
	}
	var out strings.Builder
	out.Grow(len(s))
	for _, r := range s {
		whole := string(r)
		if _, ours := letters[r]; !ours { // some would come apart into a blank and an accent
			whole = norm.NFKD.String(whole)
		}
		for _, r := range whole {
			out.WriteString(plainRune(r))
		}
	}
	return strings.Join(strings.Fields(out.String()), " ")
}

// capitals writes an ASCII text in capitals, its blanks single. out may be the
// beginning of s: nothing is written that was not read.
func capitals(out, s []byte) []byte {
	for _, c := range s {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != ' ' || len(out) > 0 && out[len(out)-1] != ' ' {
			out = append(out, c)
		}
	}
	return bytes.TrimRight(out, " ")
}

func plainRune(r rune) string {
	if plain, ok := letters[r]; ok {
		return plain
	}
	switch {
	case unicode.IsSpace(r):
		return " "
	case 'a' <= r && r <= 'z':
		return string(r - 'a' + 'A')
	case ' ' < r && r <= '~':
		return string(r)
	}
	return ""
}

// isPlain spares the usual name, already in capitals, the work.
func isPlain(s string) bool {
	blank := true // a blank at the start, at the end or after another is not plain
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c < ' ' || c > '~' || 'a' <= c && c <= 'z' || c == '`' || c == ' ' && blank {
			return false
		}
		blank = c == ' '
	}
	return !blank
}

// plainName returns the name to write on an entry. Whoever has a name gets one:
// a name that has no plain form becomes MEMBER, since the bank matches by
// account and the individual ID tells who it is. Only a name of nothing or of
// zeros is none, and "" is returned.
func plainName(name string) string {
	if isNothing(name) {
		return ""
	}
	plain := Plain(name)
	if len(plain) > 22 {
		plain = strings.TrimRight(plain[:22], " ")
	}
	if isNothing(plain) {
		return noName
	}
	return plain
}

// isNothing says whether a name is empty, blanks or zeros.
func isNothing(name string) bool {
	for i := 0; i < len(name); i++ {
		if name[i] != ' ' && name[i] != '0' {
			return false
		}
	}
	return true
}

// noName is what is written of a name that has no plain form.
const noName = "MEMBER"

// isASCII says whether capitals knows all of a text.
func isASCII[T string | []byte](s T) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' || s[i] == '`' {
			return false
		}
	}
	return true
}

// firstForeign returns the first byte that is no printable ASCII, or -1.
func firstForeign(s string) int {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return i
		}
	}
	return -1
}
