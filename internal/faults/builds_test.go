package faults_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// Row 40: in the middle of a rush a newer build of the same format migrates the database,
// and one of another format loads the counters. Afterwards the schema gets another
// format, and a function another body.
func otherBuilds(t *testing.T, m *measured) {
	s := begin(t, setup{})
	before := s.counters()
	sql := func(text string) {
		t.Helper()
		_, err := s.pool.Exec(t.Context(), text)
		require.NoError(t, err)
	}
	s.rush(m, func() {
		sql("insert into lastunit.migrations (version, hash) values (1000, 'newer')")
		require.NoError(t, s.client.HSet(t.Context(), s.stockKey(floor), "format", "2").Err())
		eventually(t, func() error {
			if is := s.counters(); is.Epoch == before.Epoch {
				return errors.New("the counters of another build are not rebuilt")
			}
			return nil
		})
	})
	require.ErrorIs(t, order.Migrate(t.Context(), s.pool), order.ErrNewerSchema)
	s.finds(order.ErrNewerSchema, "schema version")

	sql("update lastunit.store set format = format + 1; alter function lastunit.commit_orders rename to commit_orders_of_it")
	_, err := s.shops[0].Book(t.Context(), request(probe, late))
	assert.ErrorIs(t, err, order.ErrNewerSchema, "a process that runs")
	_, err = order.NewPostgres(s.pool).Counters(t.Context(), floor)
	assert.ErrorIs(t, err, order.ErrNewerSchema, "one that starts")

	sql(`alter function lastunit.commit_orders_of_it rename to commit_orders; update lastunit.store set format = format - 1;
		delete from lastunit.migrations where version = 1000;
		create or replace function lastunit.next_epoch(p_epoch bigint) returns bigint language sql as 'select p_epoch + 1'`)
	require.ErrorIs(t, order.Migrate(t.Context(), s.pool), order.ErrOtherBuild)
	s.finds(order.ErrOtherBuild, "FUNCTION lastunit.next_epoch")
}

// finds requires that the check at the start names something, with the error that it is.
func (s *sale) finds(is error, what string) {
	s.t.Helper()
	up, err := s.orders.Check(s.t.Context())
	require.NoError(s.t, err)
	for _, finding := range up.Findings {
		if finding.What == what && finding.Severity == inventory.Problem && errors.Is(finding.Err, is) {
			return
		}
	}
	assert.Fail(s.t, "Check does not name it", "%s: %v", what, fmt.Sprint(up.Findings))
}
