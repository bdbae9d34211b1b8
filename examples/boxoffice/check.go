package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/lastunit/lastunit/booking"
)

// check logs what is wrong with the servers. Problems keep it closed, as they should
// any service: better now than in the middle of the sale. Whoever knows that they
// don't matter here, as on a server for tests that runs without fsync, opens it anyway.
func check(ctx context.Context, shop *booking.Service, anyway bool, log *slog.Logger) error {
	findings, err := shop.Check(ctx)
	for _, finding := range findings {
		log.WarnContext(ctx, finding.String())
	}
	if err != nil {
		return err
	}
	if err := findings.Err(); err != nil && !anyway {
		return fmt.Errorf("it stays closed (-anyway opens it all the same):\n%w", err)
	}
	return nil
}
