package delivery

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/ProtonMail/gopenpgp/v3/crypto"

	"github.com/billcycle/billcycle/secret"
)

// OpenPGP encrypts what is sent, if a recipient is named, and signs it if we
// have a key to sign with.
type OpenPGP struct {
	RecipientFile  string // their public key, armored or not
	SignerFile     string // our private key, "" to sign nothing
	PassphraseFile string // of our key, "" for none
}

// encrypts says whether files are encrypted at all.
func (o OpenPGP) encrypts() bool { return o.RecipientFile != "" }

// encrypt writes an OpenPGP message of plain.
func (o OpenPGP) encrypt(to io.Writer, plain io.Reader) error {
	builder := crypto.PGP().Encryption()
	recipient, err := publicKey(o.RecipientFile)
	if err != nil {
		return &ConfigError{err}
	}
	builder.Recipient(recipient)
	if o.SignerFile != "" {
		signer, err := o.signer()
		if err != nil {
			return err
		}
		defer signer.ClearPrivateParams()
		builder.SigningKey(signer)
	}
	handle, err := builder.New()
	if err != nil {
		return &ConfigError{fmt.Errorf("the recipient's key %s: %w", o.RecipientFile, err)}
	}
	defer handle.ClearPrivateParams()
	message, err := handle.EncryptingWriter(to, crypto.Bytes)
	if err != nil {
		return &ConfigError{fmt.Errorf("encrypting for %s: %w", o.RecipientFile, err)}
	}
	_, err = io.Copy(message, plain)
	return errors.Join(err, message.Close())
}

func publicKey(file string) (*crypto.Key, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("the recipient's key: %w", err)
	}
	key, err := parseKey(text)
	if err != nil {
		return nil, fmt.Errorf("the recipient's key %s: %w", file, err)
	}
	if key.IsPrivate() {
		return nil, fmt.Errorf("the recipient's key %s is a private one: want the public key that they gave us", file)
	}
	return key, nil
}

func (o OpenPGP) signer() (*crypto.Key, error) {
	text, err := secret.ReadFile(o.SignerFile)
	if err != nil {
		return nil, &ConfigError{fmt.Errorf("our signing key %s: %w", o.SignerFile, err)}
	}
	key, err := parseKey(text)
	if err == nil && !key.IsPrivate() {
		err = errors.New("it is a public key, want our private one")
	}
	if err == nil && o.PassphraseFile != "" {
		passphrase, unread := secretText(o.PassphraseFile)
		if unread != nil {
			return nil, unread
		}
		key, err = key.Unlock(passphrase)
	}
	if err != nil {
		return nil, &ConfigError{fmt.Errorf("our signing key %s: %w", o.SignerFile, err)}
	}
	return key, nil
}

func parseKey(text []byte) (*crypto.Key, error) {
	if key, err := crypto.NewKeyFromArmored(string(text)); err == nil {
		return key, nil
	}
	return crypto.NewKey(text)
}
