package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/lastunit/lastunit/inventory"
	"github.com/lastunit/lastunit/order"
)

// The columns of a CSV file, which has a header line that names them. Their
// order is free, and all but these two may be absent.
var (
	columns  = []string{"sku", "capacity", "customer_limit", "opens_at", "closes_at", "pool_only"}
	required = []string{"sku", "capacity"}
)

// maxLine bounds a line, in bytes, and with it the memory that one may take:
// encoding/csv makes some 40 bytes of an empty cell. The longest good one has a
// SKU that is all quotes, and stays far below.
const maxLine = 1 << 10

// parseItems reads a CSV file: RFC 4180, in UTF-8 with or without a byte order
// mark. An empty cell is none, blank lines count for nothing. Every error is an
// inventory.InvalidError whose field is the line, and the column if it is one
// cell that is wrong: "line 7: capacity".
func parseItems(text []byte) ([]order.Item, error) {
	text = bytes.TrimPrefix(text, []byte("\ufeff")) // as spreadsheets write it
	n := 0
	for line := range bytes.Lines(text) {
		if n++; len(line) > maxLine {
			return nil, wrong(n, "", fmt.Sprintf("is longer than %d bytes", maxLine))
		}
	}
	reader := csv.NewReader(bytes.NewReader(text))
	reader.FieldsPerRecord = -1 // we count them, for a better error
	header, err := readHeader(reader)
	if err != nil {
		return nil, err
	}

	var items []order.Item
	lines := make(map[string]int) // by SKU
	for {
		cells, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, badCSV(err)
		}
		line, _ := reader.FieldPos(0)
		if len(cells) != len(header) {
			return nil, wrong(line, "", fmt.Sprintf("has %d cells, want %d", len(cells), len(header)))
		}
		if len(items) == order.MaxItems {
			return nil, wrong(line, "", fmt.Sprintf("is one too many, want at most %d items", order.MaxItems))
		}
		item, err := parseItem(header, cells)
		if err != nil {
			return nil, inLine(line, err)
		}
		if before, ok := lines[item.SKU]; ok {
			return nil, wrong(line, "sku", fmt.Sprintf("is %q, as in line %d", item.SKU, before))
		}
		lines[item.SKU] = line
		items = append(items, item)
	}
	if items == nil {
		return nil, wrong(n+1, "", "is missing: there are no items")
	}
	return items, nil
}

// readHeader reads the names of the columns.
func readHeader(reader *csv.Reader) ([]string, error) {
	header, err := reader.Read()
	if errors.Is(err, io.EOF) {
		return nil, wrong(1, "", "is missing: want a header, "+strings.Join(columns, ","))
	}
	if err != nil {
		return nil, badCSV(err)
	}
	line, _ := reader.FieldPos(0)
	for i, name := range header {
		if !slices.Contains(columns, name) {
			return nil, wrong(line, "", fmt.Sprintf("has the column %.40q, want %s", name, strings.Join(columns, ",")))
		}
		if slices.Contains(header[:i], name) {
			return nil, wrong(line, name, "is a column twice")
		}
	}
	for _, name := range required {
		if !slices.Contains(header, name) {
			return nil, wrong(line, name, "is missing among the columns")
		}
	}
	return header, nil
}

// parseItem reads a line with as many cells as there are columns.
func parseItem(header, cells []string) (item order.Item, err error) {
	for i, name := range header {
		cell := cells[i]
		if cell == "" && !slices.Contains(required, name) {
			continue
		}
		switch name {
		case "sku":
			item.SKU = cell
		case "capacity":
			item.Capacity, err = number(name, cell, 0, inventory.MaxCapacity)
		case "customer_limit":
			item.CustomerLimit, err = number(name, cell, 1, inventory.MaxQuantity)
		case "opens_at":
			item.OpensAt, err = moment(name, &cell)
		case "closes_at":
			item.ClosesAt, err = moment(name, &cell)
		case "pool_only":
			item.PoolOnly, err = yes(name, cell)
		}
		if err != nil {
			return item, err
		}
	}
	return item, item.Check()
}

func badCSV(err error) error {
	var bad *csv.ParseError
	if !errors.As(err, &bad) {
		return err // not of a reader in memory
	}
	return wrong(bad.Line, "", "is no good CSV: "+bad.Err.Error())
}

func wrong(line int, column, reason string) error {
	field := fmt.Sprintf("line %d", line)
	if column != "" {
		field += ": " + column
	}
	return &inventory.InvalidError{Field: field, Reason: reason}
}

// inLine names the line in the error of a cell.
func inLine(line int, err error) error {
	var invalid *inventory.InvalidError
	if errors.As(err, &invalid) {
		return wrong(line, invalid.Field, invalid.Reason)
	}
	return err
}
