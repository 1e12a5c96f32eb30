package lockbox

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/billcycle/billcycle/billing"
	"github.com/billcycle/billcycle/calendar"
	"github.com/billcycle/billcycle/ledger"
	"github.com/billcycle/billcycle/postgres"
	"github.com/billcycle/billcycle/secret"
)

// Desk is where lockbox files come in and where people see to the checks that
// could not be given to anybody. It acts on one business date.
type Desk struct {
	DB       postgres.DB
	Policy   *billing.Policy
	Keys     *secret.Keys
	Day      calendar.Date
	Operator string    // who acts; "system" is the nightly run
	Profiles []Profile // the biller's own layouts and the built-in ones; nil for the built-in ones

	// ChunkItems is how many checks of a file are laid out at a time, 0 for the
	// usual number.
	ChunkItems int
}

// Ingested is what became of a file. The counts of items add up: Items =
// Posted + Pending + Suspense + Held + Refused.
type Ingested struct {
	FileID    int64        `json:"file_id"`
	Profile   string       `json:"profile"`
	Duplicate bool         `json:"duplicate"` // its content was here before: nothing was done
	Accepted  bool         `json:"accepted"`  // something of it was taken, or there was nothing in it to take
	Items     int          `json:"items"`     // checks, as read
	Cents     ledger.Cents `json:"cents"`     // their sum, as read
	Posted    int          `json:"posted"`    // whose posting date had come
	Pending   int          `json:"pending"`
	Suspense  int          `json:"suspense"` // nobody known
	Held      int          `json:"held"`     // for a person to decide
	Refused   int          `json:"refused"`  // not taken: with their batch, with the file, or because they were here before
	// Skipped says how many of the refused are in batches that were taken before
	// and are identical: nothing is left to do about them.
	Skipped        int       `json:"skipped"`
	SkippedBatches int       `json:"skipped_batches"`
	RefusedBatches int       `json:"refused_batches"` // whose total is not their checks'
	Problems       []Problem `json:"problems"`        // never null
}

// Waiting says how many checks this call left for a person.
func (in Ingested) Waiting() int {
	if in.Duplicate {
		return 0 // whatever waits of it was left by the call before
	}
	return in.Suspense + in.Held + in.Refused - in.Skipped
}

// ErrRefused is in the chain of the error for a file of which nothing was
// taken; the Ingested returned beside it says why.
var ErrRefused = errors.New("the file was refused and nothing was changed")

// The states of a file and of a batch.
const (
	stateArriving = "arriving" // on its way: its checks are laid out, but stand nowhere yet
	stateAccepted = "accepted"
	stateRefused  = "refused"
	stateHeld     = "held"     // differs from what was taken before: a person decides
	stateSkipped  = "skipped"  // a batch that was taken before
	stateReplaced = "replaced" // a refused batch that came again
)

// Ingest takes a lockbox file in, all of it at one moment. The content is read
// twice, the second time batch by batch, and never held whole. Without a
// profile it is recognized. Of a large file that was killed on its way, nothing
// stands yet; the same call on the same business date goes on where it was, and
// on another date begins anew.
//
// A file that is known already is answered with Duplicate and changes nothing.
// A file that must not be taken is kept as refused or held, with its problems,
// and none of its checks; refused comes with ErrRefused.
func (d Desk) Ingest(ctx context.Context, name string, content io.ReadSeeker, profile Profile) (Ingested, error) {
	f, err := d.inspect(name, content, profile)
	if err != nil {
		return Ingested{Problems: []Problem{}}, err
	}
	return d.take(ctx, f, content)
}

// arrival is a file as it was inspected, before anything is stored.
type arrival struct {
	name    string
	profile Profile
	sum     Summary
	batches []*parcel
	asNew   bool   // a person says that batches which differ are new ones,
	reason  string // for this reason

	received map[calendar.Date]bool // the dates on which its checks were received
	replaced []sighting             // batches refused before that it brings anew
}

// parcel is a batch of an arrival: what has to be known of it to decide whether
// it is taken.
type parcel struct {
	batchKey
	ordinal   int
	line      int
	items     int
	cents     ledger.Cents
	said      ledger.Cents
	canonical Hash
	state     string
}

// called names a batch, also one to which the bank gives no number.
func (p *parcel) called() string {
	if p.number == "" {
		return "a batch without a number"
	}
	return "batch " + p.number
}

// batchKey is how a batch is known again. Numbers restart, so two batches may
// have one key.
type batchKey struct {
	lockbox, number string
	deposit         calendar.Date
}

// inspect reads the file once and decides what can be told without the
// database. A box with a profile of its own in the policy is read by that.
func (d Desk) inspect(name string, content io.ReadSeeker, profile Profile) (*arrival, error) {
	f := &arrival{name: name, profile: profile}
	may := d.profiles()
	if profile.Name != "" {
		may = []Profile{profile}
	}
	ranked, err := contenders(content, may)
	if unknown := (*FormatError)(nil); errors.As(err, &unknown) {
		f.sum = Summary{Format: unknown.Format, Problems: []Problem{unknown.Problem()}}
		f.sum.SHA256, err = hashOf(content)
		f.sum.CanonicalSHA256 = f.sum.SHA256
		return f, err
	}
	if err != nil {
		return nil, err
	}
	f.profile, f.sum, err = footed(content, ranked, func(p Profile) (Summary, error) {
		f.profile = p
		err := f.read(content)
		return f.sum, err
	})
	if err != nil {
		return nil, err
	}
	if own := d.profileOfBoxes(f.sum.Boxes); profile.Name == "" && own != "" && own != f.profile.Name {
		p, err := ProfileNamed(d.profiles(), own)
		if err != nil {
			return nil, fmt.Errorf("policy, lockboxes: %w", err)
		}
		f.profile = p
		if err := f.read(content); err != nil {
			return nil, err
		}
	}
	f.sum.Problems = append(f.sum.Problems, d.notOurs(f)...)
	return f, nil
}

func (d Desk) profiles() []Profile {
	if d.Profiles != nil {
		return d.Profiles
	}
	return Profiles()
}

func hashOf(content io.ReadSeeker) (Hash, error) {
	if _, err := content.Seek(0, io.SeekStart); err != nil {
		return Hash{}, fmt.Errorf("lockbox file: %w", err)
	}
	h := sha256.New()
	if _, err := io.Copy(h, content); err != nil {
		return Hash{}, fmt.Errorf("lockbox file: %w", err)
	}
	return Hash(h.Sum(nil)), nil
}

func (f *arrival) read(content io.ReadSeeker) error {
	if _, err := content.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("lockbox file: %w", err)
	}
	f.batches, f.received = nil, map[calendar.Date]bool{}
	var err error
	f.sum, err = readDays(content, f.profile, func(b Batch) error {
		p := &parcel{batchKey: batchKey{b.Lockbox, b.Number, b.DepositDate}, ordinal: b.Ordinal, line: b.Line, items: len(b.Items),
			cents: b.Cents, said: b.Cents, canonical: b.CanonicalSHA256, state: stateAccepted}
		if b.Said != nil {
			p.said = b.Said.Cents
		}
		if b.Refused {
			p.state = stateRefused
		}
		f.batches = append(f.batches, p)
		for _, item := range b.Items {
			f.received[item.ReceivedDate] = true
		}
		return nil
	})
	return err
}

// profileOfBoxes returns the profile that the policy gives to the boxes of a
// file, "" if it gives none or several.
func (d Desk) profileOfBoxes(boxes []Box) string {
	name := ""
	for _, box := range boxes {
		for _, ours := range d.Policy.Lockboxes {
			if sameNumber(ours.Lockbox, box.Lockbox) && ours.Profile != "" {
				if name != "" && name != ours.Profile {
					return ""
				}
				name = ours.Profile
			}
		}
	}
	return name
}

// boxes are the lockboxes of a file, by number: those of its batches, too, since
// not every layout closes one before the next. A day without mail may name none.
func (f *arrival) boxes() (numbers []string) {
	add := func(number string) {
		if !slices.Contains(numbers, number) {
			numbers = append(numbers, number)
		}
	}
	for _, box := range f.sum.Boxes {
		if box.Lockbox != "" || box.Items > 0 {
			add(box.Lockbox)
		}
	}
	last := ""
	for _, p := range f.batches {
		if p.items > 0 && p.lockbox != last {
			add(p.lockbox)
			last = p.lockbox
		}
	}
	return numbers
}

// notOurs says which lockboxes of a file are somebody else's. A biller that
// lists no boxes takes any. A table names no bank, so its box alone must be ours.
func (d Desk) notOurs(f *arrival) (problems []Problem) {
	if len(d.Policy.Lockboxes) == 0 {
		return nil
	}
	var ours []string
	for _, l := range d.Policy.Lockboxes {
		ours = append(ours, l.Lockbox)
	}
	told := map[string]bool{}
	sum := f.sum
	for _, box := range f.boxes() {
		i := slices.IndexFunc(d.Policy.Lockboxes, func(l billing.LockboxAccount) bool { return sameNumber(l.Lockbox, box) })
		p := Problem{Line: 1, Refuses: RefusesFile}
		switch {
		case i < 0:
			p.Record, p.Field, p.Said, p.Found = "5", "lockbox", orBlank(box), strings.Join(ours, " or ")
			p.Do = "add the box to the policy if it is ours; else tell the bank whose file it has sent"
			p.Problem = "this lockbox is not one of ours (policy key lockboxes): the file is another company's, or the box must be added there"
		case d.Policy.Lockboxes[i].Routing != "" && sum.Origin+sum.Destination != "" && !sameNumber(d.Policy.Lockboxes[i].Routing, sum.Origin) && !sameNumber(d.Policy.Lockboxes[i].Routing, sum.Destination):
			p.Record, p.Field, p.Said, p.Found = "1", "origin", orBlank(sum.Origin), d.Policy.Lockboxes[i].Routing
			p.Do = "ask the bank whose file this is, or correct the policy's routing number"
			p.Problem = "the file comes from another bank than the one the policy names for lockbox " + box
		default:
			continue
		}
		if !told[p.Said] {
			told[p.Said] = true
			problems = append(problems, p)
		}
	}
	return problems
}

// sameNumber compares numbers that one side fills with zeros.
func sameNumber(a, b string) bool {
	return strings.TrimLeft(a, "0") == strings.TrimLeft(b, "0")
}

// refused says whether nothing of the file may be taken.
func (f *arrival) refused() bool {
	return f.sum.Refused() || slices.ContainsFunc(f.sum.Problems, func(p Problem) bool { return p.Refuses == RefusesFile })
}
