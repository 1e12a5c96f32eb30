package bench

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/billcycle/billcycle/lockbox"
)

// lockboxInspect measures the recognizing and footing of a lockbox file with
// its hash, in bytes of the file. The floor is reading it.
func (b *bench) lockboxInspect(ctx context.Context, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return b.beside(ctx, "lockbox-inspect", info.Size(), "reading the file", func(context.Context) error {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		sum, err := lockbox.Inspect(file, lockbox.Profiles())
		if err == nil && (!sum.Foots() || int64(sum.Items) != b.n) {
			err = fmt.Errorf("%d of %d checks foot: %v", sum.Items, b.n, sum.Problems)
		}
		return err
	}, func(context.Context) error {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{file}, make([]byte, 256<<10))
		return err
	})
}
