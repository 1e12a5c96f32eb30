package delivery

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/billcycle/billcycle/secret"
)

// SFTP is a server and who we are there. The key, its passphrase and the
// password are in files that nobody else may read.
type SFTP struct {
	Address        string // host:port
	User           string
	KeyFile        string
	PassphraseFile string // of the key, "" for none
	PasswordFile   string
	HostKeys       []string // of which the server must have one, as in authorized_keys
	Directory      string   // there; "" for the one it begins in
	Suffix         string   // of temporary names, ".part" unless it is set
	Idle           time.Duration
}

// ConfigError is a place that is described so that nothing can be sent there.
type ConfigError struct{ Err error }

func (e *ConfigError) Error() string { return e.Err.Error() }
func (e *ConfigError) Unwrap() error { return e.Err }

// Errors by which a server is refused, or refuses us.
var (
	ErrHostKey = errors.New("the server's key is not the one we know: somebody may be in between, nothing was sent")
	ErrLogin   = errors.New("the server does not let us in")
)

// secretText reads a file that holds one secret, without the line's end.
func secretText(file string) ([]byte, error) {
	text, err := secret.ReadFile(file)
	if err != nil {
		return nil, &ConfigError{fmt.Errorf("the secret file %s: %w", file, err)}
	}
	return bytes.TrimRight(text, "\r\n"), nil
}

// auth returns how we prove who we are.
func (s SFTP) auth() (ssh.AuthMethod, error) {
	if s.PasswordFile != "" {
		password, err := secretText(s.PasswordFile)
		return ssh.Password(string(password)), err
	}
	key, err := secret.ReadFile(s.KeyFile)
	if err != nil {
		return nil, &ConfigError{fmt.Errorf("the key file %s: %w", s.KeyFile, err)}
	}
	var signer ssh.Signer
	if s.PassphraseFile == "" {
		signer, err = ssh.ParsePrivateKey(key)
	} else {
		passphrase, unread := secretText(s.PassphraseFile)
		if unread != nil {
			return nil, unread
		}
		signer, err = ssh.ParsePrivateKeyWithPassphrase(key, passphrase)
	}
	if err != nil {
		return nil, &ConfigError{fmt.Errorf("the key file %s: %w", s.KeyFile, err)}
	}
	return ssh.PublicKeys(signer), nil
}

// knownKeys returns the check of the server's key, and the kinds of key that it
// is asked for.
func (s SFTP) knownKeys() (ssh.HostKeyCallback, []string, error) {
	var known []ssh.PublicKey
	var kinds []string
	for _, line := range s.HostKeys {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil {
			return nil, nil, &ConfigError{fmt.Errorf("the host key %q can't be read (%w): want such as \"ssh-ed25519 AAAA...\"", line, err)}
		}
		known = append(known, key)
		if key.Type() == ssh.KeyAlgoRSA {
			kinds = append(kinds, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		} else {
			kinds = append(kinds, key.Type())
		}
	}
	if len(known) == 0 {
		return nil, nil, &ConfigError{errors.New("no host key is configured: nothing is sent to a server that can't prove itself")}
	}
	return func(_ string, _ net.Addr, key ssh.PublicKey) error {
		for _, k := range known {
			if bytes.Equal(k.Marshal(), key.Marshal()) {
				return nil
			}
		}
		return fmt.Errorf("%w (it showed %s)", ErrHostKey, ssh.FingerprintSHA256(key))
	}, kinds, nil
}

// session is a connection to a server.
type session struct {
	SFTP
	conn net.Conn
	*sftp.Client
}

// dial connects. An error that is neither a *ConfigError nor ErrHostKey nor
// ErrLogin means that the server cannot be reached now.
func (s SFTP) dial(ctx context.Context) (*session, error) {
	auth, err := s.auth()
	if err != nil {
		return nil, err
	}
	check, kinds, err := s.knownKeys()
	if err != nil {
		return nil, err
	}
	var refused error
	config := &ssh.ClientConfig{User: s.User, Auth: []ssh.AuthMethod{auth}, HostKeyAlgorithms: kinds,
		HostKeyCallback: func(host string, at net.Addr, key ssh.PublicKey) error {
			refused = check(host, at, key)
			return refused
		}}
	idle := cmp.Or(s.Idle, time.Minute)
	raw, err := (&net.Dialer{Timeout: idle}).DialContext(ctx, "tcp", s.Address)
	if err != nil {
		return nil, err
	}
	conn := newIdleConn(raw, idle)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	channel, news, requests, err := ssh.NewClientConn(conn, s.Address, config)
	if err != nil {
		stop()
		conn.Close()
		return nil, loginError(err, refused)
	}
	client, err := sftp.NewClient(ssh.NewClient(channel, news, requests), sftp.UseConcurrentWrites(true))
	if err != nil {
		stop()
		conn.Close()
		return nil, fmt.Errorf("the server offers no SFTP: %w", err)
	}
	return &session{s, conn, client}, nil
}

// loginError sorts out why there is no connection.
func loginError(err, refused error) error {
	var algorithms *ssh.AlgorithmNegotiationError
	var login *ssh.ServerAuthError
	switch {
	case refused != nil:
		return refused
	case errors.As(err, &algorithms):
		return fmt.Errorf("%w (%w)", ErrHostKey, err)
	case errors.As(err, &login), bytes.Contains([]byte(err.Error()), []byte("unable to authenticate")):
		return fmt.Errorf("%w: %w", ErrLogin, err)
	}
	return err
}

func (s *session) close() {
	s.Client.Close()
	s.conn.Close()
}

func (s *session) path(name string) string { return path.Join(s.Directory, name) }

// found is a file there.
type found struct {
	bytes  int64
	sha256 []byte // nil if it may not be read, or differs in size from what was looked for
}

// look looks for a name; nil if it is free. Of a file of the given size the
// hash is taken.
func (s *session) look(name string, size int64) (*found, error) {
	info, err := s.Stat(s.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for %s there: %w", name, err)
	}
	there := &found{bytes: info.Size()}
	if there.bytes != size {
		return there, nil
	}
	f, err := s.Open(s.path(name))
	if err != nil && answered(err) {
		return there, nil // it may be written, not read, or was just fetched
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s there: %w", name, err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := f.WriteTo(sum); err != nil {
		return nil, fmt.Errorf("reading %s there: %w", name, err)
	}
	there.sha256 = sum.Sum(nil)
	return there, nil
}

// put sends a file under a name, in place of what an attempt before may have
// left there, and sees that all of it arrived.
func (s *session) put(name string, content io.Reader, size int64) error {
	if err := s.Remove(s.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the remains of an earlier attempt there (%s): %w", name, err)
	}
	f, err := s.OpenFile(s.path(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return fmt.Errorf("making %s there: %w", name, err)
	}
	_, err = f.ReadFrom(content)
	if _, can := s.HasExtension("fsync@openssh.com"); can && err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		s.Remove(s.path(name)) // as far as it still can be; else the next attempt does
		return fmt.Errorf("writing %s there: %w", name, err)
	}
	info, err := s.Stat(s.path(name))
	if err != nil {
		return fmt.Errorf("looking for %s there: %w", name, err)
	}
	if info.Size() != size {
		return fmt.Errorf("%s there has %d bytes of %d: the server took them and did not keep them (is its disk full?)", name, info.Size(), size)
	}
	return nil
}

// answered says whether an error is the server's answer; otherwise the
// connection is lost, and with it the knowledge of what came of the request.
func answered(err error) bool {
	var status *sftp.StatusError
	if errors.As(err, &status) {
		code := status.FxCode()
		return code != sftp.ErrSSHFxNoConnection && code != sftp.ErrSSHFxConnectionLost
	}
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)
}

// idleConn is a connection that closes itself when nothing moves for a while.
type idleConn struct {
	net.Conn
	idle  time.Duration
	timer *time.Timer
}

func newIdleConn(c net.Conn, idle time.Duration) *idleConn {
	return &idleConn{c, idle, time.AfterFunc(idle, func() { c.Close() })}
}

func (c *idleConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.timer.Reset(c.idle)
	}
	return n, err
}

func (c *idleConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if n > 0 {
		c.timer.Reset(c.idle)
	}
	return n, err
}

func (c *idleConn) Close() error {
	c.timer.Stop()
	return c.Conn.Close()
}
