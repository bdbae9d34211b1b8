package inventory

import (
	"context"
	"errors"
	"strconv"
	"sync"
)

// Canary is a small record on each server of an InventoryRepository. It goes when the
// server loses everything, and goes back in time with it, so that one look at it tells
// what else a look at every SKU would.
type Canary struct {
	Name   string // of the canary among those of the repository: it stays when a replica takes over
	Server string // that it is on, as Locator names it
	Store  string // that planted it; empty if there is none, and all below is zero then
	Format int64  // of what the store has on the server; see Format
	Epoch  int64  // its life: each planting begins a higher one
	Beats  int64  // looks of the watcher since it was planted, this one included if it counts; 0 unless the Store looks
	Found  int64  // those of them that this look found
	Whole  bool   // all SKUs of the server were compared since it was planted
	Err    error  // the server could not be asked, and all but Name and Server is zero
}

// Behind says whether the canary went back in time since an earlier look of the same
// watcher at the canary of the same name: so did the server. It does so too if the server
// went back by that one look alone. A server that takes no writes counts no look, and so
// is not behind.
func (c Canary) Behind(earlier Canary) bool {
	return c.Epoch < earlier.Epoch || c.Epoch == earlier.Epoch && c.Found < earlier.Beats
}

// Format is the format of what this build keeps in Redis: FORMAT of prelude.lua.
const Format = 1

// Watchers bounds the number of a watcher of canaries: 0 to Watchers-1. Two with one
// number do no harm, and may miss that a server went back by less than a look.
const Watchers = 256

func checkCanaries(store string, watcher int) error {
	if store != "" {
		if err := CheckID("store", store); err != nil {
			return err
		}
	}
	return checkRange("watcher", int64(watcher), 0, Watchers-1)
}

func checkPlant(store string, seen Canary) error {
	if err := CheckID("store", store); err != nil {
		return err
	}
	if seen.Store != "" {
		if err := CheckID("canary.store", seen.Store); err != nil {
			return err
		}
	}
	return checkRange("canary.epoch", seen.Epoch, 0, maxCounter-1)
}

// canaryNames is how many names there are for the canaries of several servers. Each
// server has the first one whose key is on it. A server with a hundredth of the keys has
// none of them once in a billion times; then its SKUs are compared in turn alone.
const canaryNames = 2048

// canaryKeys finds out where the canaries are, from what the client knows.
func (r *Redis) canaryKeys(ctx context.Context) ([]Canary, error) {
	if r.nodes.client == nil {
		return []Canary{{Name: "0"}}, nil
	}
	if r.clientOf(ctx, "0") == nil {
		return nil, unavailableCanary("", errors.Join(errNoNodes, ctx.Err()))
	}
	var canaries []Canary
	met := make(map[string]bool)
	for i := range canaryNames {
		name := strconv.Itoa(i)
		client := r.knownClientOf(ctx, name)
		if client == nil {
			continue
		}
		if address := client.Options().Addr; !met[address] {
			met[address] = true
			canaries = append(canaries, Canary{Name: name, Server: address})
		}
	}
	return canaries, nil
}

var errNoNodes = errors.New("it is not known where the keys are")

// unavailableCanary is ErrUnavailable with its cause, and the server's name if there are several.
func unavailableCanary(server string, err error) error {
	return unavailableFor("ask the canary"+of(server), err)
}

func of(server string) string {
	if server == "" {
		return ""
	}
	return " of server " + server
}

// Canaries implements InventoryRepository. It asks the servers at the same time, one
// round trip each.
func (r *Redis) Canaries(ctx context.Context, store string, watcher int) ([]Canary, error) {
	if err := checkCanaries(store, watcher); err != nil {
		return nil, err
	}
	canaries, err := r.canaryKeys(ctx)
	if err != nil {
		return nil, err
	}
	var all sync.WaitGroup
	for i, c := range canaries {
		all.Go(func() {
			read, err := patiently(ctx, r.nodeOf(ctx, c.Name), "ask the canary"+of(c.Server), func() (Canary, error) {
				return r.look(ctx, c, store, watcher)
			})
			if err != nil {
				read = Canary{Name: c.Name, Server: c.Server, Err: err}
			}
			canaries[i] = read
		})
	}
	all.Wait()
	return canaries, nil
}

func (r *Redis) look(ctx context.Context, c Canary, store string, watcher int) (Canary, error) {
	answer, err := r.canary(ctx, "look", store, watcher, c)
	if err != nil {
		return c, err
	}
	c.Store = answer.text(1)
	c.Format, c.Epoch, c.Whole = answer.number(2), answer.number(3), answer.number(4) == 1
	c.Beats, c.Found = answer.number(5), answer.number(6)
	return c, answer.err
}

// Plant implements InventoryRepository.
func (r *Redis) Plant(ctx context.Context, store string, seen Canary) error {
	if err := checkPlant(store, seen); err != nil {
		return err
	}
	verb := "plant"
	if seen.Whole {
		verb = "whole"
	}
	_, err := patiently(ctx, r.nodeOf(ctx, seen.Name), verb+" the canary"+of(seen.Server), func() (*reply, error) {
		return r.canary(ctx, verb, store, 0, seen)
	})
	return err
}

// canary runs canary.lua.
func (r *Redis) canary(ctx context.Context, verb, store string, watcher int, seen Canary) (*reply, error) {
	if err := ctx.Err(); err != nil {
		return nil, unavailableCanary(seen.Server, err)
	}
	result, err := canaryScript.Run(ctx, r.client, []string{r.keys.canary(seen.Name)},
		store, watcher, verb, seen.Store, seen.Epoch).Slice()
	if err != nil {
		return nil, unavailableCanary(seen.Server, err)
	}
	return &reply{values: result}, nil
}

// Name implements InventoryRepository: it is what the keys begin with.
func (r *Redis) Name() string { return r.keys.begin() }
