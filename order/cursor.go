package order

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/lastunit/lastunit/inventory"
)

// Cursor is how far a reader of the feed has come: a position in each partition of
// a Store's SKUs. Its size does not depend on how many SKUs there are. The zero
// Cursor is the beginning. It is a plain value, to be copied and compared, and is
// meant to be kept as text or JSON, at most some 1,500 bytes of it, with what the
// reader makes of the movements.
type Cursor struct {
	Store     string            // whose feed it is, as Counters.Store; empty in the zero Cursor only
	Positions [Partitions]int64 // movements of each partition that needn't be read again: 0 or more
}

// MarshalText returns the Store and the positions that are not 0, such as
// "01234567-89ab-cdef-0123-456789abcdef/5:17,63:4"; nothing for the zero Cursor.
func (c Cursor) MarshalText() ([]byte, error) {
	if err := c.check(); err != nil || c == (Cursor{}) {
		return nil, err
	}
	text := append([]byte(c.Store), '/')
	for partition, position := range c.Positions {
		if position == 0 {
			continue
		}
		if text[len(text)-1] != '/' {
			text = append(text, ',')
		}
		text = strconv.AppendInt(text, int64(partition), 10)
		text = append(text, ':')
		text = strconv.AppendInt(text, position, 10)
	}
	return text, nil
}

// UnmarshalText reads what MarshalText returns. Anything else is
// inventory.ErrInvalid.
func (c *Cursor) UnmarshalText(text []byte) error {
	read, err := parseCursor(string(text))
	if err != nil {
		return invalidCursor("is no cursor of a feed: " + err.Error())
	}
	*c = read
	return nil
}

// UnmarshalJSON reads the text as a JSON string; null is the zero Cursor. A cursor of
// a build that kept a number for each SKU, as a JSON object, is inventory.ErrInvalid:
// these numbers are no positions. Its reader begins with the zero Cursor, and passes
// over the movements that it has, by their SKU and Number.
func (c *Cursor) UnmarshalJSON(text []byte) error {
	switch {
	case string(text) == "null":
		*c = Cursor{}
		return nil
	case len(text) > 0 && text[0] == '{':
		return invalidCursor("has a number for each SKU, as those of earlier builds: begin anew with the zero Cursor, which is \"\" in JSON")
	}
	var value string
	if err := json.Unmarshal(text, &value); err != nil {
		return invalidCursor("is no JSON string")
	}
	return c.UnmarshalText([]byte(value))
}

// String is the text of the cursor.
func (c Cursor) String() string {
	text, err := c.MarshalText()
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func parseCursor(text string) (c Cursor, _ error) {
	if text == "" {
		return c, nil
	}
	slash := strings.LastIndexByte(text, '/')
	if slash < 1 {
		return c, errors.New("it names no store")
	}
	c.Store = text[:slash]
	if positions := text[slash+1:]; positions != "" {
		last := -1
		for entry := range strings.SplitSeq(positions, ",") {
			name, number, _ := strings.Cut(entry, ":")
			partition, err := strconv.ParseUint(name, 10, 31)
			if err != nil || int(partition) <= last || partition >= Partitions {
				return c, fmt.Errorf("%.40q is no partition, or is out of order", name)
			}
			last = int(partition)
			position, err := strconv.ParseUint(number, 10, 63)
			if err != nil || position == 0 {
				return c, fmt.Errorf("%.40q is no position", number)
			}
			c.Positions[partition] = int64(position)
		}
	}
	err := c.check()
	return c, err
}

// check returns an inventory.InvalidError unless the cursor is zero, or names a store
// and its positions are within bounds.
func (c *Cursor) check() error {
	if *c == (Cursor{}) {
		return nil
	}
	if err := inventory.CheckID("after: the store", c.Store); err != nil {
		return err
	}
	for partition, position := range c.Positions {
		if position < 0 {
			return invalidCursor(fmt.Sprintf("has position %d in partition %d, want 0 or more", position, partition))
		}
	}
	return nil
}

func invalidCursor(reason string) error {
	return &inventory.InvalidError{Field: "after", Reason: reason}
}

// CursorError says why a feed does not know a cursor. It is ErrUnknownCursor.
type CursorError struct {
	Store     string // whose feed was asked for
	Of        string // whose cursor it is
	Partition int    // where the cursor is beyond the end, if it is one of this Store
	Position  int64  // of the cursor there
	End       int64  // of the feed there
}

// Error names the stores, or the positions.
func (e *CursorError) Error() string {
	if e.Of != e.Store {
		return fmt.Sprintf("%v: it is of store %s, and this is store %s", ErrUnknownCursor, e.Of, e.Store)
	}
	return fmt.Sprintf("%v: it is at position %d of partition %d, and the feed ends at %d: the database was restored",
		ErrUnknownCursor, e.Position, e.Partition, e.End)
}

// Unwrap is ErrUnknownCursor.
func (e *CursorError) Unwrap() error { return ErrUnknownCursor }
