package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTranscript(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	run(t.Context(), &out)
	assert.Equal(t, `2 seats are on sale
ann books: confirmed
bob books: confirmed
cid books: sold out
ann clicks again and gets the same order: confirmed
bob cancels: cancelled
cid books again: confirmed
`, out.String())
}

// The whole idea is to fit on a page.
func TestLength(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("main.go")
	require.NoError(t, err)
	assert.LessOrEqual(t, bytes.Count(source, []byte("\n")), 60)
}
