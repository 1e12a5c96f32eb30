package lockbox

import (
	"testing"

	"github.com/billcycle/billcycle/secret"
)

// ReadReturns reads a return file of our own words, without taking it in.
func ReadReturns(t *testing.T, content string) (rows int, problems []Problem) {
	keys, err := secret.New()
	if err != nil {
		t.Fatal(err)
	}
	found, problems := Desk{Keys: keys}.readReturns([]byte(content), []ReturnsLayout{PlainReturns()})
	return len(found), problems
}
