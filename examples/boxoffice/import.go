package main

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"

	"github.com/lastunit/lastunit/booking"
)

// importEvents puts a CSV file on sale, all of it or nothing.
func (a *api) importEvents(r *http.Request) (any, error) {
	text, err := readCSV(r)
	if err != nil {
		return nil, err
	}
	items, err := parseItems(text)
	if err != nil {
		return nil, err
	}
	return map[string]int{"imported": len(items)}, a.shop.PutOnSale(r.Context(), items...)
}

// readCSV reads a request's body that is a CSV file.
func readCSV(r *http.Request) ([]byte, error) {
	_, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if charset := parameters["charset"]; err != nil || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return nil, &problem{status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type", Message: "want text/csv in UTF-8"}
	}
	return readAll(r, maxLargeBody)
}

// importFile puts a CSV file on sale, all of it or nothing, and says how many
// items it has.
func importFile(ctx context.Context, shop *booking.Service, path string) (int, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close() //nolint:errcheck // it was only read
	text, err := io.ReadAll(io.LimitReader(file, maxLargeBody+1))
	if err != nil {
		return 0, err
	}
	if len(text) > maxLargeBody {
		return 0, fmt.Errorf("%s has more than %d bytes", path, maxLargeBody)
	}
	items, err := parseItems(text)
	if err == nil {
		err = shop.PutOnSale(ctx, items...)
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return len(items), nil
}
