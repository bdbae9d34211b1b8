package robustness

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"sync"
)

// journal is where a process writes its calls down, each before it is made and
// again when it returned. What was written survives the process.
type journal struct {
	mu   sync.Mutex
	file *os.File
}

func newJournal(path string) (*journal, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return &journal{file: file}, nil
}

func (j *journal) write(c call) {
	line, err := json.Marshal(c)
	if err == nil {
		j.mu.Lock()
		defer j.mu.Unlock()
		_, err = j.file.Write(append(line, '\n'))
	}
	if err != nil {
		panic(err) // without the journal the run means nothing
	}
}

// readJournal reads the calls of a process: each as it was written last. A line
// without its end, as a process that was killed may leave it, is passed over.
func readJournal(path string) ([]call, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	type name struct{ client, number int }
	places := make(map[name]int)
	var calls []call
	scanner := bufio.NewScanner(bytes.NewReader(text[:bytes.LastIndexByte(text, '\n')+1]))
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		var c call
		if err := json.Unmarshal(scanner.Bytes(), &c); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		at := name{c.Client, c.Number}
		if place, there := places[at]; there {
			calls[place] = c
			continue
		}
		places[at] = len(calls)
		calls = append(calls, c)
	}
	return calls, scanner.Err()
}
