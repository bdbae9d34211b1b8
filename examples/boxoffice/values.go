package main

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// query reads a request's query, which has these parameters and no others. Only
// a sku may be there more than once.
func query(r *http.Request, names ...string) (url.Values, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, &inventory.InvalidError{Field: "query", Reason: "is badly encoded, or has too many parameters"}
	}
	for name, given := range values {
		switch {
		case len(names) == 0:
			return nil, &inventory.InvalidError{Field: name, Reason: "is unknown: there are no parameters here"}
		case !slices.Contains(names, name):
			return nil, &inventory.InvalidError{Field: name, Reason: "is unknown, want " + strings.Join(names, ", ")}
		case len(given) > 1 && name != "sku":
			return nil, &inventory.InvalidError{Field: name, Reason: "is there twice"}
		}
	}
	return values, nil
}

// pageSize reads how much is on a page, if that is given.
func pageSize(text string, given bool, most int) (int, error) {
	if !given {
		return order.DefaultPage, nil
	}
	size, err := number("size", text, 1, int64(most))
	return int(size), err
}

// number reads a whole number: digits and nothing else, no sign, no exponent.
func number(field, text string, low, high int64) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || strings.Trim(text, "0123456789") != "" || n < low || n > high {
		return 0, &inventory.InvalidError{Field: field, Reason: fmt.Sprintf("is %.40q, want a whole number from %d to %d", text, low, high)}
	}
	return n, nil
}

// inRange checks a number that is one already.
func inRange(field string, n, low, high int64) error {
	if n < low || n > high {
		return &inventory.InvalidError{Field: field, Reason: fmt.Sprintf("is %d, want %d to %d", n, low, high)}
	}
	return nil
}

// rfc3339 is how a time must look. Package time takes T9:00:00, a comma for the
// point, and offsets of more than a day too.
var rfc3339 = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

// yes reads true or false.
func yes(field, text string) (bool, error) {
	if text != "true" && text != "false" {
		return false, &inventory.InvalidError{Field: field, Reason: fmt.Sprintf("is %.40q, want true or false", text)}
	}
	return text == "true", nil
}

// moment reads a time, or none.
func moment(field string, text *string) (time.Time, error) {
	if text == nil {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, *text)
	// Also what only Go takes for RFC 3339 is wrong. The zero time is none.
	if err != nil || !rfc3339.MatchString(*text) || at.IsZero() {
		return time.Time{}, &inventory.InvalidError{Field: field, Reason: fmt.Sprintf("is %.40q, want a time such as 2026-12-01T20:00:00Z or 2026-12-01T21:00:00+01:00", *text)}
	}
	return at, nil
}

// duration reads how long a hold shall last. It is text with its unit in it: a
// bare number could be meant in seconds or in milliseconds.
func duration(field string, text *string) (time.Duration, error) {
	if text == nil {
		return 0, missing(field)
	}
	d, err := time.ParseDuration(*text)
	if err != nil {
		return 0, &inventory.InvalidError{Field: field, Reason: fmt.Sprintf("is %.40q, want numbers with their units, such as 90s, 10m or 1h30m", *text)}
	}
	return d, order.CheckHold(field, d)
}

func missing(field string) error {
	return &inventory.InvalidError{Field: field, Reason: "is missing"}
}
