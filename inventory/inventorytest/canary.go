package inventorytest

import (
	"context"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/lastunit/lastunit/inventory"
)

// look looks at every canary, at least one, each of another name.
func (s *shelf) look(store string, watcher int) []inventory.Canary {
	s.t.Helper()
	canaries, err := s.repo.Canaries(s.ctx, store, watcher)
	require.NoError(s.t, err)
	require.NotEmpty(s.t, canaries)
	names := make(map[string]bool)
	for i, c := range canaries {
		require.NoError(s.t, c.Err)
		require.False(s.t, names[c.Name], "two canaries have the name %q", c.Name)
		names[c.Name] = true
		canaries[i].Err = nil
	}
	return canaries
}

// plant plants all canaries for the shelf's store, and looks at them.
func (s *shelf) plant(watcher int) []inventory.Canary {
	s.t.Helper()
	seen := s.look("", 0)
	for _, c := range seen {
		c.Whole = false
		require.NoError(s.t, s.repo.Plant(s.ctx, s.store, c))
	}
	planted := s.look(s.store, watcher)
	require.Len(s.t, planted, len(seen))
	for i, c := range planted {
		assert.Greater(s.t, c.Epoch, seen[i].Epoch)
		assert.Equal(s.t, inventory.Canary{
			Name: seen[i].Name, Server: seen[i].Server, Store: s.store, Format: inventory.Format, Epoch: c.Epoch, Beats: 1,
		}, c)
	}
	return planted
}

// The canaries are the repository's, whatever the SKUs: each case plants its own.
var canaryCases = []testCase{
	{"is planted in the place of any other", func(s *shelf) {
		first := s.plant(0)
		second := s.plant(1)
		assert.True(s.t, first[0].Behind(second[0]))
		foreign := s.another()
		foreign.store += "-2"
		foreign.plant(2)
	}},
	{"counts the looks of each watcher of its store", func(s *shelf) {
		planted := s.plant(7)
		again := s.look(s.store, 7)
		for i, c := range again {
			assert.EqualValues(s.t, 2, c.Beats)
			assert.EqualValues(s.t, 1, c.Found)
			assert.False(s.t, c.Behind(planted[i]))
			assert.True(s.t, planted[i].Behind(c))
			assert.True(s.t, c.Behind(c), "the server that it is of went back by this one look")
		}
		assert.EqualValues(s.t, 1, s.look(s.store, inventory.Watchers-1)[0].Beats)
		uncounted := s.look("", 7)[0]
		assert.EqualValues(s.t, 2, uncounted.Beats, "it does not count")
		assert.False(s.t, uncounted.Behind(again[0]))
		assert.EqualValues(s.t, 2, s.look(s.store+"-2", 7)[0].Beats, "nor does that of another store")
		assert.EqualValues(s.t, 3, s.look(s.store, 7)[0].Beats)
	}},
	{"is marked whole, once and by its own store", func(s *shelf) {
		planted := s.plant(0)
		for _, c := range planted {
			c.Whole = true
			require.NoError(s.t, s.repo.Plant(s.ctx, s.store+"-2", c))
		}
		assert.False(s.t, s.look("", 0)[0].Whole)
		for _, c := range planted {
			c.Whole = true
			require.NoError(s.t, s.repo.Plant(s.ctx, s.store, c))
			require.NoError(s.t, s.repo.Plant(s.ctx, s.store, c))
		}
		for i, c := range s.look(s.store, 0) {
			assert.True(s.t, c.Whole)
			assert.Equal(s.t, planted[i].Epoch, c.Epoch)
			assert.EqualValues(s.t, 2, c.Beats)
		}
		assert.False(s.t, s.plant(0)[0].Whole)
	}},
	{"stays if it is another one than was seen", func(s *shelf) {
		first := s.plant(0)
		second := s.plant(0)
		for i, c := range first {
			require.NoError(s.t, s.repo.Plant(s.ctx, s.store, c))
			c.Whole = true
			require.NoError(s.t, s.repo.Plant(s.ctx, s.store, c))
			require.NoError(s.t, s.repo.Plant(s.ctx, s.store, inventory.Canary{Name: c.Name, Server: c.Server}))
			c = second[i]
			c.Store += "-2"
			require.NoError(s.t, s.repo.Plant(s.ctx, s.store, c))
		}
		for i, c := range s.look(s.store, 0) {
			assert.Equal(s.t, second[i].Epoch, c.Epoch)
			assert.False(s.t, c.Whole)
		}
	}},
	{"is planted once by many", func(s *shelf) {
		seen := s.plant(0)
		together(func(int) {
			for _, c := range seen {
				s.fine(s.repo.Plant(s.ctx, s.store, c))
			}
		})
		again := s.look(s.store, 0)
		together(func(int) {
			for _, c := range seen {
				s.fine(s.repo.Plant(s.ctx, s.store, c))
			}
		})
		for i, c := range s.look(s.store, 0) {
			assert.Greater(s.t, c.Epoch, seen[i].Epoch)
			assert.Equal(s.t, again[i].Epoch, c.Epoch)
		}
	}},
	{"has bounds", func(s *shelf) {
		seen := s.plant(0)[0]
		for _, watcher := range []int{-1, inventory.Watchers} {
			_, err := s.repo.Canaries(s.ctx, s.store, watcher)
			require.ErrorIs(s.t, err, inventory.ErrInvalid)
		}
		_, err := s.repo.Canaries(s.ctx, "\n", 0)
		require.ErrorIs(s.t, err, inventory.ErrInvalid)
		require.ErrorIs(s.t, s.repo.Plant(s.ctx, "", seen), inventory.ErrInvalid)
		seen.Epoch = -1
		require.ErrorIs(s.t, s.repo.Plant(s.ctx, s.store, seen), inventory.ErrInvalid)
		assert.EqualValues(s.t, 2, s.look(s.store, 0)[0].Beats)
	}},
	{"is not touched once the context has ended", func(s *shelf) {
		seen := s.plant(0)
		gone, leave := context.WithCancel(s.ctx)
		leave()
		canaries, err := s.repo.Canaries(gone, s.store, 0)
		if err == nil {
			require.Len(s.t, canaries, len(seen))
			for _, c := range canaries {
				require.ErrorIs(s.t, c.Err, inventory.ErrUnavailable)
			}
		} else {
			require.ErrorIs(s.t, err, inventory.ErrUnavailable)
		}
		require.ErrorIs(s.t, s.repo.Plant(gone, s.store, seen[0]), inventory.ErrUnavailable)
		assert.EqualValues(s.t, 2, s.look(s.store, 0)[0].Beats)
	}},
	{"belongs to a repository with a name", func(s *shelf) {
		assert.NotEmpty(s.t, s.repo.Name())
	}},
}
