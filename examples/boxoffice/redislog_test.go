package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// A Redis that is down is one line now and then, not one for each connection.
func TestRedisLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := &redisLog{to: slog.New(slog.NewTextHandler(&out, nil))}
		for range 2 {
			for range 1000 {
				log.Printf(t.Context(), "%s can't be dialed", "it")
			}
			time.Sleep(redisLogEvery)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if assert.Len(t, lines, 2) {
			assert.Contains(t, lines[0], `level=WARN msg="go-redis: it can't be dialed" left_out=0`)
			assert.Contains(t, lines[1], "left_out=999")
		}
	})
}
