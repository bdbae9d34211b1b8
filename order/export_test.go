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

// DefinedTriggers and DefinedTables are those that Migrate and Check compare.
func DefinedTriggers() (names []string) {
	files, err := loadMigrations()
	if err != nil {
		panic(err)
	}
	names, _ = triggersOf(files)
	return names
}

func DefinedTables() []string {
	files, err := loadMigrations()
	if err != nil {
		panic(err)
	}
	return tablesOf(files)
}

// OwnConstraints are those that the migrations make, sorted.
func OwnConstraints() []string { return ownConstraints[:] }
