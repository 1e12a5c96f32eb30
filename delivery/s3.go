package delivery

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"path"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"
)

// S3 describes a bucket of an S3-compatible object storage.
type S3 struct {
	Endpoint   string // host or host:port
	Bucket     string
	Prefix     string // of all names
	Region     string
	AccessFile string // files that hold the two keys
	SecretFile string
	PlainHTTP  bool // without TLS
}

// Bucket is a Store in a bucket.
type Bucket struct {
	S3
	client *minio.Client
}

// StoreError says that a bucket can't be reached or lets us do nothing, whatever
// is to be kept in it.
type StoreError struct{ err error }

func (e *StoreError) Error() string { return e.err.Error() }
func (e *StoreError) Unwrap() error { return e.err }

// Open returns the bucket as a Store, without asking whether it is there.
func (s S3) Open() (*Bucket, error) {
	access, err := secretText(s.AccessFile)
	if err != nil {
		return nil, err
	}
	secret, err := secretText(s.SecretFile)
	if err != nil {
		return nil, err
	}
	if err := s3utils.CheckValidBucketName(s.Bucket); err != nil {
		return nil, &ConfigError{fmt.Errorf("object storage %s, bucket %q: %w", s.Endpoint, s.Bucket, err)}
	}
	client, err := minio.New(s.Endpoint, &minio.Options{Creds: credentials.NewStaticV4(string(access), string(secret), ""), Secure: !s.PlainHTTP, Region: s.Region, BucketLookup: minio.BucketLookupPath})
	if err != nil {
		return nil, &ConfigError{fmt.Errorf("object storage %s: %w", s.Endpoint, err)}
	}
	return &Bucket{s, client}, nil
}

func (b *Bucket) name(sum [sha256.Size]byte) string { return path.Join(b.Prefix, key(sum)) }

// Put implements Store.
func (b *Bucket) Put(ctx context.Context, content []byte) (sum [sha256.Size]byte, err error) {
	sum = sha256.Sum256(content)
	there, err := b.client.StatObject(ctx, b.S3.Bucket, b.name(sum), minio.StatObjectOptions{})
	if err == nil && there.Size == int64(len(content)) {
		return sum, nil
	}
	if err != nil && minio.ToErrorResponse(err).StatusCode != 404 {
		return sum, b.wrong("asking for", sum, err)
	}
	_, err = b.client.PutObject(ctx, b.S3.Bucket, b.name(sum), bytes.NewReader(content), int64(len(content)), minio.PutObjectOptions{ContentType: "application/pdf", SendContentMd5: true, DisableMultipart: true})
	return sum, b.wrong("keeping", sum, err)
}

// Get implements Store.
func (b *Bucket) Get(ctx context.Context, sum [sha256.Size]byte) ([]byte, error) {
	o, err := b.client.GetObject(ctx, b.S3.Bucket, b.name(sum), minio.GetObjectOptions{})
	if err != nil {
		return nil, b.wrong("fetching", sum, err)
	}
	defer o.Close()
	content, err := io.ReadAll(o)
	if minio.ToErrorResponse(err).Code == minio.NoSuchKey {
		return nil, ErrNotKept
	}
	return whole(content, sum, b.name(sum), b.wrong("fetching", sum, err))
}

func (b *Bucket) wrong(doing string, sum [sha256.Size]byte, err error) error {
	if err != nil {
		err = &StoreError{fmt.Errorf("object storage %s, bucket %s: %s %s: %w", b.Endpoint, b.S3.Bucket, doing, b.name(sum), err)}
	}
	return err
}
