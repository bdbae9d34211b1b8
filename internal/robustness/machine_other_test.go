//go:build !unix

package robustness

import "time"

// Nothing of this is reached: package servertest has no servers here, and skips.

var begin = time.Now()

func now() int64 { return int64(time.Since(begin)) }
