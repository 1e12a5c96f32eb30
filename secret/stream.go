package secret

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// A sealed file is a line that says what it is, what it belongs to, and then its
// content in pieces, each sealed with its place in the file and the last one as
// the last. So a file of any size needs the memory of one piece, and one that was
// cut, lengthened or put together anew does not open.

// sealedFile is how a sealed file begins.
const sealedFile = "billcycle sealed file 1\n"

const (
	pieceBytes   = 1 << 20
	maxOfContext = 4096
)

// SealFile reads plain to its end and writes it sealed. The context says what the
// content belongs to, such as "archive/lockbox/deposits.bai"; it stands readable in
// the file.
func (k *Keys) SealFile(sealed io.Writer, plain io.Reader, context string) error {
	head := binary.AppendUvarint([]byte(sealedFile), uint64(len(context)))
	if _, err := sealed.Write(append(head, context...)); err != nil {
		return err
	}
	in := bufio.NewReaderSize(plain, pieceBytes)
	piece := make([]byte, pieceBytes)
	for place := 0; ; place++ {
		n, err := io.ReadFull(in, piece)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		_, end := in.Peek(1)
		if end != nil && !errors.Is(end, io.EOF) {
			return end
		}
		box, err := k.Seal(piece[:n], pieceOf(context, place, end != nil))
		if err != nil {
			return err
		}
		if _, err := sealed.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(box))), box...)); err != nil {
			return err
		}
		if end != nil {
			return nil
		}
	}
}

// OpenFile reads what SealFile wrote, writes it plain, and returns what it belongs
// to. What was written before an error is worth nothing.
func (k *Keys) OpenFile(plain io.Writer, sealed io.Reader) (context string, err error) {
	r := pieces{bufio.NewReader(sealed)}
	head := make([]byte, len(sealedFile))
	if _, err := io.ReadFull(r, head); err != nil || !bytes.Equal(head, []byte(sealedFile)) {
		return "", errors.New("this is no sealed file")
	}
	n, err := binary.ReadUvarint(r)
	if err != nil || n > maxOfContext {
		return "", errors.New("the sealed file is damaged at its beginning")
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return "", errors.New("the sealed file is damaged at its beginning")
	}
	context = string(text)
	box, err := r.piece()
	for place := 0; err == nil; place++ {
		next, end := r.piece()
		last := errors.Is(end, io.EOF)
		if end != nil && !last {
			return context, end
		}
		piece, wrong := k.Open(box, pieceOf(context, place, last))
		if wrong != nil {
			return context, fmt.Errorf("piece %d: %w, or the file was cut off", place+1, wrong)
		}
		if _, wrong := plain.Write(piece); wrong != nil {
			return context, wrong
		}
		if last {
			return context, nil
		}
		box = next
	}
	return context, errors.New("the sealed file was cut off")
}

func pieceOf(context string, place int, last bool) string {
	end := "/"
	if last {
		end = "/last/"
	}
	return context + end + strconv.Itoa(place)
}

// pieces reads the pieces of a sealed file.
type pieces struct{ *bufio.Reader }

// piece reads the next sealed piece; io.EOF if the file ends where it may.
func (r pieces) piece() ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		return nil, errors.New("the sealed file was cut off")
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > pieceBytes+1024 {
		return nil, errors.New("the sealed file is damaged")
	}
	box := make([]byte, n)
	if _, err := io.ReadFull(r, box); err != nil {
		return nil, errors.New("the sealed file was cut off")
	}
	return box, nil
}
