package lockbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash"
	"io"
	"strings"
	"unicode/utf8"
)

// The limits of a file. They are far above what a bank sends; their purpose is
// that a file which is none cannot exhaust the machine.
const (
	maxFileBytes  = 4 << 30
	maxLineBytes  = 4096
	maxBatchItems = 100_000
	maxOverflows  = 10_000 // of one check
	maxBoxes      = 10_000
	maxProblems   = 10_000
)

// maxBuffer is how much of a large file is read at a time.
const maxBuffer = 256 << 10

// lines cuts a stream into lines without copying them, hashing what it reads.
type lines struct {
	r        io.Reader
	hash     hash.Hash // of all bytes; may be nil
	work     chan []byte
	done     chan struct{}
	hashing  bool
	buf      []byte
	at, end  int
	number   int   // of the line that next returned, from 1
	length   int   // of that line with its trailing blanks
	bytes    int64 // read so far
	max      int64
	eol      byte // '\n', or '\r' for a file that has only those; 0 until known
	records  bool // a file without line ends may be records of one length
	width    int  // that length; 0 for lines
	eof      bool
	tooLarge bool
}

func newLines(r io.Reader, h hash.Hash) *lines {
	return &lines{r: r, hash: h, buf: make([]byte, 16<<10), max: maxFileBytes}
}

// next returns the next line without its end, its trailing blanks and the
// padding that files pick up on their way: NULs, a Ctrl-Z at the end, a byte
// order mark at the start. The line is valid until the next call. long says
// that it was over the limit and only its beginning is there.
func (l *lines) next() (line []byte, long bool, err error) {
	for {
		if l.settled() {
			if i, end := l.cut(); i >= 0 {
				line, l.at = l.buf[l.at:l.at+i], l.at+end
				break
			}
		}
		if l.eof {
			if l.at == l.end {
				return nil, false, io.EOF
			}
			line, l.at = l.buf[l.at:l.end], l.end
			break
		}
		if l.end-l.at > maxLineBytes {
			return l.skip()
		}
		if err := l.fill(); err != nil {
			return nil, false, err
		}
	}
	l.number++
	if l.number == 1 {
		line = bytes.TrimPrefix(line, []byte("\ufeff"))
	}
	if len(line) > maxLineBytes {
		return line[:16], true, nil
	}
	for len(line) > 0 && line[len(line)-1] == '\r' {
		line = line[:len(line)-1]
	}
	l.length = len(line)
	return trim(line), false, nil
}

// cut says where the line at hand ends and where the next begins; -1 if its end
// has not been read yet.
func (l *lines) cut() (end, next int) {
	if l.width > 0 {
		if l.end-l.at < l.width {
			return -1, 0
		}
		return l.width, l.width
	}
	end = bytes.IndexByte(l.buf[l.at:l.end], l.eol)
	return end, end + 1
}

// settled decides once, as soon as the first bytes tell, whether lines end in a
// line feed, in a carriage return alone, or after a number of bytes.
func (l *lines) settled() bool {
	if l.eol == 0 {
		head := l.buf[l.at:l.end]
		if len(head) <= maxLineBytes && !l.eof && bytes.IndexByte(withoutEnd(head), '\n') < 0 {
			return false // too early
		}
		if l.eol, l.width = lineEnd(head); !l.records {
			l.width = 0
		}
		if l.width > 0 && bytes.HasPrefix(head, []byte("\ufeff")) {
			l.at += len("\ufeff")
		}
	}
	return true
}

// lineEnd tells by the beginning of a file what its lines end in, or, if nothing
// ends them, of how many bytes its records are: 0 if they are of no one length.
func lineEnd(head []byte) (eol byte, width int) {
	if whole := withoutEnd(head); len(whole) < len(head) && len(head) <= maxLineBytes && bytes.IndexAny(whole, "\r\n") < 0 {
		// One line. It is records of one length if one of them ends the file.
		if width = recordLength(bytes.TrimPrefix(whole, []byte("\ufeff"))); width > 0 && whole[(len(whole)-1)/width*width] == '9' {
			return '\n', width
		}
		width = 0
	}
	head = head[:min(len(head), maxLineBytes)]
	switch {
	case bytes.IndexByte(head, '\n') >= 0:
		return '\n', 0
	case bytes.IndexByte(head, '\r') >= 0:
		return '\r', 0
	}
	return '\n', recordLength(bytes.TrimPrefix(head, []byte("\ufeff")))
}

// withoutEnd returns text without the line ends and the padding behind it.
func withoutEnd(text []byte) []byte { return bytes.TrimRight(text, "\r\n \x00\x1a") }

// mayFollow says by record type which types may follow it in some bank's file.
var mayFollow = [10]string{1: "2567", 2: "567", 4: "4678", 5: "56789", 6: "46789", 7: "56789", 8: "5689", 9: "1"}

// recordLength finds the length of the records of a BAI file without line ends:
// the shortest by which nearly all of them begin with a type that may stand
// there. The few that are damaged are for the reader to tell. It is 0 if there is
// no such length.
func recordLength(head []byte) int {
	if len(head) < 3 || head[0] != '1' && head[0] != '5' || !allDigits(head[1:3]) {
		return 0
	}
	for n := 30; n <= maxColumns && 2*n < len(head); n++ {
		seen, fits, last := 0, 0, head[0]
		for at := n; at < len(head); at += n {
			c := head[at]
			if last == '9' && len(trim(head[at:])) == 0 {
				break
			}
			if seen++; last > '0' && last <= '9' && strings.IndexByte(mayFollow[last-'0'], c) >= 0 {
				fits++
			}
			last = c
		}
		if seen >= 2 && 4*fits >= 3*seen {
			return n
		}
	}
	return 0
}

// peek returns the first n bytes or as many as there are, without the byte order
// mark and the blanks before what is written there; they stay to be read.
func (l *lines) peek(n int) ([]byte, error) {
	for l.end < n && !l.eof {
		if err := l.fill(); err != nil {
			return nil, err
		}
	}
	head := bytes.TrimPrefix(l.buf[:l.end], []byte("\ufeff"))
	head = bytes.TrimLeft(head, "\r\n\t \x00\x1a")
	l.at = l.end - len(head)
	return head[:min(n, len(head))], nil
}

// drain reads to the end for the hash alone.
func (l *lines) drain() error {
	for !l.eof {
		l.at = l.end
		if err := l.fill(); err != nil {
			return err
		}
	}
	return nil
}

// digest hashes bytes that were read, a large piece while it is being parsed.
// They must not change before settle.
func (l *lines) digest(b []byte) {
	if l.hash == nil {
		return
	}
	if len(b) < 64<<10 {
		l.hash.Write(b)
		return
	}
	if l.work == nil {
		l.work, l.done = make(chan []byte), make(chan struct{})
		go func(work <-chan []byte, done chan<- struct{}) {
			for b := range work {
				l.hash.Write(b)
				done <- struct{}{}
			}
		}(l.work, l.done)
	}
	l.work <- b
	l.hashing = true
}

// settle waits for the hash of what was read.
func (l *lines) settle() {
	if l.hashing {
		<-l.done
		l.hashing = false
	}
}

// close ends the hashing; it may be called again.
func (l *lines) close() {
	l.settle()
	if l.work != nil {
		close(l.work)
		l.work = nil
	}
}

func (l *lines) fill() error {
	l.settle()
	if l.at > 0 {
		l.end = copy(l.buf, l.buf[l.at:l.end])
		l.at = 0
	}
	if l.bytes >= int64(len(l.buf)) && len(l.buf) < maxBuffer { // no small file
		buf := make([]byte, maxBuffer)
		copy(buf, l.buf[:l.end])
		l.buf = buf
	}
	n, err := l.r.Read(l.buf[l.end:])
	l.digest(l.buf[l.end : l.end+n])
	l.end += n
	l.bytes += int64(n)
	switch {
	case errors.Is(err, io.EOF):
		l.eof = true
	case err != nil:
		return err
	case l.bytes > l.max:
		l.tooLarge, l.eof = true, true
	}
	return nil
}

// skip passes over a line that is longer than the buffer's patience.
func (l *lines) skip() (line []byte, long bool, err error) {
	l.number++
	start := bytes.Clone(l.buf[l.at : l.at+16])
	for {
		if i := bytes.IndexByte(l.buf[l.at:l.end], l.eol); i >= 0 {
			l.at += i + 1
			return start, true, nil
		}
		l.at = l.end
		if l.eof {
			return start, true, nil
		}
		if err := l.fill(); err != nil {
			return nil, true, err
		}
	}
}

func trim(line []byte) []byte {
	const blanks = 0x2020202020202020
	n := len(line)
	for n > 0 {
		switch line[n-1] {
		case ' ', '\r', 0, '\t', 0x1a, '\n':
			n--
			for n >= 8 && binary.LittleEndian.Uint64(line[n-8:]) == blanks {
				n -= 8
			}
			continue
		}
		break
	}
	return line[:n]
}

func isASCII(b []byte) bool {
	for len(b) >= 8 {
		if binary.LittleEndian.Uint64(b)&0x8080808080808080 != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

// columns makes a line with bytes above ASCII countable: one byte per column in
// narrow, and the same columns as text in wide. A line that is UTF-8 was laid
// out in characters, unless its bytes with the trailing blanks come to just the
// nominal length; any other is taken for Latin-1, in which a byte is a column.
func columns(line []byte, asBytes bool) (narrow []byte, wide []rune) {
	switch {
	case !utf8.Valid(line):
		for _, c := range line {
			wide = append(wide, rune(c))
		}
	case asBytes:
		for _, r := range string(line) {
			wide = append(wide, r)
			for range utf8.RuneLen(r) - 1 {
				wide = append(wide, filler) // the rest of a character's bytes are columns too
			}
		}
	default:
		wide = []rune(string(line))
	}
	narrow = make([]byte, len(wide))
	for i, r := range wide {
		narrow[i] = '?'
		if r < 0x80 {
			narrow[i] = byte(r)
		}
	}
	return narrow, wide
}

// filler keeps a column that shows nothing.
const filler = '\ufeff'

// readable makes text fit to be shown and stored: no control characters and no
// blanks around it.
func readable(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] >= 0x7f {
			s = strings.Map(func(r rune) rune {
				switch {
				case r == 0 || r == filler:
					return -1
				case r < 0x20 || r >= 0x7f && r < 0xa0 || r == utf8.RuneError:
					return ' '
				}
				return r
			}, s)
			break
		}
	}
	return strings.Trim(s, " ")
}
