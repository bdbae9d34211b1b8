package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"
)

// client asks the service over HTTP until there is a definite answer.
type client struct {
	baseURL func() string // asked before each try: the service may move
	http    *http.Client
	retried func() // hears of each further try; optional
}

// newClient makes a client that keeps a connection for each of the callers.
func newClient(baseURL func() string, callers int) *client {
	transport := &http.Transport{
		MaxIdleConns: callers, MaxIdleConnsPerHost: callers,
		IdleConnTimeout: 30 * time.Second, DisableCompression: true,
	}
	// Longer than the service takes at most: it is cut short only if it hangs.
	return &client{baseURL: baseURL, http: &http.Client{Transport: transport, Timeout: writeTimeout}}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// refusal is a definite answer other than yes.
type refusal struct {
	Status  int
	Code    string
	Message string
}

func (e *refusal) Error() string {
	return fmt.Sprintf("HTTP %d, code %q: %s", e.Status, e.Code, e.Message)
}

const (
	firstBackoff = 5 * time.Millisecond
	maxBackoff   = 500 * time.Millisecond
)

// post sends a request until the answer is definite, and reads it. It is a
// *refusal if that is no. It gives up when the context ends.
func (c *client) post(ctx context.Context, path string, request, answer any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	for backoff := firstBackoff; ; backoff = min(2*backoff, maxBackoff) {
		err := c.try(ctx, path, body, answer)
		var no *refusal
		// A connection that broke says nothing about the request. It is safe to
		// send again, since it has an ID.
		if err == nil || errors.As(err, &no) && !retryable(no) {
			return err
		}
		// Those who were turned away together don't come back together.
		timer := time.NewTimer(backoff/2 + rand.N(backoff))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("no definite answer: %w, after %w", ctx.Err(), err)
		}
		if c.retried != nil {
			c.retried()
		}
	}
}

func retryable(no *refusal) bool {
	switch no.Code {
	case "try_again", "busy", "overloaded", "outcome_unknown", "not_sent", "unavailable":
		return true
	}
	return false
}

func (c *client) try(ctx context.Context, path string, body []byte, answer any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.baseURL()+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close() //nolint:errcheck // it was read to its end, or its error is known
	// Read to the end, so that the connection can be used again.
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode/100 == 2 {
		return json.Unmarshal(text, answer)
	}
	var said struct{ Error problem }
	if err := json.Unmarshal(text, &said); err != nil {
		return &refusal{response.StatusCode, "", string(text[:min(len(text), 200)])}
	}
	return &refusal{response.StatusCode, said.Error.Code, said.Error.Message}
}
