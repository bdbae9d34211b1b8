package order

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Claim implements Store.
func (p *Postgres) Claim(ctx context.Context, period time.Duration, limit int) (claimed []int, err error) {
	if err := checkClaim(period, limit); err != nil {
		return nil, err
	}
	err = p.transact(ctx, writing, func(batch *pgx.Batch) {
		// A claim from the future is none: the clock was set back since.
		batch.Queue(`update lastunit.partitions set claimed_at = clock_timestamp()
			where partition in (
				select partition from lastunit.partitions
				where claimed_at <= clock_timestamp() - make_interval(secs => $1) or claimed_at > clock_timestamp()
				order by claimed_at > clock_timestamp() desc, claimed_at, partition limit $2 for update skip locked)
			returning partition`, period.Seconds(), limit).Query(func(rows pgx.Rows) (err error) {
			claimed, err = pgx.CollectRows(rows, pgx.RowTo[int])
			return err
		})
	})
	return claimed, err
}
