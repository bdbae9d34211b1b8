package main

import (
	"encoding/json"
	"os"
	"time"
)

// outcome is the result of a run, as it stands in the JSON.
type outcome struct {
	Date        time.Time  `json:"date"`
	Command     string     `json:"command"`
	Machine     machine    `json:"machine"`
	Seconds     float64    `json:"seconds"`
	Warmup      float64    `json:"warmup_seconds"`
	RepeatCount int        `json:"repeats"`
	Rate        float64    `json:"open_loop_arrivals_per_second"`
	Rows        []measured `json:"rows"`
	Figures     []figure   `json:"figures"`
	Growth      *growth    `json:"growth,omitempty"`
}

func (r *outcome) writeJSON(file string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}
