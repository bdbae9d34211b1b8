package servertest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// initdbLimit is how long initdb may take. It is some seconds as a rule.
const initdbLimit = 2 * time.Minute

// template is an empty cluster that never runs. All clusters of a test
// process are copies of it, since a copy is much faster than initdb. So they
// all have one password.
type template struct {
	dir      *directory
	programs string // where postgres and initdb are
	account  *account
	password string
}

// templates has the one template of this process, and the number of those who
// need it. The last one to go removes it; Main counts as one.
var templates struct {
	mu      sync.Mutex
	current *template
	users   int
}

func useTemplate() (*template, error) {
	templates.mu.Lock()
	defer templates.mu.Unlock()
	if templates.current == nil {
		made, err := newTemplate()
		if err != nil {
			return nil, err
		}
		templates.current = made
	}
	templates.users++
	return templates.current, nil
}

func (t *template) release() { releaseTemplate() }

// keepTemplate makes sure that the template stays until releaseTemplate, also
// while no cluster is there.
func keepTemplate() {
	templates.mu.Lock()
	defer templates.mu.Unlock()
	templates.users++
}

func releaseTemplate() {
	templates.mu.Lock()
	defer templates.mu.Unlock()
	templates.users--
	if templates.users == 0 && templates.current != nil {
		_ = templates.current.dir.remove()
		templates.current = nil
	}
}

func newTemplate() (*template, error) {
	programs, err := findPostgres()
	if err != nil {
		return nil, err
	}
	account, err := unprivilegedAccount()
	if err != nil {
		return nil, err
	}
	dir, err := newDirectory(quickRoot(), "initdb")
	if err != nil {
		return nil, err
	}
	t := &template{dir: dir, programs: programs, account: account, password: rand.Text()}
	if err := t.initdb(); err != nil {
		return nil, errors.Join(err, dir.remove())
	}
	return t, nil
}

func (t *template) initdb() error {
	// The account may not create it, for the directory around it is ours.
	if err := t.newOwnDirectory(t.dir.data()); err != nil {
		return err
	}
	verifier, err := scramVerifier(t.password)
	if err != nil {
		return err
	}
	secret := t.dir.join("password")
	if err := errors.Join(os.WriteFile(secret, []byte(verifier), 0o600), t.account.give(secret)); err != nil {
		return err
	}
	defer func() { _ = os.Remove(secret) }()
	printed := logFile{path: t.dir.join("initdb.log"), secret: t.password}
	out, err := printed.open()
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()

	cmd := exec.Command(filepath.Join(t.programs, "initdb"),
		"--pgdata="+t.dir.data(),
		"--username="+superuser,
		"--pwfile="+secret,
		"--auth=scram-sha-256",
		"--encoding=UTF8",
		"--locale=C",
		"--no-sync",
	)
	cmd.Dir = t.dir.path
	cmd.Env = serverEnvironment()
	cmd.Stdout = out
	cmd.Stderr = out
	cmd.SysProcAttr = attributes(t.account)
	proc, err := startProcess(cmd)
	if err != nil {
		return fmt.Errorf("cannot start initdb: %w", err)
	}
	select {
	case <-proc.done:
		err = proc.err
	case <-time.After(initdbLimit):
		err = errors.Join(errTooLate, proc.kill())
	}
	if err != nil {
		return fmt.Errorf("initdb failed: %w\nIt printed:\n%s", err, printed.tail())
	}
	return nil
}

func (t *template) newOwnDirectory(path string) error {
	return errors.Join(os.Mkdir(path, 0o700), t.account.give(path))
}

// copyTo replaces a data directory by a copy of the template.
func (t *template) copyTo(target string) error {
	if err := os.RemoveAll(target); err != nil {
		return err
	}
	source := t.dir.data()
	return filepath.WalkDir(source, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(source, path)
		if err != nil {
			return err
		}
		to := filepath.Join(target, name)
		switch {
		case entry.IsDir():
			return t.newOwnDirectory(to)
		case entry.Type().IsRegular():
			return errors.Join(copyFile(path, to), t.account.give(to))
		default:
			return fmt.Errorf("cannot copy %s: not a plain file", name)
		}
	})
}
