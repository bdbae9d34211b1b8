package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/lastunit/lastunit/inventory"
)

const (
	// maxBody is enough for an order of order.MaxLines lines, and for a cursor of the feed.
	maxBody = 64 << 10

	// maxLargeBody is enough for order.MaxItems events in a CSV file, with IDs of the
	// greatest length.
	maxLargeBody = 4 << 20
)

// read reads a request's body, one JSON object, into a struct.
func read(r *http.Request, into any) error {
	if err := wantJSON(r); err != nil {
		return err
	}
	body, err := readAll(r, maxBody)
	if err != nil {
		return err
	}
	return parseBody(body, into)
}

func parseBody(body []byte, into any) error {
	// Package json would replace bad bytes, and so make two IDs one.
	if !utf8.Valid(body) {
		return &inventory.InvalidError{Field: "body", Reason: "is not valid UTF-8"}
	}

	places, err := strictJSON(body, reflect.TypeOf(into).Elem())
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return badJSON(err, places)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return &inventory.InvalidError{Field: "body", Reason: "goes on after the JSON object"}
	}
	return nil
}

// wantJSON refuses a body of another type, also so that a page in a browser can't post
// here by a plain form.
func wantJSON(r *http.Request) error {
	if mediaType(r) != "application/json" {
		return &problem{status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type", Message: "want Content-Type: application/json"}
	}
	return nil
}

// readNothing is for what has no body, or an empty object: anything in it would
// be lost on us.
func readNothing(r *http.Request) error {
	body, err := readAll(r, maxBody)
	if err != nil || len(body) == 0 { // also one in chunks, of which there is none
		return err
	}
	if err := wantJSON(r); err != nil {
		return err
	}
	return parseBody(body, &struct{}{})
}

// mediaType is the body's type, without parameters; empty if it is none.
func mediaType(r *http.Request) string {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return media
}

// readAll reads the body. Go's server gives it its deadline, and closes the
// connection if there is more than this.
func readAll(r *http.Request, most int64) ([]byte, error) {
	if _, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil {
		switch charset := strings.ToLower(parameters["charset"]); charset {
		case "", "utf-8", "utf8":
		default:
			return nil, &problem{status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type", Message: fmt.Sprintf("the charset is %.40q, want utf-8", charset)}
		}
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, most))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &problem{status: http.StatusRequestEntityTooLarge, Code: "too_large", Message: fmt.Sprintf("the body has more than %d bytes", most)}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &problem{status: http.StatusRequestTimeout, Code: "timeout", Message: "the body came too slowly"}
	case err != nil:
		return nil, &inventory.InvalidError{Field: "body", Reason: "could not be read"}
	}
	return body, nil
}

// nullable is a JSON field that may be null, which is not the same as absent.
type nullable[T any] struct {
	given bool
	value *T
}

// UnmarshalJSON is called only if the field is there.
func (n *nullable[T]) UnmarshalJSON(text []byte) error {
	n.given = true
	return json.Unmarshal(text, &n.value)
}

// badJSON says what is wrong in the client's words, not in Go's.
func badJSON(err error, places []place) error {
	var wrongType *json.UnmarshalTypeError
	var invalid *inventory.InvalidError
	switch {
	case errors.As(err, &invalid): // of a value that reads itself
		return invalid
	case errors.As(err, &wrongType):
		field := fieldAt(places, wrongType.Offset, wrongType.Field)
		if field == "" {
			field = "body"
		}
		return &inventory.InvalidError{Field: field, Reason: fmt.Sprintf("has the wrong type or is out of range: %s", wrongType.Value)}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &inventory.InvalidError{Field: "body", Reason: "ends too early"}
	}
	return &inventory.InvalidError{Field: "body", Reason: "is not the JSON that is wanted: " + strings.TrimPrefix(err.Error(), "json: ")}
}
