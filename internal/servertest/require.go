package servertest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// requireVariable makes a missing server an error. "make test" sets it.
const requireVariable = "LASTUNIT_REQUIRE_SERVERS"

// notFound says that a server is not installed here.
type notFound struct {
	program  string
	install  string
	variable string // names a server that the shared one may be instead
}

func (e *notFound) Error() string {
	return fmt.Sprintf("%s not found: run make test, or install %s", e.program, e.install)
}

// giveUp ends a test that got no server. It skips only if the program is not
// installed: a server that is installed but does not start is a failure.
func giveUp(t testing.TB, err error) {
	t.Helper()
	var missing *notFound
	if errors.As(err, &missing) && os.Getenv(requireVariable) != "1" {
		t.Skip(err.Error())
	}
	t.Fatal(err.Error())
}

func findRedis() (string, error) {
	dir, ok := findPrograms([]string{
		"/usr/local/bin",
		"/opt/homebrew/bin",
		"/opt/homebrew/opt/redis/bin",
	}, "redis-server")
	if !ok || !supported {
		return "", &notFound{program: "redis-server", install: "redis-server", variable: "REDIS_URL"}
	}
	return filepath.Join(dir, "redis-server"), nil
}

// findPostgres returns the directory that has both initdb and postgres. They
// must come from one installation, since their versions must agree.
func findPostgres() (string, error) {
	dir, ok := findPrograms(postgresDirs(), "postgres", "initdb")
	if !ok || !supported {
		return "", &notFound{program: "postgres and initdb", install: "postgresql", variable: "DATABASE_URL"}
	}
	return dir, nil
}

// Psql returns the path of psql, which a machine without postgres may lack.
func Psql(t testing.TB) string {
	t.Helper()
	dir, ok := findPrograms(postgresDirs(), "psql")
	if !ok {
		giveUp(t, &notFound{program: "psql", install: "postgresql-client"})
	}
	return filepath.Join(dir, "psql")
}

func postgresDirs() []string {
	return []string{
		"/usr/lib/postgresql/*/bin",
		"/usr/pgsql-*/bin",
		"/opt/homebrew/opt/postgresql*/bin",
		"/opt/homebrew/bin",
		"/usr/local/opt/postgresql*/bin",
		"/usr/local/pgsql/bin",
		"/usr/local/bin",
	}
}

// findPrograms looks in PATH first, then in the directories that match the
// patterns, the highest version of each pattern first.
func findPrograms(patterns []string, programs ...string) (string, bool) {
	dirs := filepath.SplitList(os.Getenv("PATH"))
	for _, pattern := range patterns {
		// The only error is that of a bad pattern, and ours are constant.
		found, _ := filepath.Glob(pattern)
		slices.SortFunc(found, func(a, b string) int { return versionIn(b) - versionIn(a) })
		dirs = append(dirs, found...)
	}
	for _, dir := range dirs {
		if filepath.IsAbs(dir) && hasAll(dir, programs) {
			return dir, true
		}
	}
	return "", false
}

func hasAll(dir string, programs []string) bool {
	for _, program := range programs {
		if _, err := exec.LookPath(filepath.Join(dir, program)); err != nil {
			return false
		}
	}
	return true
}

// versionIn returns the first number in a path, 0 if there is none.
func versionIn(path string) int {
	digit := func(r rune) bool { return r >= '0' && r <= '9' }
	from := strings.IndexFunc(path, digit)
	if from < 0 {
		return 0
	}
	rest := path[from:]
	if end := strings.IndexFunc(rest, func(r rune) bool { return !digit(r) }); end >= 0 {
		rest = rest[:end]
	}
	n, err := strconv.Atoi(rest)
	if err != nil {
		return 0
	}
	return n
}
