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
	"strings"
	"unicode/utf8"

	"github.com/lastunit/lastunit/inventory"
)

// maxBody is enough for an order of order.MaxLines lines.
const maxBody = 64 << 10

// read reads a request's body, one JSON object, into a struct.
func read(r *http.Request, into any) error {
	// Also so that a page in a browser can't post here by a plain form.
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return &problem{status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type", Message: "want Content-Type: application/json"}
	}
	// Go's server gives the body its deadline, and closes the connection if
	// there is more than this.
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return &problem{status: http.StatusRequestEntityTooLarge, Code: "too_large", Message: fmt.Sprintf("the body has more than %d bytes", maxBody)}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &problem{status: http.StatusRequestTimeout, Code: "timeout", Message: "the body came too slowly"}
	case err != nil:
		return &inventory.InvalidError{Field: "body", Reason: "could not be read"}
	}
	// Package json would replace bad bytes, and so make two IDs one.
	if !utf8.Valid(body) {
		return &inventory.InvalidError{Field: "body", Reason: "is not valid UTF-8"}
	}

	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return badJSON(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return &inventory.InvalidError{Field: "body", Reason: "goes on after the JSON object"}
	}
	return nil
}

// badJSON says what is wrong in the client's words, not in Go's.
func badJSON(err error) error {
	var wrongType *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrongType):
		field := wrongType.Field
		if field == "" {
			field = "body"
		}
		return &inventory.InvalidError{Field: field, Reason: fmt.Sprintf("has the wrong type or is out of range: %s", wrongType.Value)}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &inventory.InvalidError{Field: "body", Reason: "ends too early"}
	}
	return &inventory.InvalidError{Field: "body", Reason: "is not the JSON that is wanted: " + strings.TrimPrefix(err.Error(), "json: ")}
}
