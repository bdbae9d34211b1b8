package faults_test

// laterRows are rows 19 to 34 of the matrix: a Postgres in trouble, several at once,
// and bad input.
var laterRows = []row{
	{
		name:    "19a_postgres_killed_and_restarted",
		callers: "ErrOutcomeUnknown while it is down; they ask again and get the right answer",
		lost:    "nothing",
		run:     postgresKilled,
	},
	{
		name:    "19b_postgres_stopped_for_ten_seconds",
		callers: "ErrOutcomeUnknown once their time is over; they ask again and get the right answer",
		lost:    "nothing",
		run:     postgresStopped,
	},
	{
		name:    "19c_every_connection_cut_at_once",
		callers: "ErrOutcomeUnknown to some; they ask again and get the right answer",
		lost:    "nothing",
		run:     everyConnectionCut,
	},
	{
		name:    "20_lock_held_and_pool_exhausted",
		callers: "ErrOutcomeUnknown once their time is over, or the statement's; no goroutine is left behind",
		lost:    "nothing",
		run:     locked,
	},
	{
		name:    "21_deadlock_or_serialization_failure",
		callers: "nothing: it is tried again inside",
		lost:    "nothing",
		run:     rolledBack,
	},
	{
		name:    "22_poisonous_order_in_a_batch",
		callers: "ErrRejected to that one; nothing to the others of the batch",
		lost:    "nothing",
		run:     poisonousOrders,
	},
	{
		name:    "23_disk_full",
		callers: "ErrOutcomeUnknown while there is no room; they ask again and get the right answer",
		lost:    "nothing",
		run:     diskFull,
	},
	{
		name:    "24_postgres_down_with_accept_in_use",
		callers: "a Receipt until the backlog is full, then ErrOverloaded; ErrOutcomeUnknown where Postgres must be asked first, as under a limit",
		lost:    "nothing that was accepted",
		run:     acceptedMeanwhile,
	},
	{
		name:    "25_ten_processes",
		callers: "nothing, also if all of them rebuild the SKU at the same time",
		lost:    "nothing",
		run:     manyProcesses,
	},
	{
		name:    "26_rebuild_capacity_and_cancel_in_a_loop",
		callers: "sold out while the capacity is lowered below what is sold",
		lost:    "nothing",
		run:     churn,
	},
	{
		name:    "27a_confirm_races_expiry",
		callers: "either the confirmed order or ErrHoldExpired, and that stays true",
		lost:    "nothing",
		run:     confirmRacesExpiry,
	},
	{
		name:    "27b_cancel_races_confirm",
		callers: "the cancel succeeds; the confirm does so before it, or is told ErrCancelled",
		lost:    "nothing",
		run:     cancelRacesConfirm,
	},
	{
		name:    "27c_swept_and_released_twice",
		callers: "nothing",
		lost:    "nothing: the units come back once",
		run:     sweptAndReleasedTwice,
	},
	{
		name:    "28_clocks_an_hour_apart",
		callers: "ErrOutcomeUnknown to some while Redis's clock jumps; holds end by the clock of Postgres, sooner or later if that jumps",
		lost:    "nothing",
		run:     clocksApart,
	},
	{
		name:    "29_bad_quantities_and_lines",
		callers: "ErrInvalid, which names the field; a SKU that is there twice is summed",
		lost:    "nothing: nothing has changed",
		run:     badQuantities,
	},
	{
		name:    "30_bad_names_and_capacities",
		callers: "ErrInvalid, which names the field; a capacity below what is sold is allowed, and sells nothing",
		lost:    "nothing: nothing has changed",
		run:     badNames,
	},
	{
		name:    "31_garbage_in_a_key",
		callers: "nothing: the counters are rebuilt",
		lost:    "nothing that was booked",
		run:     garbageInRedis,
	},
	{
		name:    "32a_least_rights",
		callers: "nothing; with one right fewer, Service.Check names it at the start",
		lost:    "nothing",
		run:     leastRights,
	},
	{
		name:    "32b_right_taken_in_the_middle",
		callers: "the outcome is unknown until the right is back; the same ID answers right",
		lost:    "nothing: what a script left half done is rebuilt",
		run:     rightTaken,
	},
	{
		name:    "33_bad_clients_of_the_example_service",
		callers: "a 4xx with a code, or the connection is closed; the others are served",
		lost:    "nothing",
		run:     badClients,
	},
	{
		name:    "34_passwords_in_logs_and_errors",
		callers: "errors and log lines without passwords and URLs",
		lost:    "nothing",
		run:     secrets,
	},
}
