package faults_test

// firstRows are rows 1 to 18 of the matrix: answers that got lost, and a Redis that
// lost something.
var firstRows = []row{
	{
		name:    "01_reply_of_a_deduct_lost",
		callers: "nothing: the client sends it again, and it is the same deduction",
		lost:    "nothing",
		run:     lostReplies,
	},
	{
		name:    "02_master_of_a_cluster_paused",
		callers: "ErrOutcomeUnknown to those who left; once it wakes up, or its replica has taken over, they ask again and get the right answer",
		lost:    "nothing",
		run:     clusterMasterPaused,
	},
	{
		name:    "03_call_that_fails_is_applied_later",
		callers: "ErrOutcomeUnknown to those who left; they ask again and get the right answer",
		lost:    "nothing",
		run:     appliedLater,
	},
	{
		name:    "04_second_click",
		callers: "the same order each time: during the first click, once it is settled, once all is sold, after a wipe, from another process",
		lost:    "nothing",
		run:     secondClick,
	},
	{
		name:    "05a_caller_leaves_while_queued",
		callers: "they have left; those behind them notice nothing",
		lost:    "nothing: no unit was taken",
		run:     leavesQueued,
	},
	{
		name:    "05b_caller_leaves_in_flight",
		callers: "ErrOutcomeUnknown to the one who left; they ask again and get the right answer",
		lost:    "nothing: the units come back with the sweep",
		run:     leavesInFlight,
	},
	{
		name:    "06_original_arrives_after_its_retry_was_refused",
		callers: "the retry is told that it is sold out, and that stays true",
		lost:    "nothing: no order comes of it, and no unit is stranded",
		run:     lateOriginal,
	},
	{
		name:    "07_same_id_other_payload",
		callers: "ErrIdempotencyConflict",
		lost:    "nothing: neither the order nor the stock changes",
		run:     sameIDOtherPayload,
	},
	{
		name:    "08_connection_cut_at_commit",
		callers: "nothing: the library reads it back and goes on",
		lost:    "nothing",
		run:     cutAtCommit,
	},
	{
		name:    "09a_process_killed_between_deduct_and_commit",
		callers: "those of that process are cut off; in another one they get the right answer",
		lost:    "nothing: the units come back with the sweep, and a commit that arrives later loses",
		run:     killedBeforeCommit,
	},
	{
		name:    "09b_process_killed_between_commit_and_settle",
		callers: "they have their orders, in every other process too",
		lost:    "nothing: the sweep settles what is sold",
		run:     killedBeforeSettle,
	},
	{
		name:    "10_process_paused_in_mid_commit",
		callers: "once it wakes up, it is told that its commit lost, and asks anew: here it is sold out by then",
		lost:    "nothing: the units went to others meanwhile",
		run:     pausedInCommit,
	},
	{
		name:    "11_redis_killed_without_persistence",
		callers: "ErrOutcomeUnknown while it is down; the sale goes on by itself once it is back",
		lost:    "nothing that was booked: the counters are rebuilt from Postgres",
		run:     killedWithoutPersistence,
	},
	{
		name:    "12_redis_wiped_under_load",
		callers: "at worst ErrTryAgain: the counters are rebuilt meanwhile",
		lost:    "nothing that was booked",
		run:     wiped,
	},
	{
		name:    "13_redis_restarted_on_an_old_copy",
		callers: "at worst ErrOutcomeUnknown while it restarts; what the old copy has too much Postgres refuses",
		lost:    "nothing that was booked: the old copy is noticed and rebuilt, with the deductions that are back from the dead",
		run:     oldCopyComesBack,
	},
	{
		name:    "14a_failover_of_a_cluster_to_a_replica_that_lags",
		callers: "ErrOutcomeUnknown until the replica has taken over and their client has noticed",
		lost:    "nothing that was booked: what the replica missed is noticed, and rebuilt from Postgres",
		run:     clusterFailover,
	},
	{
		name:    "14b_failover_by_sentinel_to_a_replica_that_lags",
		callers: "nothing: bookings go on with the old master until the client hears of the new one",
		lost:    "nothing that was booked: what the replica missed is noticed, and rebuilt from Postgres",
		run:     sentinelFailover,
	},
	{
		name:    "15a_old_master_still_sells",
		callers: "at worst ErrOutcomeUnknown or ErrTryAgain: Postgres decides for both masters, and nothing is sold twice",
		lost:    "nothing",
		run:     oldMasterSells,
	},
	{
		name:    "15b_old_master_still_says_sold_out",
		callers: "they get the units that came back: Postgres is asked before anybody is refused",
		lost:    "nothing",
		run:     oldMasterIsSoldOut,
	},
	{
		name:    "16_counters_evicted",
		callers: "ErrOutcomeUnknown where Redis has no memory left; else nothing: the counters are rebuilt. Check says at the start that the policy is wrong",
		lost:    "nothing that was booked",
		run:     evicted,
	},
	{
		name:    "17_redis_cannot_serve",
		callers: "ErrOutcomeUnknown, which is inventory.ErrUnavailable, and never \"sold out\"; they ask again and get the right answer",
		lost:    "nothing",
		run:     cannotServe,
	},
	{
		name:    "18_redis_down_for_good",
		callers: "with SellDirect the first wait for half a second at most, and Postgres sells alone until Redis is back; by default ErrOutcomeUnknown",
		lost:    "nothing",
		run:     downForGood,
	},
}
