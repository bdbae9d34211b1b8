package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf16"

	"github.com/lastunit/lastunit/inventory"
)

// strictJSON refuses what package json would quietly make something else of, so that two
// requests would become one: half of a pair of surrogates, which becomes U+FFFD, and a key
// that is there twice, of which the last one counts. Other errors are left to package json.
func strictJSON(body []byte) error {
	if err := loneSurrogate(body); err != nil {
		return err
	}
	return duplicateKey(json.NewDecoder(bytes.NewReader(body)))
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

// duplicateKey finds a key that is twice in one object. Package json takes "ID" for "id"
// too, so that these two are the same here.
func duplicateKey(decoder *json.Decoder) error {
	type object struct {
		keys  map[string]bool // nil for an array
		value bool            // a key was read, and its value comes next
	}
	var open []object
	for {
		token, err := decoder.Token()
		if err != nil {
			return nil //nolint:nilerr // it is the end, or package json tells what is wrong
		}
		inside := len(open) - 1
		if key, is := token.(string); is && inside >= 0 && open[inside].keys != nil && !open[inside].value {
			folded := strings.ToLower(key)
			if open[inside].keys[folded] {
				return &inventory.InvalidError{Field: "body", Reason: fmt.Sprintf("has the key %.40q twice", key)}
			}
			open[inside].keys[folded], open[inside].value = true, true
			continue
		}
		if delimiter, is := token.(json.Delim); is && (delimiter == '}' || delimiter == ']') {
			open = open[:inside]
			continue
		}
		if inside >= 0 {
			open[inside].value = false // this is it
		}
		switch token {
		case json.Delim('{'):
			open = append(open, object{keys: make(map[string]bool)})
		case json.Delim('['):
			open = append(open, object{})
		}
	}
}
