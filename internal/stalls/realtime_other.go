//go:build !linux

package main

import "errors"

// takeRealTime is there on Linux only.
func takeRealTime() error { return errors.New("no real-time priority") }
