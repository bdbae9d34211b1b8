package servertest

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func segmentExists(t *testing.T, id int) bool {
	t.Helper()
	all, err := os.ReadFile("/proc/sysvipc/shm")
	require.NoError(t, err)
	for line := range strings.Lines(string(all)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[1] == strconv.Itoa(id) {
			return true
		}
	}
	return false
}

// TestHelper starts servers, prints what there is to clean up, and waits for
// the end.
func TestHelper(t *testing.T) {
	mode := os.Getenv(helperVariable)
	if mode == "" {
		return
	}
	r, p, c := StartRedis(t), StartPostgres(t), StartChild(t, "echo", "")
	connect(t, p.URL())
	pids := append(childrenOf(t, p.s.proc.pid()), p.s.proc.pid(), r.s.proc.pid(), c.pid())
	if mode == "paused" {
		r.Pause()
		p.Pause()
		c.Pause()
		pids = append(pids, r.s.guard.cmd.Process.Pid, p.s.guard.cmd.Process.Pid)
	}
	text, err := os.ReadFile(p.Dir() + "/postmaster.pid")
	require.NoError(t, err)
	segment, ok := segmentID(string(text))
	require.True(t, ok && segmentExists(t, segment))
	for _, pid := range pids {
		fmt.Println("pid", pid)
	}
	for _, dir := range []*directory{r.s.dir, p.s.dir, p.cluster.template.dir} {
		fmt.Println("dir", dir.path)
	}
	fmt.Println("segment", segment)
	fmt.Println("ready 0")
	select {}
}

// When the test process is killed its servers must die, and the next process
// clears away what they had.
func TestServersDieWithTestProcess(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	for _, mode := range []string{"running", "paused"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			self, err := os.Executable()
			require.NoError(t, err)
			cmd := exec.Command(self, "-test.run=^TestHelper$")
			cmd.Env = append(os.Environ(), helperVariable+"="+mode)
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			found := map[string][]string{}
			for lines := bufio.NewScanner(out); found["ready"] == nil && lines.Scan(); {
				kind, value, _ := strings.Cut(lines.Text(), " ")
				found[kind] = append(found[kind], value)
			}
			require.NoError(t, cmd.Process.Kill())
			_ = cmd.Wait()
			require.NotNil(t, found["ready"])
			require.Greater(t, len(found["pid"]), 7)
			require.Len(t, found["dir"], 3)

			for _, text := range found["pid"] {
				pid, err := strconv.Atoi(text)
				require.NoError(t, err)
				eventually(t, "process "+text+" is gone", func() bool {
					processes, err := readTable()
					return err == nil && !processes.alive(pid)
				})
			}
			segment, err := strconv.Atoi(found["segment"][0])
			require.NoError(t, err)
			// Another test process may be at it right now.
			for _, dir := range found["dir"] {
				eventually(t, dir+" is gone", func() bool {
					sweepAll()
					_, err := os.Stat(dir)
					return errors.Is(err, fs.ErrNotExist)
				})
			}
			require.False(t, segmentExists(t, segment))
		})
	}
}

// While one of its processes is still about to die, a killed cluster's directory stays:
// nothing else knows the segment.
func TestSweepKeepsWhatNamesASegmentInUse(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	dir, err := os.MkdirTemp(root, directoryPrefix)
	require.NoError(t, err)
	d := &directory{path: dir}
	require.NoError(t, d.prepare())
	require.NoError(t, os.Mkdir(d.data(), 0o700))
	segment, err := unix.SysvShmGet(unix.IPC_PRIVATE, 1, unix.IPC_CREAT|0o600)
	require.NoError(t, err)
	t.Cleanup(func() { _, _ = unix.SysvShmCtl(segment, unix.IPC_RMID, nil) }) // also if the test fails
	attached, err := unix.SysvShmAttach(segment, 0, 0)
	require.NoError(t, err)
	text := fmt.Sprintf("1\n%s\n0\n5432\n\n127.0.0.1\n0 %d\nready\n", d.data(), segment)
	require.NoError(t, os.WriteFile(filepath.Join(d.data(), "postmaster.pid"), []byte(text), 0o600))
	require.NoError(t, d.lock.Close()) // its test process is dead

	sweep(root)
	require.DirExists(t, dir)
	require.True(t, segmentExists(t, segment))
	require.NoError(t, unix.SysvShmDetach(attached))
	sweep(root)
	require.NoDirExists(t, dir)
	require.False(t, segmentExists(t, segment))
}

func TestPostgresLeavesNothing(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	for name, last := range map[string]func(*Postgres){
		"running": func(*Postgres) {},
		"killed":  (*Postgres).Kill,
		"paused":  (*Postgres).Pause,
		"stopped": (*Postgres).Stop,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var pids []int
			var dir string
			var segment int
			t.Run("server", func(t *testing.T) {
				p := StartPostgres(t)
				p.Database(t)
				dir = p.s.dir.path
				pids = append(childrenOf(t, p.s.proc.pid()), p.s.proc.pid())
				text, err := os.ReadFile(p.Dir() + "/postmaster.pid")
				require.NoError(t, err)
				var ok bool
				segment, ok = segmentID(string(text))
				require.True(t, ok)
				require.True(t, segmentExists(t, segment))
				last(p)
			})
			require.NoDirExists(t, dir)
			requireDead(t, pids)
			require.False(t, segmentExists(t, segment))
		})
	}
}

func TestPasswordIsNotInArguments(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	for _, s := range []*controls{&SharedRedis(t).controls, &SharedPostgres(t).controls} {
		arguments, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(s.s.proc.pid()), "cmdline"))
		require.NoError(t, err)
		require.NotEmpty(t, arguments)
		require.NotContains(t, string(arguments), s.Password())
	}
}
