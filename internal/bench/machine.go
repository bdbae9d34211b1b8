package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
)

// machine is what a run was made on.
type machine struct {
	CPU      string `json:"cpu"`
	Cores    int    `json:"cores"`
	Memory   string `json:"memory"`
	System   string `json:"system"`
	Go       string `json:"go"`
	Redis    string `json:"redis"`
	Postgres string `json:"postgres"`
}

func machineOf(ctx context.Context, on *servers) (machine, error) {
	m := machine{
		CPU: "unknown CPU", Cores: runtime.NumCPU(), Memory: "an unknown size",
		System: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(),
	}
	if model := field("/proc/cpuinfo", "model name"); model != "" {
		m.CPU = model
	}
	var kilobytes float64
	if _, err := fmt.Sscan(field("/proc/meminfo", "MemTotal"), &kilobytes); err == nil {
		m.Memory = fmt.Sprintf("%.0f GiB", kilobytes/(1<<20))
	}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.System += " " + strings.TrimSpace(string(release))
	}
	var err error
	m.Redis, m.Postgres, err = on.versions(ctx)
	return m, err
}

// field is a value in a file with lines like "name : value"; "" if it is not there,
// as on other systems than Linux.
func field(file, name string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
