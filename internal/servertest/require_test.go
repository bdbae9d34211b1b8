package servertest

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// verdictOf is a testing.TB that notes how a test would have ended.
type verdictOf struct {
	testing.TB
	skipped, failed string
}

func (v *verdictOf) Helper()          {}
func (v *verdictOf) Skip(args ...any) { v.skipped = args[0].(string); panic(v) }
func (v *verdictOf) Fatal(args ...any) {
	v.failed = args[0].(string)
	panic(v)
}

func judgeGiveUp(t *testing.T, err error) *verdictOf {
	v := &verdictOf{TB: t}
	func() {
		defer func() { require.Same(t, v, recover()) }()
		giveUp(v, err)
	}()
	return v
}

func TestMissingServer(t *testing.T) {
	err := errors.Join(&notFound{program: "redis-server", install: "redis-server"})
	const text = "redis-server not found: run make test, or install redis-server"
	t.Setenv(requireVariable, "")
	require.Equal(t, text, judgeGiveUp(t, err).skipped)
	require.NotEmpty(t, judgeGiveUp(t, errors.New("it crashed")).failed)
	t.Setenv(requireVariable, "1")
	require.Equal(t, text, judgeGiveUp(t, err).failed)
}

func TestFindPrograms(t *testing.T) {
	root := t.TempDir()
	program := func(names ...string) {
		path := filepath.Join(append([]string{root}, names...)...)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, nil, 0o755))
	}
	program("pg", "9", "bin", "postgres")
	program("pg", "9", "bin", "initdb")
	program("pg", "15", "bin", "postgres")
	program("pg", "15", "bin", "initdb")
	program("pg", "16", "bin", "postgres") // but no initdb
	program("path", "postgres")
	pattern := filepath.Join(root, "pg", "*", "bin")

	t.Setenv("PATH", filepath.Join(root, "path"))
	_, ok := findPrograms(nil, "postgres", "initdb")
	require.False(t, ok)
	dir, ok := findPrograms([]string{pattern}, "postgres", "initdb")
	require.True(t, ok)
	require.Equal(t, filepath.Join(root, "pg", "15", "bin"), dir)

	program("path", "initdb")
	dir, ok = findPrograms([]string{pattern}, "postgres", "initdb")
	require.True(t, ok)
	require.Equal(t, filepath.Join(root, "path"), dir)
}

func (v *verdictOf) Fatalf(format string, _ ...any) {
	v.failed = format
	panic(v)
}
