package booking

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lastunit/lastunit/order"
)

// While Postgres does not answer, nobody takes units or waits for it: Book and Hold
// refuse at once. Accept goes on as long as there is room in the backlog.

// heard takes note of how a batch of commits went, which entered the circuit. An error
// with an SQLSTATE is an answer too: a lock that somebody keeps, say, must not keep
// others from their SKUs.
func (s *Service) heard(err error) {
	var answer interface{ SQLState() string }
	answered := err == nil || errors.As(err, &answer)
	s.postgres.leave(answered)
	if answered {
		s.postgres.works()
	} else if now := time.Now(); s.postgres.fails(now, now, err) {
		s.log.Warn(postgresSilent, "error", err)
	}
}

const postgresSilent = "lastunit: Postgres does not answer: callers are refused until it does"

// withoutPostgres is the error if Postgres has not answered for a while.
func (s *Service) withoutPostgres() error {
	now := time.Now()
	if s.postgres.hangs(now, errHangs) {
		s.log.Warn(postgresSilent, "error", errHangs)
	}
	if because := s.tryPostgres(now); because != nil {
		return fmt.Errorf("%w: it has not answered for a while: %w", order.ErrUnavailable, because)
	}
	return nil
}

// tryPostgres says why Postgres is not to be asked, nil if it is, and tries it where
// it is time to.
func (s *Service) tryPostgres(now time.Time) (because error) {
	try, because := s.postgres.check(now)
	if try {
		s.tryAgain(&s.postgres, func(ctx context.Context) error {
			_, err := s.config.Orders.Counters(ctx, "lastunit") // whether or not it is a SKU
			return err
		}, func(after time.Duration) { s.log.Info("lastunit: Postgres answers again", "after", after) })
	}
	return because
}
