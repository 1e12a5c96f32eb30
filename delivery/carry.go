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
	"os"
	"path/filepath"
	"time"

	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/postgres"
)

// How a parcel travels, and what may be done again:
//
//	waiting   nothing was sent
//	sending   it is being written there under a temporary name. Cut off here, it
//	          is sent anew: nobody there looks at temporary names.
//	naming    it is whole, and is about to get its name. Cut off here, we look.
//	          Its name is there: it has arrived. The temporary name is there: it
//	          has not, and gets its name now, or, if it is too late for that, is
//	          back at sending and can be cancelled. Neither is: somebody may have
//	          fetched it already, which only a person can find out.
//	delivered
//
// The step from sending to naming is committed before the rename is asked for.
// Each step is taken only from the state that was read: a person may decide
// about a parcel meanwhile, and then it is left.

// Carrier carries what waits.
type Carrier struct {
	DB     postgres.DB
	Day    calendar.Date    // the business date
	Outbox string           // folder of folders
	Places map[string]Place // by name

	// TooLate, if set, says why a parcel must not be sent any more, "" if it
	// may. What may have been sent already is settled all the same.
	TooLate func(Parcel) string
}

// Outcome is what came of one parcel in one run.
type Outcome struct {
	Parcel
	Reason string // why it is not delivered, "" if it is
	Note   string // in words, for a delivered one too
}

// The reasons. Unreachable is tried again by the next run by itself; with the
// others a person has to do something first.
const (
	Unreachable  = "unreachable" // the server, or the connection was cut
	WrongHostKey = "wrong_host_key"
	NoLogin      = "no_login"
	NotUsable    = "not_configured" // the place is not described, or its secrets can't be read
	NotThere     = "not_in_outbox"  // or it has other bytes there than it was sealed with
	NameTaken    = "name_taken"     // by other bytes
	Refused      = "refused"        // by the server: no room, no right
	NotKnown     = "unknown"        // whether it has arrived
	SetWaits     = "set_waits"      // another file of its set has to go first
	Late         = "too_late"       // its day has come, and it was not sent
)

// failure is why a parcel is not delivered.
type failure struct {
	reason string
	err    error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// ErrBusy says that another program is carrying.
var ErrBusy = errors.New("another program is carrying files: wait for it, then run again")

const carrying = 0x6361727279 // the advisory lock of whoever carries

// Carry takes every parcel that is not delivered to its place. An error is one
// of the house (the database, the disk); what goes wrong with a place is the
// outcome of its parcels.
func (c Carrier) Carry(ctx context.Context) (all []Outcome, err error) {
	got, err := postgres.Alone(ctx, c.DB, carrying, false, func(conn postgres.DB) (err error) {
		all, err = c.carry(ctx, conn)
		return err
	})
	if err == nil && !got {
		err = ErrBusy
	}
	return all, err
}

func (c Carrier) carry(ctx context.Context, conn postgres.DB) (all []Outcome, err error) {
	parcels, err := Parcels(ctx, conn, Waiting, Sending, Naming, Unknown)
	if err != nil {
		return nil, err
	}
	// Whatever is written from here on goes by the connection that holds the
	// lock: whoever has lost it can no longer say that something was done.
	links := map[string]*link{}
	defer func() {
		for _, l := range links {
			l.drop()
		}
	}()
	behind := map[string]bool{} // sets of which something is not delivered
	for _, last := range []bool{false, true} {
		for _, p := range parcels {
			if p.Last != last {
				continue
			}
			if links[p.Place] == nil {
				links[p.Place] = &link{name: p.Place, places: c.Places}
			}
			t := &trip{Carrier: c, db: conn, link: links[p.Place], Parcel: p, was: p.State}
			out, err := t.outcome(ctx, p.Last && behind[p.Set])
			if errors.Is(err, errDecided) { // and if it is to go, it goes with the next run
				behind[p.Set] = p.Set != ""
				continue
			}
			if err != nil {
				return all, err
			}
			if out.Reason != "" && p.Set != "" {
				behind[p.Set] = true
			}
			all = append(all, out)
		}
	}
	return all, nil
}

// link is the connection to a place, made when it is needed.
type link struct {
	name   string
	places map[string]Place
	up     *session
	down   *failure // once the place can't be reached, it is left alone for this run
}

func (l *link) drop() {
	if l.up != nil {
		l.up.close()
		l.up = nil
	}
}

func (l *link) place() (Place, *failure) {
	p, known := l.places[l.name]
	if !known {
		return p, &failure{NotUsable, fmt.Errorf("the policy describes no place %q", l.name)}
	}
	p.Tries, p.Suffix = max(p.Tries, 1), cmp.Or(p.Suffix, ".part")
	return p, nil
}

// session connects if there is no connection.
func (l *link) session(ctx context.Context, p Place) (*session, *failure) {
	if l.up != nil || l.down != nil {
		return l.up, l.down
	}
	for try := 1; ; try++ {
		up, err := p.dial(ctx)
		if err == nil {
			l.up = up
			return up, nil
		}
		var config *ConfigError
		reason := Unreachable
		switch {
		case errors.As(err, &config):
			reason = NotUsable
		case errors.Is(err, ErrHostKey):
			reason = WrongHostKey
		case errors.Is(err, ErrLogin):
			reason = NoLogin
		case try < p.Tries && pause(ctx, p.Wait):
			continue
		}
		l.down = &failure{reason, fmt.Errorf("%s: %w", l.name, err)}
		return nil, l.down
	}
}

// pause waits, and says whether it may go on.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// trip is one parcel in one run.
type trip struct {
	Carrier
	Parcel
	was  State // in the database
	db   querier
	link *link
	note string
}

// save records how far the parcel has come, unless somebody has decided on it
// meanwhile.
func (t *trip) save(ctx context.Context) error {
	err := save(ctx, t.db, t.was, t.Parcel)
	if err == nil {
		t.was = t.State
	}
	return err
}

// outcome carries the parcel as far as it gets, and records why it got no
// farther.
func (t *trip) outcome(ctx context.Context, setWaits bool) (Outcome, error) {
	err := t.travel(ctx, setWaits)
	if ctx.Err() != nil {
		return Outcome{}, ctx.Err()
	}
	if err == nil {
		t.State, t.Problem, t.DeliveredOn = Delivered, "", t.Day
		return Outcome{t.Parcel, "", t.note}, t.save(ctx)
	}
	var why *failure
	if !errors.As(err, &why) {
		return Outcome{}, fmt.Errorf("outbox/%s/%s: %w", t.Folder, t.Name, err)
	}
	if why.reason == NotKnown {
		t.State = Unknown
	}
	t.Problem = why.Error()
	return Outcome{t.Parcel, why.reason, t.Problem}, t.save(ctx)
}

// travel returns nil when the parcel has arrived, a *failure for anything that
// is not the house's own fault.
func (t *trip) travel(ctx context.Context, setWaits bool) error {
	switch {
	case t.State == Unknown:
		return &failure{NotKnown, errors.New(cmp.Or(t.Problem, "nobody has said yet whether it arrived"))}
	case t.State != Naming && t.late() != "":
		return &failure{Late, errors.New(t.late())}
	case setWaits:
		return &failure{SetWaits, fmt.Errorf("it goes last, and other files of %s have not gone", t.Set)}
	}
	place, why := t.link.place()
	if why != nil {
		return why
	}
	for try := 1; ; try++ {
		s, why := t.link.session(ctx, place)
		if why != nil {
			return why
		}
		err := t.send(ctx, s, place)
		if err == nil || errors.As(err, new(*failure)) || errors.As(err, new(*own)) {
			return err
		}
		if answered(err) {
			return &failure{Refused, err}
		}
		t.link.drop() // lost: what became of the last request shows when we are back
		if try >= place.Tries || !pause(ctx, place.Wait) {
			return &failure{Unreachable, fmt.Errorf("the connection was lost: %w", err)}
		}
	}
}

// own is an error of the house, not of the place.
type own struct{ error }

func (o *own) Unwrap() error { return o.error }

// send goes on from the state that the parcel is in.
func (t *trip) send(ctx context.Context, s *session, place Place) error {
	if t.State == Naming {
		return t.settle(s, place, nil)
	}
	file, err := t.wrap(ctx, place)
	if err != nil {
		return err
	}
	defer file.Close()
	there, err := s.look(t.SentAs, t.SentBytes)
	if err != nil {
		return err
	}
	if there != nil {
		if bytes.Equal(there.sha256, t.SentSHA256) {
			t.note = "it was there already, byte for byte"
			return nil
		}
		return t.taken(there)
	}
	if err := s.put(t.temporary(place), file, t.SentBytes); err != nil {
		return err
	}
	t.State = Naming
	if err := t.save(ctx); err != nil {
		return &own{err}
	}
	return t.name(s, place)
}

// late says why the parcel must not be sent any more, "" if it may.
func (t *trip) late() string {
	if t.TooLate == nil {
		return ""
	}
	return t.TooLate(t.Parcel)
}

// temporary is the name under which it is written there: its own, so that
// nobody's file is ever removed.
func (t *trip) temporary(place Place) string {
	return fmt.Sprintf("%s.%x%s", t.SentAs, t.SentSHA256[:4], place.Suffix)
}

// name gives a file that is whole there its name.
func (t *trip) name(s *session, place Place) error {
	err := s.Rename(s.path(t.temporary(place)), s.path(t.SentAs))
	if err != nil && answered(err) {
		return t.settle(s, place, err)
	}
	return err
}

// settle finds out what became of giving the name: refused is the server's
// answer to it, nil if there was none.
func (t *trip) settle(s *session, place Place, refused error) error {
	there, err := s.look(t.SentAs, t.SentBytes)
	if err != nil {
		return err
	}
	temporary, err := s.look(t.temporary(place), t.SentBytes)
	if err != nil {
		return err
	}
	whole := temporary != nil && temporary.bytes == t.SentBytes
	switch {
	case there != nil && temporary == nil && there.bytes == t.SentBytes && (there.sha256 == nil || bytes.Equal(there.sha256, t.SentSHA256)):
		t.note = "it was there when we came back"
		return nil
	case there == nil && whole && refused == nil && t.late() != "":
		t.State = Sending // it has not had its name, and does not get it any more
		return &failure{Late, fmt.Errorf("%s (it is there as %s, which nobody looks at)", t.late(), t.temporary(place))}
	case there == nil && whole && refused == nil:
		return t.name(s, place)
	case there == nil && whole:
		return &failure{Refused, fmt.Errorf("it is there as %s, and the server does not let us rename it: %w", t.temporary(place), refused)}
	case there != nil && temporary != nil && !bytes.Equal(there.sha256, t.SentSHA256):
		t.State = Sending // what has our name is not ours, and ours has still its temporary one
		return t.taken(there)
	}
	return &failure{NotKnown, fmt.Errorf("it was whole there, and the connection ended as it got its name; now %s. Ask them whether they have it (sha256 %x)", describe(there, temporary), t.SentSHA256)}
}

func describe(there, temporary *found) string {
	switch {
	case there == nil && temporary == nil:
		return "neither it nor its temporary file is there"
	case there == nil:
		return fmt.Sprintf("only a temporary file of %d bytes is there", temporary.bytes)
	case temporary == nil:
		return fmt.Sprintf("a file of its name and %d bytes is there, which is not the same", there.bytes)
	}
	return "both it and its temporary file are there"
}

func (t *trip) taken(there *found) error {
	return &failure{NameTaken, fmt.Errorf("there is a file %s of %d bytes there already, and it is not ours: nothing was overwritten", t.SentAs, there.bytes)}
}

// wrap opens the bytes that are to be sent: the file itself, or its OpenPGP
// form, which is made once and kept beside it until it has arrived. What they
// are is recorded before any of them leaves.
func (t *trip) wrap(ctx context.Context, place Place) (*os.File, error) {
	path := filepath.Join(t.Outbox, t.Folder, t.Name)
	f, sum, size, err := openHashed(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &failure{NotThere, fmt.Errorf("%s is not there any more", path)}
	case err != nil:
		return nil, &own{err}
	case !bytes.Equal(sum, t.SHA256):
		f.Close()
		return nil, &failure{NotThere, fmt.Errorf("%s has the hash %x, not %x as when it was sealed: it is not sent", path, sum, t.SHA256)}
	}
	name := t.Name
	if place.encrypts() {
		plain := f
		defer plain.Close()
		name += ".pgp"
		if f, sum, size, err = t.encrypted(place, plain, wrapped(path)); err != nil {
			return nil, err
		}
	}
	t.State, t.SentAs, t.SentSHA256, t.SentBytes = Sending, name, sum, size
	t.Attempts++
	if err := t.save(ctx); err != nil {
		f.Close()
		return nil, &own{err}
	}
	return f, nil
}

// wrapped is where a file's OpenPGP form lies until it has arrived.
func wrapped(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".pgp")
}

// encrypted opens the OpenPGP form of a file: the one that an earlier attempt
// has recorded, or a new one.
func (t *trip) encrypted(place Place, plain io.Reader, path string) (f *os.File, sum []byte, size int64, err error) {
	if t.SentSHA256 != nil {
		f, sum, size, err := openHashed(path)
		if err == nil && bytes.Equal(sum, t.SentSHA256) {
			return f, sum, size, nil
		}
		if err == nil {
			f.Close()
		}
	}
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, nil, 0, &own{err}
	}
	err = place.encrypt(out, plain)
	if err := errors.Join(err, out.Sync(), out.Close()); err != nil {
		os.Remove(path)
		if errors.As(err, new(*ConfigError)) {
			return nil, nil, 0, &failure{NotUsable, err}
		}
		return nil, nil, 0, &own{err}
	}
	if f, sum, size, err = openHashed(path); err != nil {
		err = &own{err}
	}
	return f, sum, size, err
}

// Forget removes what Carry has left beside a file that has arrived.
func Forget(path string) error {
	if err := os.Remove(wrapped(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// openHashed opens a file at its beginning and takes its hash.
func openHashed(path string) (f *os.File, sum []byte, size int64, err error) {
	if f, err = os.Open(path); err != nil {
		return nil, nil, 0, err
	}
	hash := sha256.New()
	if size, err = io.Copy(hash, f); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, nil, 0, err
	}
	return f, hash.Sum(nil), size, nil
}
