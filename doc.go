// Package billcycle is the house as a whole and holds no code of its own: the
// program is cmd/billcycle, README.md says what it does, ARCHITECTURE.md how
// its rooms are laid out, and the test beside this file holds them to it.
package billcycle
