package delivery

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/billcycle/billcycle/delivery/sftptest"
)

// testStore is what every store must do.
func testStore(t *testing.T, s Store, spoil func(sum [32]byte)) {
	t.Helper()
	ctx := t.Context()
	for _, content := range []string{"", "a statement", strings.Repeat("another statement ", 100_000)} {
		sum, err := s.Put(ctx, []byte(content))
		if err != nil || sum != sha256.Sum256([]byte(content)) {
			t.Fatalf("put %d bytes: %x, %v", len(content), sum, err)
		}
		if again, err := s.Put(ctx, []byte(content)); again != sum || err != nil {
			t.Errorf("put again: %x, %v", again, err)
		}
		if got, err := s.Get(ctx, sum); string(got) != content || err != nil {
			t.Errorf("got %d bytes of %d back, %v", len(got), len(content), err)
		}
	}
	if _, err := s.Get(ctx, sha256.Sum256([]byte("nothing"))); !errors.Is(err, ErrNotKept) {
		t.Errorf("what is not kept: %v", err)
	}
	sum := sha256.Sum256([]byte("a statement"))
	spoil(sum)
	if got, err := s.Get(ctx, sum); err == nil || !strings.Contains(err.Error(), "altered") {
		t.Errorf("altered content was given back: %q, %v", got, err)
	}
}

func TestDirectory(t *testing.T) {
	d := Directory(filepath.Join(t.TempDir(), "statements"))
	testStore(t, d, func(sum [32]byte) {
		if err := os.WriteFile(d.Path(sum), []byte("a statemenT"), 0o600); err != nil {
			t.Fatal(err)
		}
	})
	if left, _ := filepath.Glob(filepath.Join(string(d), "*", ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestBucket(t *testing.T) {
	objects := &objects{t: t, access: "AKIDEXAMPLE", secret: "wJalrXUtnFEMI", all: map[string][]byte{}}
	server := httptest.NewServer(objects)
	defer server.Close()
	s := S3{Endpoint: strings.TrimPrefix(server.URL, "http://"), Bucket: "statements", Prefix: "kept", Region: "us-west-2",
		AccessFile: sftptest.WriteFile(t, "AKIDEXAMPLE\n"), SecretFile: sftptest.WriteFile(t, "wJalrXUtnFEMI\n"), PlainHTTP: true}
	b, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	testStore(t, b, func(sum [32]byte) {
		objects.all["/statements/kept/"+key(sum)] = []byte("a statemenT")
	})
	if objects.puts != 3 {
		t.Errorf("%d objects were sent, want 3: what is kept is not sent again", objects.puts)
	}

	s.SecretFile = sftptest.WriteFile(t, "another")
	wrong, err := s.Open()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wrong.Put(t.Context(), []byte("x")); err == nil || strings.Contains(err.Error(), "another") {
		t.Errorf("with another's secret: %v", err)
	}
	s.SecretFile += "x"
	if _, err := s.Open(); !errors.As(err, new(*ConfigError)) {
		t.Errorf("without a secret: %v", err)
	}
	server.Close()
	if _, err := b.Put(t.Context(), []byte("y")); err == nil || !strings.Contains(err.Error(), "bucket statements") {
		t.Errorf("without a server: %v", err)
	}
}

// objects is a strict server of object storage: it proves every signature, of
// the request and of each piece of its body (AWS Signature Version 4).
type objects struct {
	t              *testing.T
	access, secret string
	mu             sync.Mutex
	all            map[string][]byte
	puts           int
}

func (o *objects) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	fail := func(status int, code string) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		if r.Method != "HEAD" {
			fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>%s</Message></Error>`, code, code)
		}
	}
	body, err := o.verify(r)
	if err != nil {
		fail(403, "SignatureDoesNotMatch")
		return
	}
	content, there := o.all[r.URL.Path]
	switch r.Method {
	case "PUT":
		o.puts++
		o.all[r.URL.Path] = body
		w.Header().Set("ETag", `"1"`)
	case "GET", "HEAD":
		if !there {
			fail(404, "NoSuchKey")
			return
		}
		w.Header().Set("ETag", `"1"`)
		w.Header().Set("Last-Modified", "Tue, 24 Mar 2026 12:00:00 GMT")
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		if r.Method == "GET" {
			w.Write(content)
		}
	default:
		fail(405, "MethodNotAllowed")
	}
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	io.WriteString(h, text)
	return h.Sum(nil)
}

func hexSum(b []byte) string { sum := sha256.Sum256(b); return hex.EncodeToString(sum[:]) }

// verify returns the body of a request whose signatures hold.
func (o *objects) verify(r *http.Request) ([]byte, error) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	fields := map[string]string{}
	for f := range strings.SplitSeq(strings.TrimPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 "), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(f), "=")
		fields[name] = value
	}
	access, scope, _ := strings.Cut(fields["Credential"], "/")
	part := strings.Split(scope, "/")
	if access != o.access || len(part) != 4 || part[1] != "us-west-2" || part[2] != "s3" {
		return nil, errors.New("credential " + fields["Credential"])
	}
	signed := strings.Split(fields["SignedHeaders"], ";")
	if !slices.Contains(signed, "host") || !slices.Contains(signed, "x-amz-content-sha256") {
		return nil, errors.New("signed headers " + fields["SignedHeaders"])
	}
	var canonical strings.Builder
	fmt.Fprintf(&canonical, "%s\n%s\n%s\n", r.Method, r.URL.EscapedPath(), r.URL.RawQuery)
	for _, name := range signed {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			value = r.Host
		case "content-length":
			value = strconv.FormatInt(r.ContentLength, 10)
		}
		fmt.Fprintf(&canonical, "%s:%s\n", name, value)
	}
	payload := r.Header.Get("X-Amz-Content-Sha256")
	fmt.Fprintf(&canonical, "\n%s\n%s", fields["SignedHeaders"], payload)
	key := mac(mac(mac(mac([]byte("AWS4"+o.secret), part[0]), part[1]), part[2]), part[3])
	date := r.Header.Get("X-Amz-Date")
	want := hex.EncodeToString(mac(key, "AWS4-HMAC-SHA256\n"+date+"\n"+scope+"\n"+hexSum([]byte(canonical.String()))))
	if want != fields["Signature"] {
		return nil, errors.New("signature")
	}
	if strings.HasPrefix(payload, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD") {
		return pieces(raw, want, func(before string, piece []byte) string {
			return hex.EncodeToString(mac(key, "AWS4-HMAC-SHA256-PAYLOAD\n"+date+"\n"+scope+"\n"+before+"\n"+hexSum(nil)+"\n"+hexSum(piece)))
		})
	}
	if payload != hexSum(raw) {
		return nil, errors.New("payload " + payload)
	}
	return raw, nil
}

// pieces joins a body that comes in signed pieces, each signed over the one
// before.
func pieces(raw []byte, before string, sign func(before string, piece []byte) string) (body []byte, err error) {
	for in := bufio.NewReader(bytes.NewReader(raw)); ; {
		head, err := in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		size, signature, _ := strings.Cut(strings.TrimSpace(head), ";chunk-signature=")
		n, err := strconv.ParseInt(size, 16, 32)
		if err != nil {
			return nil, err
		}
		piece := make([]byte, n)
		if _, err := io.ReadFull(in, piece); err != nil {
			return nil, err
		}
		if want := sign(before, piece); want != signature {
			return nil, errors.New("signature of a piece")
		}
		if before, body = signature, append(body, piece...); n == 0 {
			return body, nil
		}
		if _, err := in.Discard(2); err != nil {
			return nil, err
		}
	}
}
