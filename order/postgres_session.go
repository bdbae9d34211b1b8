package order

import (
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Some settings of a session change what a text means that goes in or comes out. pgx
// reads and writes the default of each alone, so our transactions set it. They end with
// the transaction: a session goes back as it was.
const (
	// setTexts is for values that travel as text: in a date, a bytea, and null in an array.
	setTexts = "select set_config('datestyle', 'ISO', true), set_config('bytea_output', 'hex', true), set_config('array_nulls', 'on', true)"

	// setUTF8 is for a session of another client_encoding: the same ID would be another
	// one there, or none.
	setUTF8 = "select set_config('client_encoding', 'UTF8', true)"

	// keepSettings and giveBackSettings are around ours in somebody's own transaction.
	keepSettings = "select set_config('lastunit.client_encoding', current_setting('client_encoding'), true), " +
		"set_config('lastunit.datestyle', current_setting('datestyle'), true), " +
		"set_config('lastunit.bytea_output', current_setting('bytea_output'), true), " +
		"set_config('lastunit.array_nulls', current_setting('array_nulls'), true)"
	giveBackSettings = "select set_config('client_encoding', current_setting('lastunit.client_encoding'), true), " +
		"set_config('datestyle', current_setting('lastunit.datestyle'), true), " +
		"set_config('bytea_output', current_setting('lastunit.bytea_output'), true), " +
		"set_config('array_nulls', current_setting('lastunit.array_nulls'), true)"
)

// sendsText says whether a pool sends and reads values as text.
func sendsText(pool *pgxpool.Pool) bool {
	return isTextMode(pool.Config().ConnConfig.DefaultQueryExecMode)
}

func isTextMode(mode pgx.QueryExecMode) bool {
	return mode == pgx.QueryExecModeSimpleProtocol || mode == pgx.QueryExecModeExec
}

// isUTF8 says whether the session's client_encoding is the one in which pgx sends text. It
// asks nothing: PostgreSQL reports this setting whenever it changes.
func isUTF8(conn *pgx.Conn) bool { return conn.PgConn().ParameterStatus("client_encoding") == "UTF8" }

// queueSettings sets what the session needs, and nothing as a rule.
func queueSettings(batch *pgx.Batch, conn *pgx.Conn, text bool) {
	if text {
		batch.Queue(setTexts)
	}
	if !isUTF8(conn) {
		batch.Queue(setUTF8)
	}
}

// queueAround queues what the queue function does, with the settings that the session
// of somebody's own transaction needs for it, and gives those back.
func queueAround(batch *pgx.Batch, conn *pgx.Conn, queue func()) {
	text := isTextMode(conn.Config().DefaultQueryExecMode)
	if !text && isUTF8(conn) {
		queue()
		return
	}
	batch.Queue(keepSettings)
	queueSettings(batch, conn, text)
	queue()
	batch.Queue(giveBackSettings)
}
