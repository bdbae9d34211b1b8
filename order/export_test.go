package order

import "time"

// ReopenAll ends what Reopening keeps, for tests that have no time to wait.
func (m *Memory) ReopenAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.skus {
		s.reopens = time.Time{}
	}
}

// DefinedFunctions are the functions that Migrate and Check compare.
func DefinedFunctions() (names []string) {
	files, err := loadMigrations()
	if err != nil {
		panic(err)
	}
	for _, d := range definitions(files) {
		names = append(names, d.name)
	}
	return names
}

// OwnConstraints are those that the migrations make, sorted.
func OwnConstraints() []string { return ownConstraints[:] }
