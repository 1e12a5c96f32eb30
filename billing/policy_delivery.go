package billing

import (
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
)

// DeliveryPolicy says where the outbox's files are carried, and where
// statements are kept. A folder without a place stays where it is, for somebody
// else to carry.
type DeliveryPolicy struct {
	Places  map[string]PlacePolicy `json:"places"` // by a name of the biller's own
	ACH     string                 `json:"ach"`    // name of the place that outbox/ach is carried to, "" for none
	Card    string                 `json:"card"`
	Notices string                 `json:"notices"`
	Journal string                 `json:"journal"`
	Store   StorePolicy            `json:"store"`
}

// PlacePolicy is an SFTP server of a bank or a vendor. Secrets are never in the
// policy: they are in files that only their owner can read.
type PlacePolicy struct {
	SFTP         string        `json:"sftp"` // host:port
	User         string        `json:"user"`
	KeyFile      string        `json:"key_file"`        // private key, OpenSSH or PEM
	Passphrase   string        `json:"passphrase_file"` // of the key, "" for none
	PasswordFile string        `json:"password_file"`   // in place of a key
	HostKeys     []string      `json:"host_keys"`       // "ssh-ed25519 AAAA...": the server must have one of them
	Directory    string        `json:"directory"`       // there, "" for the one it begins in
	Suffix       string        `json:"temporary_suffix"`
	Tries        int           `json:"tries"`        // when it can't be reached, in one run
	WaitSeconds  int           `json:"wait_seconds"` // between them
	IdleSeconds  int           `json:"idle_seconds"` // after which a silent server is given up
	OpenPGP      OpenPGPPolicy `json:"openpgp"`
}

// OpenPGPPolicy encrypts what goes to a place, if a recipient is named.
type OpenPGPPolicy struct {
	RecipientFile string `json:"recipient_file"`  // their public key
	SignerFile    string `json:"signer_file"`     // our private key, "" to sign nothing
	Passphrase    string `json:"passphrase_file"` // of our key
}

// StorePolicy is where statements are kept: a folder of the biller's directory,
// or a bucket if an endpoint is named.
type StorePolicy struct {
	Endpoint   string `json:"s3_endpoint"` // host or host:port
	Bucket     string `json:"bucket"`
	Prefix     string `json:"prefix"`
	Region     string `json:"region"`
	AccessFile string `json:"access_key_file"`
	SecretFile string `json:"secret_key_file"`
	PlainHTTP  bool   `json:"plain_http"` // without TLS: for a machine's own loopback only
}

// PlaceOf returns the name of the place that a folder of the outbox is carried
// to, "" for none.
func (d DeliveryPolicy) PlaceOf(folder string) string {
	switch folder {
	case "ach":
		return d.ACH
	case "card":
		return d.Card
	case "notices":
		return d.Notices
	case "journal":
		return d.Journal
	}
	return ""
}

func (d DeliveryPolicy) check(r *refuser) {
	for _, name := range slices.Sorted(maps.Keys(d.Places)) {
		p, at := d.Places[name], "places."+name
		host, port, err := net.SplitHostPort(p.SFTP)
		if n, _ := strconv.Atoi(port); err != nil || host == "" || n < 1 || n > 65535 {
			r.refuse(at+".sftp", "%q is not host:port", p.SFTP)
		}
		switch {
		case p.User == "":
			r.refuse(at+".user", "it is needed")
		case (p.KeyFile == "") == (p.PasswordFile == ""):
			r.refuse(at+".key_file", "want either a key_file or a password_file")
		case len(p.HostKeys) == 0:
			r.refuse(at+".host_keys", "want the server's key (ssh-keyscan shows it, its owner confirms it): nothing is sent to a server that can't prove itself")
		case strings.ContainsAny(p.Suffix, "/\\ ") || p.Tries < 0 || p.Tries > 20:
			r.refuse(at, "temporary_suffix %q and tries %d can't be used", p.Suffix, p.Tries)
		case p.WaitSeconds < 0 || p.IdleSeconds < 0:
			r.refuse(at, "wait_seconds and idle_seconds can't be below 0")
		case p.OpenPGP.RecipientFile == "" && p.OpenPGP.SignerFile != "":
			r.refuse(at+".openpgp.recipient_file", "a file is signed only when it is encrypted too")
		}
	}
	for key, place := range map[string]string{"ach": d.ACH, "card": d.Card, "notices": d.Notices, "journal": d.Journal} {
		if _, known := d.Places[place]; place != "" && !known {
			r.refuse(key, "there is no place %q in delivery.places", place)
		}
	}
	if s := d.Store; s.Endpoint != "" && (s.Bucket == "" || s.AccessFile == "" || s.SecretFile == "") {
		r.refuse("store", "a bucket, an access_key_file and a secret_key_file are needed with s3_endpoint")
	}
}
