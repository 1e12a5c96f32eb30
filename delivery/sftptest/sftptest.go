// Package sftptest starts real SFTP servers for tests, on a folder and with the
// misfortunes of real ones on demand.
package sftptest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// Server is an SFTP server on a folder, reached over TCP like any other, that
// can be given the misfortunes of real ones.
type Server struct {
	testing.TB
	Dir     string // its inbox is below it
	root    *os.Root
	Address string
	HostKey string // as authorized_keys has it
	KeyFile string // of the user that it lets in
	User    string

	mu          sync.Mutex
	conns       []net.Conn
	Room        int64  // bytes it has Room for; then its disk is full
	CutAfter    int64  // bytes after which it cuts the connection, once; 0 for never
	CutNaming   string // "before" or "after" it renames, once
	WriteOnly   bool   // nothing can be read
	Logins      int
	written     int64 // in all
	FetchNaming bool  // whoever watches the folder takes a file as soon as it has its name

	Begins func(name string) // if set, is told when somebody begins to write a file
}

// New starts a server that ends with the test. It lets in User with the key of
// KeyFile, or with the password "open sesame".
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{TB: t, Dir: t.TempDir(), Room: 1 << 40, User: "biller"}
	var err error
	if s.root, err = os.OpenRoot(s.Dir); err != nil {
		t.Fatal(err)
	}
	if err := s.root.Mkdir("inbox", 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.root.Close() })
	host, line := NewKey(t)
	s.HostKey = line
	own, allowed := NewKey(t)
	s.KeyFile = WriteKey(t, own, "")
	config := &ssh.ServerConfig{PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if c.User() != s.User || string(ssh.MarshalAuthorizedKey(key)) != allowed+"\n" {
			return nil, errors.New("not you")
		}
		return nil, nil
	}, PasswordCallback: func(c ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
		if c.User() != s.User || string(password) != "open sesame" {
			return nil, errors.New("not you")
		}
		return nil, nil
	}}
	signer, err := ssh.NewSignerFromKey(host)
	if err != nil {
		t.Fatal(err)
	}
	config.AddHostKey(signer)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.Address = listener.Addr().String()
	var running sync.WaitGroup
	t.Cleanup(func() { listener.Close(); s.hangUp(); running.Wait() })
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { s.serve(conn, config) })
		}
	})
	return s
}

// NewKey makes a key, and its public half as authorized_keys has it.
func NewKey(t testing.TB) (ed25519.PrivateKey, string) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return key, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
}

// WriteKey writes a key to a file of its own.
func WriteKey(t testing.TB, key ed25519.PrivateKey, passphrase string) string {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(key, "")
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	return WriteFile(t, string(pem.EncodeToMemory(block)))
}

// WriteFile writes a file that only we can read.
func WriteFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (s *Server) serve(conn net.Conn, config *ssh.ServerConfig) {
	s.mu.Lock()
	s.conns = append(s.conns, conn)
	s.mu.Unlock()
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	s.mu.Lock()
	s.Logins++
	s.mu.Unlock()
	go ssh.DiscardRequests(requests)
	for wanted := range channels {
		channel, requests, err := wanted.Accept()
		if err != nil {
			return
		}
		go func() {
			for r := range requests {
				r.Reply(r.Type == "subsystem" && string(r.Payload[4:]) == "sftp", nil)
			}
		}()
		served := sftp.NewRequestServer(channel, sftp.Handlers{FileGet: s, FilePut: s, FileCmd: s, FileList: s})
		served.Serve()
		served.Close()
	}
}

func (s *Server) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		c.Close()
	}
	s.conns = nil
}

func local(p string) string { return strings.TrimPrefix(path.Clean(p), "/") }

// Fileread, Filewrite, Filecmd and Filelist are what a client asks for.
func (s *Server) Fileread(r *sftp.Request) (io.ReaderAt, error) {
	if s.WriteOnly {
		return nil, sftp.ErrSSHFxPermissionDenied
	}
	return s.root.Open(local(r.Filepath))
}

func (s *Server) Filewrite(r *sftp.Request) (io.WriterAt, error) {
	flags := os.O_WRONLY | os.O_CREATE
	if r.Pflags().Excl {
		flags |= os.O_EXCL
	}
	f, err := s.root.OpenFile(local(r.Filepath), flags, 0o600)
	if err != nil {
		return nil, err
	}
	if s.Begins != nil {
		s.Begins(local(r.Filepath))
	}
	return &written{f, s}, nil
}

// written is a file that is being written there.
type written struct {
	*os.File
	s *Server
}

func (w *written) WriteAt(b []byte, at int64) (int, error) {
	w.s.mu.Lock()
	if at+int64(len(b)) > w.s.Room {
		w.s.mu.Unlock()
		return 0, errors.New("no space left on device")
	}
	w.s.written += int64(len(b))
	cut := w.s.CutAfter > 0 && w.s.written >= w.s.CutAfter
	if cut {
		w.s.CutAfter = 0
	}
	w.s.mu.Unlock()
	if cut {
		w.s.hangUp()
	}
	return w.File.WriteAt(b, at)
}

func (s *Server) Filecmd(r *sftp.Request) error {
	switch r.Method {
	case "Remove":
		return s.root.Remove(local(r.Filepath))
	case "Rename": // as OpenSSH does it: never over a file
		if _, err := s.root.Stat(local(r.Target)); err == nil {
			return errors.New("Failure")
		}
		s.mu.Lock()
		cut := s.CutNaming
		s.CutNaming = ""
		s.mu.Unlock()
		if cut == "before" {
			s.hangUp()
			return nil
		}
		err := s.root.Rename(local(r.Filepath), local(r.Target))
		if s.FetchNaming && err == nil {
			err = s.root.Remove(local(r.Target))
		}
		if cut == "after" {
			s.hangUp()
		}
		return err
	}
	return sftp.ErrSSHFxOpUnsupported
}

type listing []fs.FileInfo

func (l listing) ListAt(to []fs.FileInfo, at int64) (int, error) {
	n := copy(to, l[min(at, int64(len(l))):])
	if n < len(to) {
		return n, io.EOF
	}
	return n, nil
}

func (s *Server) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	if r.Method != "Stat" {
		return nil, sftp.ErrSSHFxOpUnsupported
	}
	info, err := s.root.Stat(local(r.Filepath))
	return listing{info}, err
}

// Files are what lies in the server's inbox.
func (s *Server) Files() map[string]string {
	s.Helper()
	all := map[string]string{}
	entries, err := os.ReadDir(filepath.Join(s.Dir, "inbox"))
	if err != nil {
		s.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(s.Dir, "inbox", e.Name()))
		if err != nil {
			s.Fatal(err)
		}
		all[e.Name()] = string(text)
	}
	return all
}
