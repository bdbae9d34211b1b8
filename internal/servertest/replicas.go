package servertest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// agreeLimit is how long servers may take to find each other.
const agreeLimit = 5 * time.Minute

// joined are redis-servers that know of each other under the addresses of proxies:
// what one of them has from another, such as its replication, can be cut off apart
// from what clients ask it.
type joined struct {
	t     testing.TB
	nodes []*Redis
	links []*Proxy
}

// join gives servers one password, and each a proxy for the others.
func join(t testing.TB, nodes []*Redis) joined {
	t.Helper()
	j := joined{t: t, nodes: nodes}
	password := nodes[0].Password()
	for _, r := range nodes {
		client := r.Client(t)
		for _, command := range [][]any{
			{"config", "set", "masterauth", password},
			{"config", "set", "requirepass", password},
			{"config", "rewrite"}, // for a restart
		} {
			if err := client.Do(context.Background(), command...).Err(); err != nil {
				t.Fatalf("cannot set the password: %v", err)
			}
		}
		r.s.password = password
		j.links = append(j.links, StartProxy(t, r.Addr()))
	}
	return j
}

// Node returns a server.
func (j *joined) Node(i int) *Redis { return j.nodes[i] }

// Link returns the proxy through which the other servers reach this one.
func (j *joined) Link(i int) *Proxy { return j.links[i] }

// dialer dials a server that is named by the address of its link, past the link. It
// is what clients take.
func (j *joined) dialer() func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		for i, link := range j.links {
			if link.Addr() == addr {
				addr = j.nodes[i].Addr()
			}
		}
		var d net.Dialer
		return d.DialContext(ctx, network, addr)
	}
}

// do sends commands to a server.
func (j *joined) do(i int, commands ...[]any) {
	j.t.Helper()
	client := j.nodes[i].Client(j.t)
	for _, command := range commands {
		if err := client.Do(context.Background(), command...).Err(); err != nil {
			j.t.Fatalf("redis-server %d: %v: %v", i, command[:2], err)
		}
	}
}

// await polls until a server's answer has the text in it.
func (j *joined) await(i int, text string, command ...any) {
	j.t.Helper()
	client := j.nodes[i].Client(j.t)
	var last string
	err := poll(agreeLimit, func() (bool, error) {
		answer, err := client.Do(context.Background(), command...).Text()
		last = fmt.Sprint(answer, err)
		return strings.Contains(answer, text), nil
	})
	if err != nil {
		j.t.Fatalf("redis-server %d: no %q in %s", i, text, last)
	}
}

// reachable returns the host and the port at which the others reach a server.
func (j *joined) reachable(i int) (host, port string) {
	host, port, err := net.SplitHostPort(j.links[i].Addr())
	if err != nil {
		j.t.Fatal(err.Error())
	}
	return host, port
}

// AwaitMaster polls until a node is a master.
func (j *joined) AwaitMaster(i int) {
	j.t.Helper()
	client := j.nodes[i].Client(j.t)
	err := poll(agreeLimit, func() (bool, error) {
		role, err := client.Info(context.Background(), "replication").Result()
		return err == nil && strings.Contains(role, "role:master"), nil
	})
	if errors.Is(err, errTooLate) {
		j.t.Fatalf("redis-server %d does not become a master", i)
	}
}
