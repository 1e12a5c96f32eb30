package delivery

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/gopenpgp/v3/crypto"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/delivery/sftptest"
	"github.com/billcycle/billcycle/postgres/postgrestest"
)

var today = calendar.Of(2026, 3, 24)

// desk is a carrier with one place, "bank".
type desk struct {
	*testing.T
	Carrier
	*sftptest.Server
}

// placeOf is how to reach a server.
func placeOf(s *sftptest.Server) Place {
	return Place{SFTP: SFTP{Address: s.Address, User: s.User, KeyFile: s.KeyFile, HostKeys: []string{s.HostKey}, Directory: "inbox", Idle: 10 * time.Second}, Tries: 2}
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	s := sftptest.New(t)
	d := &desk{t, Carrier{DB: postgrestest.New(t), Day: today, Outbox: t.TempDir(), Places: map[string]Place{"bank": placeOf(s)}}, s}
	if err := os.Mkdir(filepath.Join(d.Outbox, "ach"), 0o700); err != nil {
		t.Fatal(err)
	}
	return d
}

// leaves puts a file into the outbox and queues it.
func (d *desk) leaves(name, text string) {
	d.T.Helper()
	if err := os.WriteFile(filepath.Join(d.Outbox, "ach", name), []byte(text), 0o600); err != nil {
		d.T.Fatal(err)
	}
	sum := sha256.Sum256([]byte(text))
	if err := Queue(d.Context(), d.DB, Parcel{Folder: "ach", Name: name, SHA256: sum[:], Place: "bank", QueuedOn: today}); err != nil {
		d.T.Fatal(err)
	}
}

func (d *desk) Context() context.Context { return d.T.Context() }

// carries runs the carrier; the outcomes' reasons, by name, must be these.
func (d *desk) carries(want map[string]string) []Outcome {
	d.T.Helper()
	all, err := d.Carry(d.Context())
	if err != nil {
		d.T.Fatal(err)
	}
	got := map[string]string{}
	for _, o := range all {
		got[o.Name] = o.Reason
	}
	if !maps.Equal(got, want) {
		d.T.Fatalf("carried %v, want %v: %+v", got, want, all)
	}
	return all
}

func (d *desk) there(want map[string]string) {
	d.T.Helper()
	if got := d.Server.Files(); !maps.Equal(got, want) {
		d.T.Fatalf("the server has %q, want %q", got, want)
	}
}

func (d *desk) parcel(name string) Parcel {
	d.T.Helper()
	all, err := Parcels(d.Context(), d.DB)
	if err != nil {
		d.T.Fatal(err)
	}
	for _, p := range all {
		if p.Name == name {
			return p
		}
	}
	d.T.Fatalf("no parcel %s", name)
	return Parcel{}
}

func (d *desk) change(do func(p *Place)) {
	p := d.Places["bank"]
	do(&p)
	d.Places["bank"] = p
}

func TestCarry(t *testing.T) {
	d := newDesk(t)
	d.carries(map[string]string{})
	if d.Server.Logins != 0 {
		t.Error("it called the bank with nothing to bring")
	}
	d.leaves("a.ach", "debits")
	d.leaves("b.ach", strings.Repeat("more debits\n", 50_000))
	d.leaves("empty.ach", "")
	d.carries(map[string]string{"a.ach": "", "b.ach": "", "empty.ach": ""})
	d.there(map[string]string{"a.ach": "debits", "b.ach": strings.Repeat("more debits\n", 50_000), "empty.ach": ""})
	if p := d.parcel("a.ach"); p.State != Delivered || p.DeliveredOn != today || p.Attempts != 1 {
		t.Errorf("the parcel is %+v", p)
	}

	// Again: nothing, even if the bank has taken them away.
	os.Remove(filepath.Join(d.Dir, "inbox", "a.ach"))
	d.leaves("a.ach", "debits")
	d.carries(map[string]string{})
	d.there(map[string]string{"b.ach": strings.Repeat("more debits\n", 50_000), "empty.ach": ""})

	sum := sha256.Sum256([]byte("other"))
	if err := Queue(t.Context(), d.DB, Parcel{Folder: "ach", Name: "a.ach", SHA256: sum[:], Place: "bank", QueuedOn: today}); err == nil {
		t.Error("a name was queued twice with different contents")
	}
}

func TestCarryByPassword(t *testing.T) {
	d := newDesk(t)
	d.change(func(p *Place) { p.KeyFile, p.PasswordFile = "", sftptest.WriteFile(t, "open sesame\n") })
	d.leaves("a.ach", "debits")
	d.carries(map[string]string{"a.ach": ""})
	d.there(map[string]string{"a.ach": "debits"})
}

func TestKeyWithPassphrase(t *testing.T) {
	key, line := sftptest.NewKey(t)
	s := SFTP{KeyFile: sftptest.WriteKey(t, key, "brass"), PassphraseFile: sftptest.WriteFile(t, "brass\n"), HostKeys: []string{line}}
	if _, err := s.auth(); err != nil {
		t.Error(err)
	}
	s.PassphraseFile = sftptest.WriteFile(t, "tin")
	if _, err := s.auth(); !errors.As(err, new(*ConfigError)) || strings.Contains(err.Error(), "tin") {
		t.Errorf("a wrong passphrase: %v", err)
	}
}

// What a person has to mend; nothing has been sent, and all goes well after it.
func TestCarryRefused(t *testing.T) {
	_, stranger := sftptest.NewKey(t)
	open := sftptest.WriteFile(t, "open sesame")
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, reason, says string
		spoil              func(d *desk, p *Place)
	}{
		{"wrong host key", WrongHostKey, "is not the one we know", func(d *desk, p *Place) { p.HostKeys = []string{stranger} }},
		{"no host key", NotUsable, "no host key", func(d *desk, p *Place) { p.HostKeys = nil }},
		{"host key of another kind", WrongHostKey, "", func(d *desk, p *Place) {
			p.HostKeys = []string{"ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg="}
		}},
		{"another user", NoLogin, "does not let us in", func(d *desk, p *Place) { p.User = "nobody" }},
		{"wrong password", NoLogin, "does not let us in", func(d *desk, p *Place) { p.KeyFile, p.PasswordFile = "", sftptest.WriteFile(t, "sesame") }},
		{"key that others can read", NotUsable, "others may use it (mode 0644)", func(d *desk, p *Place) { p.KeyFile, p.PasswordFile = "", open }},
		{"no key", NotUsable, "no such file", func(d *desk, p *Place) { p.KeyFile += "x" }},
		{"nobody there", Unreachable, "refused", func(d *desk, p *Place) { p.Address = "127.0.0.1:1" }},
		{"no such folder", Refused, "not exist", func(d *desk, p *Place) { p.Directory = "attic" }},
		{"full disk", Refused, "no space left", func(d *desk, p *Place) { d.Server.Room = 3 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t)
			good, room := d.Places["bank"], d.Server.Room
			d.change(func(p *Place) { c.spoil(d, p) })
			d.leaves("a.ach", "debits")
			d.leaves("b.ach", "debits too")
			out := d.carries(map[string]string{"a.ach": c.reason, "b.ach": c.reason})
			if !strings.Contains(out[0].Note, c.says) || strings.Contains(out[0].Note, "sesame") {
				t.Errorf("it says %q, want %q", out[0].Note, c.says)
			}
			d.there(map[string]string{})
			d.Places["bank"], d.Server.Room = good, room
			d.carries(map[string]string{"a.ach": "", "b.ach": ""})
			d.there(map[string]string{"a.ach": "debits", "b.ach": "debits too"})
		})
	}
}

func TestCarryExistingName(t *testing.T) {
	d := newDesk(t)
	path := filepath.Join(d.Dir, "inbox", "a.ach")
	for _, text := range []string{"another's", "other6"} { // of another size, of the same
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		d.leaves("a.ach", "debits")
		d.carries(map[string]string{"a.ach": NameTaken})
		d.there(map[string]string{"a.ach": text})
	}
	// Ours, carried by hand.
	if err := os.WriteFile(path, []byte("debits"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := d.carries(map[string]string{"a.ach": ""})
	if !strings.Contains(out[0].Note, "there already") {
		t.Errorf("it says %q", out[0].Note)
	}
	d.there(map[string]string{"a.ach": "debits"})
}

// A connection that is cut, wherever that is, leads to the file once.
func TestCarryCut(t *testing.T) {
	long := strings.Repeat("debits\n", 200_000)
	for _, c := range []struct {
		name  string
		spoil func(d *desk)
	}{
		{"in the middle", func(d *desk) { d.Server.CutAfter = 500_000 }},
		{"at the first byte", func(d *desk) { d.Server.CutAfter = 1 }},
		{"before the rename", func(d *desk) { d.Server.CutNaming = "before" }},
		{"after the rename", func(d *desk) { d.Server.CutNaming = "after" }},
		{"after the rename, unreadable", func(d *desk) { d.Server.CutNaming, d.Server.WriteOnly = "after", true }},
	} {
		for _, tries := range []int{1, 2} { // by the next run, by the same one
			d := newDesk(t)
			d.change(func(p *Place) { p.Tries = tries })
			d.leaves("a.ach", long)
			c.spoil(d)
			if tries == 1 {
				d.carries(map[string]string{"a.ach": Unreachable})
			}
			d.carries(map[string]string{"a.ach": ""})
			d.there(map[string]string{"a.ach": long})
			d.carries(map[string]string{})
		}
	}
}

// The bank fetched the file and the connection was cut as it got its name: we
// can't know, and don't send it again until somebody has asked.
func TestCarryUnknown(t *testing.T) {
	d := newDesk(t)
	d.leaves("a.ach", "debits")
	d.Server.CutNaming, d.Server.FetchNaming = "after", true
	d.carries(map[string]string{"a.ach": NotKnown})
	d.there(map[string]string{})
	logins := d.Server.Logins
	d.carries(map[string]string{"a.ach": NotKnown})
	d.there(map[string]string{})
	if d.Server.Logins != logins {
		t.Error("it called the bank about a parcel that waits for a person")
	}
	if err := d.decide("a.ach", Waiting); err != nil {
		t.Fatal(err)
	}
	d.Server.FetchNaming = false
	d.carries(map[string]string{"a.ach": ""})
	d.there(map[string]string{"a.ach": "debits"})
	for _, to := range []State{Waiting, Cancelled} {
		if err := d.decide("a.ach", to); !errors.Is(err, ErrNotNow) {
			t.Errorf("a delivered parcel became %s (%v)", to, err)
		}
	}
}

// What a person decides while files are carried stands.
func TestDecideWhileCarrying(t *testing.T) {
	for _, c := range []struct {
		name     string
		before   State  // of b.ach as the carrier begins
		while    string // this is being written, it is decided
		to, then State
		there    bool // under its own name, in the end
	}{
		{"cancelled before it is sent", Waiting, "a.ach", Cancelled, Cancelled, false},
		{"cancelled as it is sent", Waiting, "b.ach", Cancelled, Cancelled, false},
		{"it has arrived", Unknown, "a.ach", Delivered, Delivered, false},
		{"it has not arrived", Unknown, "a.ach", Waiting, Waiting, false},
		{"given up", Unknown, "a.ach", Cancelled, Cancelled, false},
		{"already there", Waiting, "a.ach", Delivered, Delivered, false},
		{"nothing to decide", Waiting, "a.ach", Waiting, Delivered, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t)
			d.leaves("a.ach", "debits")
			d.leaves("b.ach", "other debits")
			d.is("b.ach", c.before)
			d.Server.Begins = func(name string) {
				if strings.Contains(name, c.while) {
					if err := d.decide("b.ach", c.to); err != nil {
						t.Error(err)
					}
				}
			}
			want := map[string]string{"a.ach": ""}
			if c.there {
				want["b.ach"] = ""
			}
			d.carries(want)
			if p := d.parcel("b.ach"); p.State != c.then {
				t.Errorf("the parcel is %+v", p)
			}
			if _, there := d.Server.Files()["b.ach"]; there != c.there {
				t.Errorf("the server has %q", d.Server.Files())
			}
		})
	}
}

// A file that may be getting its name just now is none to decide on, until the
// carrier is gone.
func TestDecideOnNaming(t *testing.T) {
	d := newDesk(t)
	d.leaves("a.ach", "debits")
	d.is("a.ach", Naming)
	conn, err := d.DB.(*pgxpool.Pool).Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	for _, sql := range []string{`select pg_advisory_lock($1)`, `select pg_advisory_unlock($1)`} {
		if _, err := conn.Exec(t.Context(), sql, int64(carrying)); err != nil {
			t.Fatal(err)
		}
		err := d.decide("a.ach", Waiting)
		if strings.Contains(sql, "unlock") != (err == nil) || err != nil && !errors.Is(err, ErrNotNow) {
			t.Errorf("after %s: %v", sql, err)
		}
	}
}

// decide settles a parcel as a person would.
func (d *desk) decide(name string, to State) error {
	return pgx.BeginFunc(d.Context(), d.DB, func(tx pgx.Tx) error {
		var id int64
		if err := tx.QueryRow(d.Context(), `select id from parcel where name = $1`, name).Scan(&id); err != nil {
			return err
		}
		_, err := Decide(d.Context(), tx, id, to, today)
		return err
	})
}

// is puts a parcel into a state, as a carrier that was killed has left it.
func (d *desk) is(name string, state State) {
	d.T.Helper()
	if _, err := d.DB.Exec(d.Context(), `update parcel set state = $2, sent_as = name, sent_sha256 = sha256, sent_bytes = 6, attempts = 1 where name = $1`, name, state); err != nil {
		d.T.Fatal(err)
	}
}

// A carrier that was killed leaves its state: whichever it is, the next goes on.
func TestCarryAfterKill(t *testing.T) {
	for _, c := range []struct {
		name   string
		state  State
		there  map[string]string // when the next one comes; %TMP is the temporary name
		reason string
	}{
		{"sending, nothing there", Sending, nil, ""},
		{"sending, half there", Sending, map[string]string{"%TMP": "deb"}, ""},
		{"naming, whole", Naming, map[string]string{"%TMP": "debits"}, ""},
		{"naming, named", Naming, map[string]string{"a.ach": "debits"}, ""},
		{"naming, gone", Naming, nil, NotKnown},
		{"naming, half", Naming, map[string]string{"%TMP": "deb"}, NotKnown},
		{"naming, both", Naming, map[string]string{"%TMP": "debits", "a.ach": "debits"}, NotKnown},
		{"naming, another's", Naming, map[string]string{"%TMP": "debits", "a.ach": "theirs"}, NameTaken},
		{"naming, another's only", Naming, map[string]string{"a.ach": "theirs"}, NotKnown},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t)
			d.leaves("a.ach", "debits")
			d.is("a.ach", c.state)
			temporary := (&trip{Parcel: d.parcel("a.ach")}).temporary(Place{SFTP: SFTP{Suffix: ".part"}})
			for name, text := range c.there {
				if err := os.WriteFile(filepath.Join(d.Dir, "inbox", strings.Replace(name, "%TMP", temporary, 1)), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			before := d.Server.Files()
			d.carries(map[string]string{"a.ach": c.reason})
			if c.reason == "" {
				d.there(map[string]string{"a.ach": "debits"})
			} else {
				d.there(before)
			}
		})
	}
}

// What was not given its name before its day came is not sent any more, and
// may be cancelled; what was, has arrived.
func TestCarryTooLate(t *testing.T) {
	for _, c := range []struct {
		name   string
		state  State
		there  map[string]string // %TMP is the temporary name
		reason string
		then   State
	}{
		{"waiting", Waiting, nil, Late, Waiting},
		{"half there", Sending, map[string]string{"%TMP": "deb"}, Late, Sending},
		{"whole there", Naming, map[string]string{"%TMP": "debits"}, Late, Sending},
		{"named", Naming, map[string]string{"a.ach": "debits"}, "", Delivered},
		{"gone", Naming, nil, NotKnown, Unknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t)
			d.leaves("a.ach", "debits")
			if c.state != Waiting {
				d.is("a.ach", c.state)
			}
			temporary := (&trip{Parcel: d.parcel("a.ach")}).temporary
			for name, text := range c.there {
				if strings.Contains(name, "%TMP") {
					name = temporary(Place{SFTP: SFTP{Suffix: ".part"}})
				}
				if err := os.WriteFile(filepath.Join(d.Dir, "inbox", name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			before := d.Server.Files()
			d.TooLate = func(Parcel) string { return "its day has come" }
			d.carries(map[string]string{"a.ach": c.reason})
			d.there(before)
			if p := d.parcel("a.ach"); p.State != c.then || c.reason == Late && !strings.Contains(p.Problem, "its day has come") {
				t.Errorf("the parcel is %+v", p)
			}
			if c.reason != Late {
				return
			}
			d.carries(map[string]string{"a.ach": Late})
			if err := d.decide("a.ach", Cancelled); err != nil {
				t.Error(err)
			}
			d.carries(map[string]string{})
			d.there(before)
		})
	}
}

func TestCarryAltered(t *testing.T) {
	d := newDesk(t)
	d.leaves("a.ach", "debits")
	path := filepath.Join(d.Outbox, "ach", "a.ach")
	if err := os.WriteFile(path, []byte("more debits"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.carries(map[string]string{"a.ach": NotThere})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	d.carries(map[string]string{"a.ach": NotThere})
	d.there(map[string]string{})
}

// What tells a vendor that a set is whole goes only after the rest.
func TestCarrySet(t *testing.T) {
	d := newDesk(t)
	for _, name := range []string{"x.done", "x.pdf", "x.csv"} {
		d.leaves(name, name)
	}
	if _, err := d.DB.Exec(t.Context(), `update parcel set set_name = 'x', last = name = 'x.done'`); err != nil {
		t.Fatal(err)
	}
	taken := filepath.Join(d.Dir, "inbox", "x.csv")
	if err := os.WriteFile(taken, []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.carries(map[string]string{"x.pdf": "", "x.csv": NameTaken, "x.done": SetWaits})
	os.Remove(taken)
	d.carries(map[string]string{"x.csv": "", "x.done": ""})
}

func TestOneCarrierAtATime(t *testing.T) {
	d := newDesk(t)
	conn, err := d.DB.(*pgxpool.Pool).Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if _, err := conn.Exec(t.Context(), `select pg_advisory_lock($1)`, int64(carrying)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Carry(t.Context()); !errors.Is(err, ErrBusy) {
		t.Errorf("a second carrier: %v", err)
	}
}

func TestOpenPGP(t *testing.T) {
	d := newDesk(t)
	theirs, err := crypto.PGP().KeyGeneration().AddUserId("bank", "bank@example.com").New().GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	ours, err := crypto.PGP().KeyGeneration().AddUserId("biller", "biller@example.com").New().GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	locked, err := crypto.PGP().LockKey(ours, []byte("tin"))
	if err != nil {
		t.Fatal(err)
	}
	public, _ := theirs.GetArmoredPublicKey()
	private, _ := locked.Armor()
	d.change(func(p *Place) {
		p.OpenPGP = OpenPGP{sftptest.WriteFile(t, public), sftptest.WriteFile(t, private), sftptest.WriteFile(t, "tin\n")}
	})
	d.leaves("a.ach", strings.Repeat("debits", 1000))
	d.Server.CutAfter = 1 // the second attempt sends the same bytes
	d.carries(map[string]string{"a.ach": ""})
	sent := d.Server.Files()["a.ach.pgp"]
	if p := d.parcel("a.ach"); sent == "" || p.SentAs != "a.ach.pgp" || p.Attempts != 2 {
		t.Fatalf("the server has %q, the parcel is %+v", d.Server.Files(), p)
	}
	handle, err := crypto.PGP().Decryption().DecryptionKey(theirs).VerificationKey(ours).New()
	if err != nil {
		t.Fatal(err)
	}
	opened, err := handle.Decrypt([]byte(sent), crypto.Auto)
	if err != nil {
		t.Fatal(err)
	}
	if err := opened.SignatureError(); err != nil || !bytes.Equal(opened.Bytes(), []byte(strings.Repeat("debits", 1000))) {
		t.Errorf("opened %d bytes, signature %v", len(opened.Bytes()), err)
	}

	for _, spoil := range []func(o *OpenPGP){
		func(o *OpenPGP) { o.RecipientFile = sftptest.WriteFile(t, private) },
		func(o *OpenPGP) { o.RecipientFile = sftptest.WriteFile(t, "no key") },
		func(o *OpenPGP) { o.SignerFile = sftptest.WriteFile(t, public) },
		func(o *OpenPGP) { o.PassphraseFile = sftptest.WriteFile(t, "zinc") },
	} {
		good := d.Places["bank"]
		d.change(func(p *Place) { spoil(&p.OpenPGP) })
		d.leaves("b.ach", "debits")
		d.carries(map[string]string{"b.ach": NotUsable})
		if len(d.Server.Files()) != 1 {
			t.Errorf("the server has %q", d.Server.Files())
		}
		d.Places["bank"] = good
	}
}
