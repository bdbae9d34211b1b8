package inventory

import (
	"context"
	"errors"
	"strings"
	"time"
)

// Checker is an InventoryRepository, or an order.Store, that can say what is wrong
// with its servers before the sale begins. [Redis] and order.Postgres are.
// booking.Service.Check asks both and is what programs call.
type Checker interface {
	// Check looks and changes nothing. What it may not ask is a Notice, not an
	// error. It fails with ErrUnavailable, or order.ErrUnavailable, if no server
	// answers; what it had found until then comes beside the error.
	Check(ctx context.Context) (Checkup, error)
}

// Checkup is what a Checker found.
type Checkup struct {
	Findings Findings
	Clocks   []Clock // one for each server that told its time
}

// Severity says how bad a Finding is.
type Severity string

// The severities.
const (
	Problem Severity = "problem" // it breaks a promise, or stops the sale
	Notice  Severity = "notice"  // it is worth knowing
)

// Finding is something about a server, a right or a setting that matters to the sale.
// Nothing in it is secret.
type Finding struct {
	Severity Severity `json:"severity"`
	Where    string   `json:"where"`           // "Redis", with the address of a cluster's node; "PostgreSQL"; "go-redis", "pgx" for settings of the client
	What     string   `json:"what"`            // the setting, the right or the thing as it is spelled there: "maxmemory-policy", "+hset", "UPDATE ON lastunit.skus", "SCHEMA lastunit"
	Found    string   `json:"found,omitempty"` // its value: "allkeys-lru", "missing"
	Means    string   `json:"means"`           // what comes of it
	Advice   string   `json:"advice"`          // what to do
	Err      error    `json:"-"`               // the error that calls will meet, for errors.Is, such as order.ErrNotMigrated; may be nil
}

// String is all of it in one line, which begins with the severity: "problem: …". White
// space in an error of several lines, as pgx has, becomes a single space.
func (f Finding) String() string {
	text := string(f.Severity) + ": " + f.Where + ": " + f.What
	if f.Found != "" {
		text += " is " + f.Found
	}
	return strings.Join(strings.Fields(text+": "+f.Means+"; "+f.Advice), " ")
}

// Findings are what a check found, in no order that matters. To overrule one, delete
// it by its What before you ask for Err.
type Findings []Finding

// Err is nil unless there is a Problem. Else its text has a line for each of them, and
// it is the Err of each, for errors.Is.
func (f Findings) Err() error {
	var problems []error
	for _, finding := range f {
		if finding.Severity == Problem {
			problems = append(problems, &problem{finding})
		}
	}
	return errors.Join(problems...)
}

// problem is a Finding as an error.
type problem struct{ finding Finding }

func (p *problem) Error() string { return p.finding.String() }
func (p *problem) Unwrap() error { return p.finding.Err }

// Clock is how a server's clock compares with this process's.
type Clock struct {
	Where string        // as in a Finding
	Ahead time.Duration // of this process's; negative if it is behind
	// Within bounds the error of Ahead, either way: it is half of the round trip, as
	// the server may have read its clock at any moment of that.
	Within time.Duration
}

// clockAsks is how often a clock is asked; the shortest round trip counts.
const clockAsks = 5

// MeasureClock asks a server several times what time it is, and goes by the answer
// that came soonest. It returns the error of the first ask that fails.
func MeasureClock(where string, ask func() (time.Time, error)) (Clock, error) {
	best := Clock{Where: where}
	for i := range clockAsks {
		sent := time.Now()
		at, err := ask()
		if err != nil {
			return Clock{}, err
		}
		half := time.Since(sent) / 2
		if i == 0 || half < best.Within {
			best.Ahead, best.Within = at.Sub(sent.Add(half)), half
		}
	}
	return best, nil
}

// Apart is by how much two clocks differ at least, whatever the round trips hid:
// 0 if they may be the same, and never negative.
func (c Clock) Apart(other Clock) time.Duration {
	return max(0, (c.Ahead-other.Ahead).Abs()-c.Within-other.Within)
}
