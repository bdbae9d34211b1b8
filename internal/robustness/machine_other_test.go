//go:build !unix

package robustness

import (
	"errors"
	"os"
	"time"
)

// Nothing of this is reached: package servertest has no servers here, and skips.

var begin = time.Now()

func now() int64 { return int64(time.Since(begin)) }

func freeze(*os.Process) error { return errors.ErrUnsupported }
