package booking_test

import (
	"context"
	"fmt"
	"slices"

	"github.com/lastunit/lastunit/inventory"
)

func ExampleService_Check() {
	shop := embed()
	ctx := context.Background()

	findings, err := shop.Check(ctx)
	fmt.Println(len(findings), err, findings.Err())
	// Output: 0 <nil> <nil>
}

// Who knows better deletes a finding, and heeds the others.
func ExampleService_Check_overrule() {
	findings := inventory.Findings{ // as shop.Check returned them
		{Severity: inventory.Problem, Where: "PostgreSQL", What: "fsync", Found: "off", Means: "a crash may lose orders", Advice: "set it to on"},
		{Severity: inventory.Notice, Where: "Redis", What: "+info", Found: "missing", Means: "it could not be asked", Advice: "look yourself"},
	}
	fmt.Println(findings.Err())
	findings = slices.DeleteFunc(findings, func(f inventory.Finding) bool { return f.What == "fsync" })
	fmt.Println(findings.Err())
	fmt.Println(findings[0])
	// Output:
	// problem: PostgreSQL: fsync is off: a crash may lose orders; set it to on
	// <nil>
	// notice: Redis: +info is missing: it could not be asked; look yourself
}
