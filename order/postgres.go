package order

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Postgres is the Store in PostgreSQL 15 or newer, in the schema lastunit, which
// Migrate makes. Make one with NewPostgres.
//
// It is correct whatever the pool's settings are: its transactions set READ
// COMMITTED, turn synchronous_commit on where it is off or local, and set how values
// are written as text where pgx sends them so. Check names what only the pool's owner
// can set.
type Postgres struct {
	pool *pgxpool.Pool
	text bool // values travel as text
	self atomic.Pointer[identity]

	limits   atomic.Bool // Look met a customer limit before
	repeats  repeats
	putOff   putOff
	unpurged putOff
}

// identity is the row of lastunit.store.
type identity struct {
	id  string
	key []byte
}

var _ Store = (*Postgres)(nil)

// NewPostgres makes a store over the caller's pool. It sends nothing, and never
// closes the pool. Of a nil pool it makes a nil store, which booking.New refuses.
func NewPostgres(pool *pgxpool.Pool) *Postgres {
	if pool == nil {
		return nil
	}
	return &Postgres{pool: pool, text: sendsText(pool)}
}

// identify returns the store's name and key, which it reads once.
func (p *Postgres) identify(ctx context.Context) (*identity, error) {
	if self := p.self.Load(); self != nil {
		return self, nil
	}
	self, err := p.readIdentity(ctx)
	if err != nil {
		return nil, err
	}
	p.self.Store(self)
	return self, nil
}

// readIdentity reads the store's name and key. It refuses a schema of another format
// than that of this build.
func (p *Postgres) readIdentity(ctx context.Context) (*identity, error) {
	self := &identity{}
	var is int
	err := p.send(ctx, reading, func(batch *pgx.Batch) {
		batch.Queue("select id::text, digest_key, format from lastunit.store").QueryRow(func(row pgx.Row) error {
			return row.Scan(&self.id, &self.key, &is)
		})
	})
	switch {
	case err != nil:
		return nil, err
	case is > format:
		return nil, newer("schema format", is, format)
	case is < format:
		return nil, fmt.Errorf("%w: its format is %d, want %d", ErrNotMigrated, is, format)
	}
	return self, nil
}

// maxTries bounds how often a transaction that Postgres rolled back for the
// sake of another one is tried again.
const maxTries = 10

// maxTaken bounds how often a transaction meets an order ID that is taken. The first
// time it may not have looked the IDs up. From the second one on it has, after the
// order that it met before was committed, and Postgres deletes no order: so it meets
// another one, as a batch of many may do, or one that it can't see.
const maxTaken = 3

// write runs what is queued in one transaction and one round trip. It tries
// again when Postgres rolled it back for the sake of another one, and when the
// database turns out to be another one than before. An order ID that stays taken,
// although no order is to be seen under it, is a *rejectedError.
func (p *Postgres) write(ctx context.Context, queue func(self *identity, batch *pgx.Batch)) error {
	taken := 0
	for try := 1; ; try++ {
		self, err := p.identify(ctx)
		if err != nil {
			return err
		}
		err = p.transact(ctx, writing, func(batch *pgx.Batch) { queue(self, batch) })
		switch {
		case isTaken(err):
			if taken++; taken == maxTaken {
				return &rejectedError{pgErrorOf(err)}
			}
		case rolledBackForAnother(err):
		case sqlState(err) == "LU001": // raised by lastunit.enter
			p.self.CompareAndSwap(self, nil)
		default:
			return err
		}
		if try == maxTries {
			return err
		}
	}
}

// rolledBackForAnother says whether another transaction is why Postgres rolled
// this one back: a serialization failure, a deadlock, or an order ID that was
// taken after this one looked it up.
func rolledBackForAnother(err error) bool {
	switch sqlState(err) {
	case "40001", "40P01":
		return true
	}
	return isTaken(err)
}

// isTaken says whether the primary key refuses an order, as there is one with its ID.
func isTaken(err error) bool {
	answer := pgErrorOf(err)
	return answer != nil && answer.Code == "23505" && answer.SchemaName == "lastunit" && answer.ConstraintName == "orders_pkey"
}

// read runs what is queued in one transaction that changes nothing, so that its
// failure is never in doubt.
func (p *Postgres) read(ctx context.Context, queue func(*pgx.Batch)) error {
	return p.transact(ctx, reading, queue)
}

// mode is what a transaction may do.
type mode struct {
	begin string
	lost  error // what it means that Postgres did not answer
}

var (
	writing = mode{"begin isolation level read committed read write", ErrOutcomeUnknown}
	reading = mode{"begin isolation level read committed read only", ErrUnavailable}
)

// transact runs what is queued in one transaction, on a schema of this build's format.
// Its errors say whether something may have been changed.
func (p *Postgres) transact(ctx context.Context, mode mode, queue func(*pgx.Batch)) error {
	if _, err := p.identify(ctx); err != nil {
		return err
	}
	err := p.send(ctx, mode, queue)
	if errors.Is(err, ErrNotMigrated) {
		// The format may have changed under this process. Nothing was done.
		if _, changed := p.readIdentity(ctx); errors.Is(changed, ErrNewerSchema) {
			p.self.Store(nil)
			return changed
		}
	}
	return err
}

// send sends begin, what is queued and commit at once, whatever the schema is. Its
// errors are those of transact.
func (p *Postgres) send(ctx context.Context, mode mode, queue func(*pgx.Batch)) error {
	conn, err := p.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer conn.Release()

	batch := &pgx.Batch{}
	batch.Queue(mode.begin)
	queueSettings(batch, conn.Conn(), p.text)
	queue(batch)
	batch.Queue("commit")
	if err = conn.SendBatch(ctx, batch).Close(); err == nil {
		return nil
	}
	if conn.Conn().PgConn().TxStatus() != 'I' && !conn.Conn().IsClosed() {
		// Without this the pool would close the connection.
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		conn.Exec(cleanup, "rollback") //nolint:errcheck // then the pool closes it
	}
	return classify(err, mode.lost)
}

// inDoubt turns the error of one step into that of a call of which an earlier
// step may have changed something.
func inDoubt(cause error) error { return &doubtError{cause} }

// doubtError is ErrOutcomeUnknown. Its cause can be looked at, but it is not
// ErrUnavailable any more, which says that nothing was changed.
type doubtError struct{ cause error }

func (e *doubtError) Error() string {
	return fmt.Sprintf("%v: %v", ErrOutcomeUnknown, e.cause)
}

func (e *doubtError) Is(target error) bool {
	return target == ErrOutcomeUnknown ||
		target != ErrUnavailable && target != ErrNotMigrated && target != ErrNewerSchema && errors.Is(e.cause, target)
}

func (e *doubtError) As(target any) bool { return errors.As(e.cause, target) }
