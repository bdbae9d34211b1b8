package order

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Claim implements Store. A slice that is not the partition's last one ends where the
// next one begins.
func (p *Postgres) Claim(ctx context.Context, period time.Duration, limit, slice int) (claimed []Claimed, err error) {
	if err := checkClaim(period, limit, slice); err != nil {
		return nil, err
	}
	err = p.transact(ctx, writing, func(batch *pgx.Batch) {
		queueNoScan(batch)
		// A claim from the future is none: the clock was set back since.
		batch.Queue(`with due as materialized (
				select partition, position from lastunit.partitions
				where claimed_at <= clock_timestamp() - make_interval(secs => $1) or claimed_at > clock_timestamp()
				order by claimed_at > clock_timestamp() desc, claimed_at, partition limit $2 for update skip locked
			), slices as materialized (
				select d.partition, d.position, (
					select case when count(*) > $3 then (array_agg(s.sku order by s.sku))[$3] else '' end
					from (
						select s.sku from lastunit.skus s
						where s.partition = d.partition and s.sku > d.position and not s.removed order by s.sku limit $3 + 1
					) s
				) as next
				from due d
			)
			update lastunit.partitions p set claimed_at = clock_timestamp(), position = s.next
			from slices s where p.partition = s.partition
			returning s.partition, s.position`, period.Seconds(), limit, slice).Query(func(rows pgx.Rows) (err error) {
			claimed, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Claimed])
			return err
		})
	})
	return claimed, err
}
