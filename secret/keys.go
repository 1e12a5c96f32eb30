package secret

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/prf"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// Keys are the biller's keys: any number for sealing, of which the newest
// seals and each opens what it once sealed, and one for fingerprints, which
// stays as long as the biller does. They may be used by many goroutines.
type Keys struct {
	path     string     // "" for keys in memory
	rotating sync.Mutex // one Rotate or reload at a time
	now      atomic.Pointer[ring]
}

// ring is one state of the keys; it never changes.
type ring struct {
	sealing        *keyset.Handle
	fingerprinting *keyset.Handle
	aead           tink.AEAD
	prf            *prf.Set
	ids            []uint32 // the one that seals first
}

// fingerprintBytes is the length of a fingerprint.
const fingerprintBytes = 32

// New returns keys that exist in memory only, for tests.
func New() (*Keys, error) {
	r, err := newRing()
	if err != nil {
		return nil, err
	}
	k := &Keys{}
	k.now.Store(r)
	return k, nil
}

// Seal encrypts plain. The context says what the value belongs to, such as
// "autopay_method/123": the same one must be given to Open, so that a value
// copied into another row does not open there. The result holds the id of its
// key; it is 33 bytes longer than plain.
func (k *Keys) Seal(plain []byte, context string) ([]byte, error) {
	return k.now.Load().aead.Encrypt(plain, []byte(context))
}

// Open decrypts what Seal made, and refuses what was altered or belongs to
// another context.
func (k *Keys) Open(sealed []byte, context string) ([]byte, error) {
	return k.OpenFor(sealed, []byte(context))
}

// OpenFor is Open with the context as bytes, for those who open millions.
func (k *Keys) OpenFor(sealed, context []byte) ([]byte, error) {
	r := k.now.Load()
	if id, ok := KeyID(sealed); ok && !slices.Contains(r.ids, id) {
		// Another program may have rotated the keys since we read them.
		var err error
		if r, err = k.reload(r); err != nil {
			return nil, err
		}
		if !slices.Contains(r.ids, id) {
			return nil, fmt.Errorf("opening the sealed value of %s: it was sealed with key %d, which these keys don't have (they have %d): "+
				"is it another biller's, or are the keys an old copy?", context, id, r.ids)
		}
	}
	plain, err := r.aead.Decrypt(sealed, context)
	if err != nil {
		return nil, fmt.Errorf("opening the sealed value of %s: it was altered, or was sealed for something else", context)
	}
	return plain, nil
}

// KeyID returns the id of the key that a sealed value was sealed with; ok is
// false if it was not made by Seal. In SQL it is bytes 2 to 5, big-endian.
func KeyID(sealed []byte) (id uint32, ok bool) {
	if len(sealed) < 5 || sealed[0] != 1 {
		return 0, false
	}
	return binary.BigEndian.Uint32(sealed[1:]), true
}

// KeyIDs returns the ids of the sealing keys, the one that seals now first.
func (k *Keys) KeyIDs() []uint32 { return slices.Clone(k.now.Load().ids) }

// Fingerprint returns 32 bytes that are the same for the same parts and tell
// nothing about them without the keys: the way to look up or compare numbers
// that are stored sealed. ("12", "3") and ("1", "23") differ. It does not
// change with Rotate.
func (k *Keys) Fingerprint(parts ...string) []byte {
	sum, err := k.now.Load().prf.ComputePrimaryPRF(appendParts(make([]byte, 0, 128), parts), fingerprintBytes)
	if err != nil {
		panic(err) // only if 32 bytes were more than the function gives
	}
	return sum
}

// Fingerprints returns a function that gives the fingerprints of one purpose,
// for those who need millions: HMAC-SHA256 with a key that is the fingerprint of
// the purpose. It gives others than Fingerprint, and each goroutine needs one of
// its own.
func (k *Keys) Fingerprints(purpose string) func(parts ...string) []byte {
	mac := hmac.New(sha256.New, k.Fingerprint(purpose))
	var text []byte
	return func(parts ...string) []byte {
		text = appendParts(text[:0], parts)
		mac.Reset()
		mac.Write(text)
		return mac.Sum(make([]byte, 0, fingerprintBytes))
	}
}

func appendParts(text []byte, parts []string) []byte {
	for _, part := range parts {
		text = binary.AppendUvarint(text, uint64(len(part)))
		text = append(text, part...)
	}
	return text
}

// Rotate adds a new key, which seals from now on; the older ones go on opening
// what they sealed. Keys from a file are safely in it before this returns.
func (k *Keys) Rotate() error {
	k.rotating.Lock()
	defer k.rotating.Unlock()
	if k.path != "" {
		return k.rotateFile()
	}
	r, err := k.now.Load().rotated()
	if err == nil {
		k.now.Store(r)
	}
	return err
}

func newRing() (*ring, error) {
	sealing, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, err
	}
	fingerprinting, err := keyset.NewHandle(prf.HMACSHA256PRFKeyTemplate())
	if err != nil {
		return nil, err
	}
	return ringOf(sealing, fingerprinting)
}

func ringOf(sealing, fingerprinting *keyset.Handle) (*ring, error) {
	r := &ring{sealing: sealing, fingerprinting: fingerprinting}
	var err error
	if r.aead, err = aead.New(sealing); err != nil {
		return nil, fmt.Errorf("the keys for sealing: %w", err)
	}
	if r.prf, err = prf.NewPRFSet(fingerprinting); err != nil {
		return nil, fmt.Errorf("the key for fingerprints: %w", err)
	}
	info := sealing.KeysetInfo()
	r.ids = []uint32{info.GetPrimaryKeyId()}
	for _, key := range info.GetKeyInfo() {
		if key.GetKeyId() != r.ids[0] {
			r.ids = append(r.ids, key.GetKeyId())
		}
	}
	return r, nil
}

func (r *ring) rotated() (*ring, error) {
	manager := keyset.NewManagerFromHandle(r.sealing)
	id, err := manager.Add(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, err
	}
	if err := manager.SetPrimary(id); err != nil {
		return nil, err
	}
	sealing, err := manager.Handle()
	if err != nil {
		return nil, err
	}
	return ringOf(sealing, r.fingerprinting)
}

// document is the keys' file: two keysets as Tink writes them.
type document struct {
	Sealing        json.RawMessage `json:"sealing"`
	Fingerprinting json.RawMessage `json:"fingerprinting"`
}

func (r *ring) encode() ([]byte, error) {
	var doc document
	for _, part := range []struct {
		handle *keyset.Handle
		to     *json.RawMessage
	}{{r.sealing, &doc.Sealing}, {r.fingerprinting, &doc.Fingerprinting}} {
		var text bytes.Buffer
		if err := insecurecleartextkeyset.Write(part.handle, keyset.NewJSONWriter(&text)); err != nil {
			return nil, err
		}
		*part.to = text.Bytes()
	}
	text, err := json.MarshalIndent(doc, "", "  ")
	return append(text, '\n'), err
}

func decode(text []byte) (*ring, error) {
	var doc document
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&doc); err != nil {
		return nil, err
	}
	if len(doc.Sealing) == 0 || len(doc.Fingerprinting) == 0 {
		return nil, errors.New(`it should hold "sealing" and "fingerprinting"`)
	}
	sealing, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(doc.Sealing)))
	if err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	fingerprinting, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(doc.Fingerprinting)))
	if err != nil {
		return nil, fmt.Errorf("fingerprinting: %w", err)
	}
	return ringOf(sealing, fingerprinting)
}
