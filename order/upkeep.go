package order

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Upkeep is when the background work of all processes together was done last.
type Upkeep struct {
	At        time.Time // of the answer, by the Store's clock
	ClaimedAt time.Time // when a partition was claimed last; zero if none ever was
	DueAt     time.Time // since when the hold is due that is due the longest; zero if none is
}

// Upkeep implements Store.
func (p *Postgres) Upkeep(ctx context.Context) (u Upkeep, _ error) {
	var claimedAt, dueAt *time.Time
	err := p.read(ctx, func(batch *pgx.Batch) {
		queueNoScan(batch)
		batch.Queue(`select t.at, (select nullif(max(claimed_at), '-infinity') from lastunit.partitions),
				(select due_at from lastunit.orders where status = 'held' and due_at <= t.at order by due_at limit 1)
			from (select clock_timestamp() as at) t`).QueryRow(func(row pgx.Row) error {
			return row.Scan(&u.At, &claimedAt, &dueAt)
		})
	})
	if err != nil {
		return Upkeep{}, err
	}
	u.At = u.At.UTC()
	if claimedAt != nil {
		u.ClaimedAt = claimedAt.UTC()
	}
	if dueAt != nil {
		u.DueAt = dueAt.UTC()
	}
	return u, nil
}

// Upkeep implements Store.
func (m *Memory) Upkeep(ctx context.Context) (Upkeep, error) {
	if err := m.enter(ctx); err != nil {
		return Upkeep{}, err
	}
	defer m.mu.Unlock()
	u := Upkeep{At: microsecond(time.Now())}
	for _, at := range m.claimed {
		if at.After(u.ClaimedAt) {
			u.ClaimedAt = at
		}
	}
	u.ClaimedAt = microsecond(u.ClaimedAt)
	for _, at := range m.due {
		if !at.After(u.At) && (u.DueAt.IsZero() || at.Before(u.DueAt)) {
			u.DueAt = at
		}
	}
	return u, nil
}
