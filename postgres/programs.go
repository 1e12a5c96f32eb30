package postgres

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// programs is an installed PostgreSQL: a folder that holds initdb and postgres.
type programs struct {
	dir   string
	major int
}

// Where packages put the servers' programs, if not into PATH.
var programFolders = []string{
	"/usr/lib/postgresql/*/bin",                          // Debian, Ubuntu
	"/usr/pgsql-*/bin",                                   // postgresql.org's for Fedora, RHEL
	"/usr/libexec/postgresql*",                           // Alpine
	"/opt/homebrew/opt/postgresql@*/bin",                 // Homebrew
	"/usr/local/opt/postgresql@*/bin",                    // Homebrew on Intel
	"/Applications/Postgres.app/Contents/Versions/*/bin", // Postgres.app
	"/usr/local/pgsql/bin",                               // built from source
}

var errNoPrograms = errors.New(`no PostgreSQL found on this machine (initdb and postgres, version ` + strconv.Itoa(MinMajor) + ` or newer). Install it:
  Debian, Ubuntu:  apt-get install postgresql
  Fedora, RHEL:    dnf install postgresql-server
  Alpine:          apk add postgresql
  macOS:           brew install postgresql@17
or name a server of yours by --database URL`)

// findPrograms finds the PostgreSQL to run: the one in PATH, else the newest.
// A cluster runs only under the major version that made it; major is that, or
// 0 for a new cluster.
func findPrograms(major int) (programs, error) {
	var found []programs
	for _, dir := range programDirs() {
		p := programs{dir: dir, major: majorOf(filepath.Join(dir, "postgres"))}
		if !executable(filepath.Join(dir, "initdb")) || p.major < MinMajor {
			continue
		}
		if major == 0 || p.major == major {
			return p, nil
		}
		found = append(found, p)
	}
	if len(found) == 0 {
		return programs{}, errNoPrograms
	}
	return programs{}, fmt.Errorf("the data was written by PostgreSQL %d, but this machine has only %d (%s): "+
		"install PostgreSQL %[1]d again, or move the data with pg_upgrade", major, found[0].major, found[0].dir)
}

// programDirs lists the folders to look into, the preferred first.
func programDirs() []string {
	var dirs []string
	// What PATH has may be a link into the real folder; only there do initdb
	// and postgres stand side by side for certain.
	for _, name := range []string{"initdb", "postgres"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		if real, err := filepath.EvalSymlinks(path); err == nil {
			path = real
		}
		if path, err = filepath.Abs(path); err == nil {
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	for _, pattern := range programFolders {
		matches, _ := filepath.Glob(pattern) // the patterns are well-formed
		sort.Slice(matches, func(i, j int) bool { return numberIn(matches[i]) > numberIn(matches[j]) })
		dirs = append(dirs, matches...)
	}
	return dirs
}

// numberIn returns the first number in a path: 15 in /usr/lib/postgresql/15/bin.
func numberIn(path string) int {
	digits := strings.FieldsFunc(path, func(r rune) bool { return r < '0' || r > '9' })
	if len(digits) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(digits[0])
	return n
}

// majorOf asks a postgres for its version; 0 if it doesn't answer.
func majorOf(path string) int {
	if !executable(path) {
		return 0
	}
	said, err := exec.Command(path, "--version").Output() // postgres (PostgreSQL) 15.18
	if err != nil {
		return 0
	}
	return numberIn(string(said))
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
