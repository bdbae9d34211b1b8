package servertest

import (
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// echo is what the children of this package's tests do.
func echo(greeting string) {
	fmt.Println(greeting)
	_, _ = io.Copy(os.Stdout, os.Stdin)
}

func TestChild(t *testing.T) {
	t.Parallel()
	c := StartChild(t, "echo", "hello")
	require.Equal(t, "hello", <-c.Lines)
	c.Pause()
	processes, err := readTable()
	require.NoError(t, err)
	require.True(t, processes.byPID[c.pid()].frozen())
	c.Resume()
	_, err = io.WriteString(c.Stdin, "again\n")
	require.NoError(t, err)
	require.NoError(t, c.Stdin.Close())
	require.NoError(t, c.Wait(signalLimit))
	require.Equal(t, "again", <-c.Lines, "it is there yet")
	require.Error(t, c.Terminate(), "it has ended")
	c = StartChild(t, "echo", "")
	require.NoError(t, c.Terminate())
	require.ErrorContains(t, c.Wait(signalLimit), "terminated")
}
