package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/lastunit/lastunit/booking"
)

// Limits of what a client may take up.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second // header and body
	writeTimeout      = 30 * time.Second // longer than a booking takes at most
	idleTimeout       = time.Minute
	maxHeaderBytes    = 16 << 10
	maxConnections    = 10_000 // some 12 KB each

	// shutdownTimeout is longer than a booking takes at most, too.
	shutdownTimeout = 20 * time.Second
)

// serve runs the service while use does, and tells use its URL. The end comes in
// this order: no new requests, the ones in hand are answered, the work in the
// background is finished. The context of use ends with ctx, or if serving fails.
func serve(ctx context.Context, shop *booking.Service, on *stores, address string, log *slog.Logger, use func(ctx context.Context, url string) error) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	server := newServer(newAPI(shop, on.ping, log), log)

	working, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	worked := make(chan error, 1)
	go func() { worked <- shop.Run(working) }()

	using, stopUse := context.WithCancelCause(ctx)
	served := make(chan error, 1)
	go func() {
		err := server.Serve(limit(listener, maxConnections))
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
		stopUse(err)
		served <- err
	}()

	err = use(using, "http://"+listener.Addr().String())

	err = errors.Join(err, shutdown(server), <-served)
	stopWork()
	return errors.Join(err, <-worked)
}

func newServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

// shutdown lets the requests in hand finish, within bounds.
func shutdown(server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("requests were cut off: %w", err), server.Close())
	}
	return nil
}
