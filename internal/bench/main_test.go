package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		childMain()
		return
	}
	os.Exit(m.Run())
}

// testSettings are those of a run that is over at once.
func testSettings() settings {
	return settings{length: 200 * time.Millisecond, warmup: 50 * time.Millisecond, repeats: 1, rate: 500, rows: rows, patience: 10 * time.Second}
}

// Every row is measured and audited once.
func TestAllRows(t *testing.T) {
	t.Parallel()
	on := startServers(t, "fsync=off") // what is left is the same, in less time
	var places []place
	for _, r := range rows {
		callers := 8
		if !r.callers(2) && r.callers(1) {
			callers = 1
		}
		places = append(places, place{r, callers})
	}
	var progress bytes.Buffer
	found, err := run(t.Context(), testSettings(), on, places, &progress)
	require.NoError(t, err, progress.String())
	t.Log("\n" + progress.String())
	require.Len(t, found, len(rows))
	for i, m := range found {
		require.Equal(t, rows[i].name, m.Name)
		require.Len(t, m.Repeats, 1)
	}
}

func TestGrowth(t *testing.T) {
	t.Parallel()
	s := testSettings()
	s.orders = 3000
	var progress, printed bytes.Buffer
	found, err := grow(t.Context(), s, startServers(t, "fsync=off"), &progress)
	require.NoError(t, err, progress.String())
	require.Len(t, found.PerSecond, 10)
	found.print(&printed)
	require.Contains(t, printed.String(), "3,000 orders")
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	startServers(t) // or the test is left out
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	s := testSettings()
	s.length, s.callers = time.Hour, []int{4}
	var stdout, stderr bytes.Buffer
	began := time.Now()
	err := benchmark(ctx, s, "bench", &stdout, &stderr)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(began), 30*time.Second)
	require.Empty(t, stdout.String())
}

func TestScope(t *testing.T) {
	var did []string
	cleaned := func(s *scope, name string) { s.Cleanup(func() { did = append(did, name) }) }
	err := withScope(func(s *scope) error {
		cleaned(s, "first")
		s.Cleanup(func() { s.Fatal("in the cleanup") })
		cleaned(s, "second")
		s.Errorf("kept %d", 1)
		require.True(t, s.Failed())
		s.Fatalf("left %d", 2)
		return nil
	})
	require.Equal(t, []string{"second", "first"}, did)
	for _, text := range []string{"in the cleanup", "kept 1", "left 2"} {
		require.ErrorContains(t, err, text)
	}

	require.ErrorContains(t, withScope(func(s *scope) error { s.Skip("no server"); return nil }), "no server")
	did = nil
	require.PanicsWithValue(t, "bug", func() {
		_ = withScope(func(s *scope) error { cleaned(s, "cleanup"); panic("bug") })
	})
	require.Equal(t, []string{"cleanup"}, did)
	wrong := errors.New("wrong")
	require.ErrorIs(t, withScope(func(*scope) error { return wrong }), wrong)
}

func TestSettings(t *testing.T) {
	var stderr bytes.Buffer
	s, err := parseSettings([]string{"-seconds", "2", "-callers", "1000,1,1000", "-json", "f", "-rows", "book,seed-redis"}, &stderr)
	require.NoError(t, err)
	require.Equal(t, []int{1, 1000}, s.callers)
	require.Equal(t, 2*time.Second, s.length)
	require.Equal(t, "f", s.json)
	places, err := s.places()
	require.NoError(t, err)
	require.Len(t, places, 4)
	require.Equal(t, "seed-redis", places[0].row.name, "in the order of the table")

	s, err = parseSettings([]string{"-rows", "bare-insert", "-callers", "2"}, &stderr)
	require.NoError(t, err)
	_, err = s.places()
	require.ErrorIs(t, err, errNothing)

	for _, wrong := range [][]string{
		{"-seconds", "0"},
		{"-seconds", "601"},
		{"-seconds", "NaN"},
		{"-warmup", "-1"},
		{"-repeats", "0"},
		{"-repeats", "101"},
		{"-callers", "0"},
		{"-callers", ""},
		{"-callers", "1,,2"},
		{"-callers", "100001"},
		{"-rate", "0"},
		{"-rows", "books"},
		{"-unknown"},
		{"stray"},
	} {
		stderr.Reset()
		require.Equal(t, 2, program(t.Context(), wrong, &stderr, &stderr), "%v", wrong)
		require.NotEmpty(t, stderr.String(), "%v", wrong)
	}
	require.Zero(t, program(t.Context(), []string{"-help"}, &stderr, &stderr))
}
