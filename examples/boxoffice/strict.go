package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/lastunit/lastunit/inventory"
)

// strictJSON refuses what package json would quietly make something else of, so that two
// requests would become one: half of a pair of surrogates, which becomes U+FFFD, and a key
// that is there twice, of which the last one counts; and a key that is not exactly one of
// the type's. Other errors are left to package json. It returns where the values are.
func strictJSON(body []byte, into reflect.Type) ([]place, error) {
	if err := loneSurrogate(body); err != nil {
		return nil, err
	}
	return exactKeys(json.NewDecoder(bytes.NewReader(body)), into)
}

// loneSurrogate finds an escape such as \ud800 without the other half behind it.
// Backslashes are in strings only.
func loneSurrogate(body []byte) error {
	for i := 0; i < len(body); i++ {
		if body[i] != '\\' {
			continue
		}
		first, is := escaped(body[i:])
		switch {
		case !is:
			i++ // the character that is escaped
		case !utf16.IsSurrogate(first):
			i += 5
		default:
			second, _ := escaped(body[min(i+6, len(body)):])
			if utf16.DecodeRune(first, second) == '\uFFFD' {
				return &inventory.InvalidError{Field: "body", Reason: fmt.Sprintf("has %s, which is half of a character", body[i:i+6])}
			}
			i += 11
		}
	}
	return nil
}

// escaped is the code that the text begins with, as an escape with four hexadecimal digits.
func escaped(text []byte) (code rune, is bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	digits, err := hex.DecodeString(string(text[2:6]))
	if err != nil {
		return 0, false
	}
	return rune(digits[0])<<8 | rune(digits[1]), true
}

// place is where a value is in a body: its first token ends there.
type place struct {
	end   int64
	field string // as errors name it: "lines[0].quantity"
}

// level is an object or an array that is open.
type level struct {
	fields map[string]reflect.Type // of the object; nil if any key will do
	seen   map[string]bool         // keys of the object; nil for an array
	of     reflect.Type            // of the next value; nil if it is not known
	field  string
	key    string // whose value comes next; empty if it is a key that does
	index  int    // of the next element
}

// exactKeys finds a key that is twice in one object, or that the type does not have.
// Package json takes "ID" for "id", and some letters of other alphabets for those of
// ours, so that the keys are compared here, byte by byte. It returns where the values are.
func exactKeys(decoder *json.Decoder, into reflect.Type) (places []place, _ error) {
	decoder.UseNumber()
	var open []*level
	for {
		token, err := decoder.Token()
		if err != nil {
			return places, nil //nolint:nilerr // it is the end, or package json tells what is wrong
		}
		of, field := into, ""
		if len(open) > 0 {
			in := open[len(open)-1]
			if token == json.Delim('}') || token == json.Delim(']') {
				open = open[:len(open)-1]
				continue
			}
			if in.seen != nil && in.key == "" {
				key := token.(string)
				_, known := in.fields[key]
				switch {
				case in.seen[key]:
					return nil, &inventory.InvalidError{Field: "body", Reason: fmt.Sprintf("has the key %.40q twice", key)}
				case !known && in.fields != nil:
					return nil, &inventory.InvalidError{Field: "body", Reason: fmt.Sprintf("has the key %.40q, which is none here", key)}
				}
				in.seen[key], in.key, in.of = true, key, in.fields[key]
				continue
			}
			of = in.of
			if field = strings.TrimPrefix(in.field+"."+in.key, "."); in.seen == nil {
				field = fmt.Sprintf("%s[%d]", in.field, in.index)
			}
			in.key = ""
			in.index++
		}
		places = append(places, place{decoder.InputOffset(), field})
		switch token {
		case json.Delim('{'):
			open = append(open, &level{fields: fieldsOf(of), seen: make(map[string]bool), field: field})
		case json.Delim('['):
			next := &level{field: field}
			if of != nil && of.Kind() == reflect.Slice {
				next.of = of.Elem()
			}
			open = append(open, next)
		}
	}
}

// fieldsOf are the fields of a struct by their names in JSON; nil for a type that is none,
// or that reads its JSON itself.
func fieldsOf(of reflect.Type) map[string]reflect.Type {
	if of == nil || of.Kind() != reflect.Struct || reflect.PointerTo(of).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return nil
	}
	fields := make(map[string]reflect.Type)
	for i := range of.NumField() {
		name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
		fields[name] = of.Field(i).Type
	}
	return fields
}

var indexes = regexp.MustCompile(`\[\d+\]`)

// fieldAt is the field of a value that package json had read when it failed. It names the
// field without the indexes.
func fieldAt(places []place, offset int64, field string) string {
	for _, at := range slices.Backward(places) {
		if at.end <= offset && indexes.ReplaceAllString(at.field, "") == field {
			return at.field
		}
	}
	return field
}
