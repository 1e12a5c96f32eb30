package ach

import (
	"bytes"
	"strings"
	"testing"
)

// A broken row of a file of words is a problem with its line, in each place
// where a row can break.
func TestBrokenWords(t *testing.T) {
	for in, want := range map[string]string{
		"file,status\na\"b,accepted\n":                              `line 2, acknowledgment: bare " in non-quoted-field`,
		"file,status\n\"a\"b,accepted\n":                            `line 2, acknowledgment: extraneous or missing " in quoted-field`,
		"file,status\nx,accepted\n\"a":                              `line 3, acknowledgment: extraneous or missing " in quoted-field`,
		"file,status\nx\n":                                          `line 2, acknowledgment: wrong number of fields`,
		"file,status,entries\nx,accepted,many\n":                    `line 2, acknowledgment, entries: not a number of digits (said "", found "many")`,
		"file,status,detail\nx,accepted,d\xe9\n":                    `line 2, acknowledgment, detail: it holds bytes that are no UTF-8 text: write the file as UTF-8`,
		"file,status\nx\x00y,accepted\n":                            `line 2, acknowledgment, file: it holds bytes that are no UTF-8 text: write the file as UTF-8`,
		"file,status\n,accepted\n":                                  `line 2, acknowledgment, file: is empty`,
		"file,status\n" + strings.Repeat("x", 9000) + ",accepted\n": `line 2, acknowledgment, file: is longer than 255 bytes, which no file's name is (said "", found "` + strings.Repeat("x", 255) + `")`, // more than an index takes
		"file,status,colour\n":                                      `line 1, acknowledgment, colour: no such column: file, status, entries, debit_cents, detail`,
	} {
		_, problems := readWords([]byte(in))
		if len(problems) != 1 || problems[0].String() != want {
			t.Errorf("%q: %v, want %s", in, problems, want)
		}
	}
}

// What the bank says of our files is read without a crash, whatever it is; what
// is taken names a file, and its figures are counts or absent; and an
// acknowledgment is only read from what says so.
func FuzzWords(f *testing.F) {
	whole := built(f, balanced(sample()))
	for _, seed := range []string{"file,status\nach-20260324-A.ach,accepted\n", "file,status,entries,debit_cents,detail\r\na,rejected,2,77500,\"no, \"\"REJ01\"\"\"\r\n",
		"\xef\xbb\xbffile,status\nx,?\n", "file,status\na\"b,accepted\n", "file,status\n\"a", "file,status,status\na,b,c\n", "file,status,entries\na,b,-1\n", "file,status\n\n\n",
		whole, put(put(whole, 2, 80, "REJ00001"), 3, 80, "REJ00001"), strings.ReplaceAll(whole, "12104288", "REJ00012"), put(whole, 1, 24, "999999")} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		words, problems, is := wordsOf(in)
		if !is || len(problems) > 0 {
			return
		}
		for _, w := range words {
			if w.Entries < -1 || w.Cents < -1 {
				t.Fatalf("%+v", w)
			}
			if w.File == "" && isWords(in) {
				t.Fatalf("of no file: %+v", w)
			}
			info := FileInfo{Entries: w.Entries, Cents: 1}
			if status, _ := info.means(w); status == Acknowledged && !bytes.Contains(bytes.ToLower(in), []byte("accepted")) && !bytes.Contains(bytes.ToLower(in), []byte(Acknowledged)) {
				t.Fatalf("acknowledged by %q", in)
			}
		}
	})
}
