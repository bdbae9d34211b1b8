package booking

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lastunit/lastunit/order"
)

// While Postgres does not answer, nobody takes units or waits for it: Book and Hold
// refuse at once. Accept goes on as long as there is room in the backlog.

// heard takes note of how a batch of commits went, which entered the circuit.
func (s *Service) heard(err error) {
	answered := err == nil || isAnswer(err)
	s.postgres.leave(answered)
	if answered {
		s.postgres.works()
	} else if now := time.Now(); s.postgres.fails("", now, now, err) { // one lost connection does not open it, however late that is seen
		s.cutsPostgres(err)
	}
}

// isAnswer says whether an error is the word of a Postgres that serves: a lock that
// somebody keeps, say, must not keep others from their SKUs. One that turns connections
// away, as while it starts up, does not serve.
func isAnswer(err error) bool {
	var connecting *pgconn.ConnectError
	var answer *pgconn.PgError
	return errors.As(err, &answer) && !errors.As(err, &connecting) &&
		answer.SeverityUnlocalized == "ERROR" && !strings.HasPrefix(answer.Code, "08")
}

func (s *Service) cutsPostgres(because error) {
	s.log.Warn("lastunit: Postgres does not answer: callers are refused until it does", "error", because)
}

// withoutPostgres is the error if Postgres has not answered for a while.
func (s *Service) withoutPostgres() error {
	if because := s.tryPostgres(time.Now()); because != nil {
		return fmt.Errorf("%w: it has not answered for a while: %w", order.ErrUnavailable, because)
	}
	return nil
}

// tryPostgres says why Postgres is not to be asked, nil if it is, and tries it where
// it is time to.
func (s *Service) tryPostgres(now time.Time) (because error) {
	ask := func(ctx context.Context) error {
		_, err := s.config.Orders.Counters(ctx, "lastunit") // whether or not it is a SKU
		return err
	}
	s.suspect(&s.postgres, now, ask, func() { s.cutsPostgres(errHangs) })
	try, because := s.postgres.check(now)
	if try {
		s.tryAgain(&s.postgres, ask, func(after time.Duration) { s.log.Info("lastunit: Postgres answers again", "after", after) })
	}
	return because
}
