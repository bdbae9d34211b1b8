package robustness

import (
	"context"
	"crypto/sha1" //nolint:gosec // as Redis names scripts
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// mutation is a piece of text put in the place of another one, which must be there
// exactly once: so none of them goes stale unseen.
type mutation struct {
	in       string // a function of the database, or a script
	old, new string
}

func (m mutation) apply(text string) (string, error) {
	if n := strings.Count(text, m.old); n != 1 {
		return "", fmt.Errorf("%s has %q %d times", m.in, m.old, n)
	}
	return strings.Replace(text, m.old, m.new, 1), nil
}

// plantInDatabase replaces functions of a migrated database.
func (b *bug) plantInDatabase(ctx context.Context, pool *pgxpool.Pool) error {
	for _, m := range b.functions {
		var text string
		if err := pool.QueryRow(ctx, "select pg_get_functiondef($1::regproc)", "lastunit."+m.in).Scan(&text); err != nil {
			return err
		}
		text, err := m.apply(text)
		if err != nil {
			return err
		}
		if _, err := pool.Exec(ctx, text); err != nil {
			return err
		}
	}
	return nil
}

// plantInScripts makes a client send other scripts than it is told to.
func (b *bug) plantInScripts(client *redis.Client) error {
	swaps := &swap{bug: b, texts: make(map[string]string)}
	for _, m := range b.scripts {
		text, err := script(m.in)
		if err != nil {
			return err
		}
		other, err := m.apply(text)
		if err != nil {
			return err
		}
		swaps.texts[text] = other
		swaps.texts[sha(text)] = sha(other)
	}
	if len(b.scripts) > 0 {
		client.AddHook(swaps)
	}
	return nil
}

// script is a script of package inventory as it sends it.
func script(name string) (string, error) {
	var text []byte
	for _, file := range []string{"prelude", name} {
		part, err := os.ReadFile("../../inventory/lua/" + file + ".lua")
		if err != nil {
			return "", err
		}
		text = append(text, part...)
	}
	return string(text), nil
}

func sha(text string) string {
	sum := sha1.Sum([]byte(text)) //nolint:gosec // as Redis names scripts
	return hex.EncodeToString(sum[:])
}

// swap is a hook that swaps scripts, by their text and by their name.
type swap struct {
	bug   *bug
	texts map[string]string
}

func (s *swap) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s *swap) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		s.change(cmd)
		return next(ctx, cmd)
	}
}

func (s *swap) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			s.change(cmd)
		}
		return next(ctx, cmds)
	}
}

func (s *swap) change(cmd redis.Cmder) {
	arguments := cmd.Args()
	if name := cmd.Name(); name != "eval" && name != "evalsha" || len(arguments) < 2 {
		return
	}
	text, _ := arguments[1].(string)
	if other, there := s.texts[text]; there {
		arguments[1] = other
		s.bug.swapped.Add(1)
	}
}

// plantInStore puts the bug around the durable side.
func (b *bug) plantInStore(s order.Store) order.Store {
	if b.store == nil {
		return s
	}
	return b.store(s)
}

// plantInInventory puts the bug around the fast side.
func (b *bug) plantInInventory(r inventory.InventoryRepository) inventory.InventoryRepository {
	if b.inventory == nil {
		return r
	}
	return b.inventory(r)
}

// active says whether this process met the bug, where that can be counted.
func (b *bug) active() bool { return len(b.scripts) == 0 || b.swapped.Load() > 0 }
