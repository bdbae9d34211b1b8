package servertest

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// signalLimit is how long processes may take to obey a signal.
const signalLimit = 5 * time.Minute

// process is a process of ours, such as a server, with the children it starts.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	err  error         // how it ended; set before done is closed
}

// startProcess starts cmd, which must have its SysProcAttr set.
func startProcess(cmd *exec.Cmd) (*process, error) {
	dieWithParent(cmd.SysProcAttr)
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go p.live(started)
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// live starts the process and waits for its end. It does both on one thread
// that nothing else uses: the kernel takes the end of the thread that started
// a process for the death of the parent.
func (p *process) live(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.done)
	if err := p.cmd.Start(); err != nil {
		started <- err
		return
	}
	var g *guard
	if !diesWithParent {
		// Without a guard the server still works, it only may outlive us.
		g, _ = startGuard([]int{p.pid()})
	}
	started <- nil
	p.err = p.cmd.Wait()
	g.release()
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// freeze pauses the process and all its descendants and returns their pids,
// a parent always before its children.
//
// A process group would not do: every postgres backend leads its own. Children
// are signalled only when their parent stands still, since until then it could
// start one more, or wait for one whose pid would then be free for a stranger.
func (p *process) freeze() ([]int, error) {
	if err := p.cmd.Process.Signal(signalPause); err != nil {
		return nil, err
	}
	var pids []int
	err := poll(signalLimit, func() (bool, error) {
		if p.ended() {
			return false, errors.New("the process has ended")
		}
		processes, err := readTable()
		if err != nil {
			return false, err
		}
		pids = pids[:0]
		still := true
		queue := []running{processes.byPID[p.pid()]}
		for len(queue) > 0 {
			r := queue[0]
			queue = queue[1:]
			switch {
			case r.pid == 0 || r.dead():
				continue
			case !r.frozen():
				still = false
				if r.pid != p.pid() { // that one has its signal
					_ = sendSignal(r.pid, signalPause)
				}
			default:
				pids = append(pids, r.pid)
				queue = append(queue, processes.children[r.pid]...)
			}
		}
		return still, nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot pause process %d: %w", p.pid(), err)
	}
	return pids, nil
}

// thaw lets frozen processes go on. The parents come last: until then they
// cannot wait for a child, so every pid still means the same process.
func thaw(pids []int) {
	for i := len(pids) - 1; i >= 0; i-- {
		_ = sendSignal(pids[i], signalResume)
	}
}

// kill ends the process and all its descendants as if by one blow, and
// returns when they are gone.
func (p *process) kill() error {
	if p.ended() {
		return nil
	}
	pids, freezeErr := p.freeze()
	for i := len(pids) - 1; i > 0; i-- {
		_ = sendSignal(pids[i], syscall.SIGKILL)
	}
	_ = p.cmd.Process.Kill() // fails only if it has ended
	err := poll(signalLimit, func() (bool, error) {
		if !p.ended() {
			return false, nil
		}
		processes, err := readTable()
		if err != nil {
			return false, err
		}
		for _, pid := range pids {
			if processes.alive(pid) {
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("cannot kill process %d: %w", p.pid(), errors.Join(freezeErr, err))
	}
	return nil
}

// stop asks the process to end by itself, and kills it if it does not.
func (p *process) stop(s syscall.Signal) error {
	if s == syscall.SIGKILL {
		return p.kill() // with its children, who get no chance to be told
	}
	if err := p.cmd.Process.Signal(s); err != nil {
		return p.kill()
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(signalLimit):
		return errors.Join(
			fmt.Errorf("process %d did not stop on signal %d, and was killed", p.pid(), s),
			p.kill())
	}
}
