package servertest

// running is a row of the system's process table.
type running struct {
	pid, parent int
	state       byte
}

// frozen is true if the process does not run and starts no other.
func (r running) frozen() bool { return r.state == 'T' || r.state == 't' || r.dead() }

// dead is true for a process that has ended but was not yet waited for.
func (r running) dead() bool { return r.state == 'Z' || r.state == 'X' }

// table has the process table by pid, and the children of every process.
type table struct {
	byPID    map[int]running
	children map[int][]running
}

func readTable() (*table, error) {
	all, err := listProcesses()
	if err != nil {
		return nil, err
	}
	t := &table{byPID: map[int]running{}, children: map[int][]running{}}
	for _, r := range all {
		t.byPID[r.pid] = r
		t.children[r.parent] = append(t.children[r.parent], r)
	}
	return t, nil
}

// alive reports whether a process with this pid still runs, frozen or not.
func (t *table) alive(pid int) bool {
	r, ok := t.byPID[pid]
	return ok && !r.dead()
}
