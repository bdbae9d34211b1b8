package faults_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/internal/servertest"
)

// Row 23: there is no room on the disk for further orders. Where this process may mount
// a file system, the tables are moved to a small one, which is filled up. Elsewhere a
// trigger stands in for it, which writes to a device that has none: that is Postgres's own error.
func diskFull(t *testing.T, m *measured) {
	disk := smallDisk(t)
	// More orders than fit into the pages that are there.
	s := begin(t, setup{postgres: servertest.StartPostgres(t), capacity: 1000})
	fill, free := s.fullDisk(disk)
	s.rush(m, func() {
		fill()
		s.noticed()
		lasts(either(5*time.Second, 0))
		free()
	})
	if disk != "" {
		_, err := os.Stat(filepath.Join(disk, "filler"))
		assert.ErrorIs(t, err, os.ErrNotExist, "there was no room, and there is now")
	}
}

// smallDisk mounts a small file system in memory until the test ends, and returns its
// directory; none where nobody lets us.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lastunit-disk-")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.Remove(dir)) })
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=16m,mode=0755", "lastunit", dir).CombinedOutput(); err != nil {
		t.Logf("a trigger stands in for a full disk: mount: %v: %s", err, out)
		return ""
	}
	t.Cleanup(func() {
		out, err := exec.Command("umount", dir).CombinedOutput()
		assert.NoError(t, err, "%s", out)
	})
	return dir
}

// fullDisk returns what takes all room for orders, and what gives it back.
func (s *sale) fullDisk(disk string) (fill, free func()) {
	s.t.Helper()
	execute := func(format string, arguments ...any) {
		s.t.Helper()
		_, err := s.pool.Exec(s.t.Context(), fmt.Sprintf(format, arguments...))
		require.NoError(s.t, err)
	}
	if disk == "" {
		return func() {
				execute(`create function public.full() returns trigger language plpgsql security definer as $$ begin
						copy (select 1) to '/dev/full';
					end $$;
					create trigger disk_full before insert on lastunit.orders for each statement execute function public.full()`)
			}, func() {
				execute("drop trigger disk_full on lastunit.orders")
			}
	}
	space := filepath.Join(disk, "orders")
	require.NoError(s.t, os.Mkdir(space, 0o700))
	out, err := exec.Command("chown", "--reference="+s.postgres.Dir(), space).CombinedOutput()
	require.NoError(s.t, err, "%s", out)
	execute("create tablespace small location '%s'", space)
	execute("alter table lastunit.orders set tablespace small")
	execute("alter index lastunit.orders_pkey set tablespace small")
	filler := filepath.Join(disk, "filler")
	return func() {
			// dd ends when the disk is full.
			out, err := exec.Command("dd", "if=/dev/zero", "of="+filler, "bs=4096").CombinedOutput()
			require.ErrorContains(s.t, err, "exit status 1", "%s", out)
		}, func() {
			require.NoError(s.t, os.Remove(filler))
		}
}
