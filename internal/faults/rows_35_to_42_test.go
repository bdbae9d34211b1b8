package faults_test

// fieldRows are rows 35 to 42 of the matrix: what real databases, operators and mistakes
// do to a sale.
var fieldRows = []row{
	{
		name:    "35_own_triggers_that_refuse_an_order",
		callers: "ErrRejected to that one, with the trigger's message; nothing to the others",
		lost:    "nothing",
		run:     ownTriggers,
	},
	{
		name:    "36_tables_that_contradict_each_other",
		callers: "ErrOutcomeUnknown for that SKU until Reconcile has repaired it; ErrOrphaned to who would put a deleted one on sale",
		lost:    "nothing",
		run:     tablesContradict,
	},
	{
		name:    "37_odd_sessions_and_pgbouncer",
		callers: "nothing; a database that is not UTF-8, and a pooler that breaks prepared statements, are named before the sale",
		lost:    "nothing",
		run:     oddSessions,
	},
	{
		name:    "38_counters_ahead_of_postgres",
		callers: "nothing: the counters are rebuilt, by callers who come upon them or by Run",
		lost:    "nothing",
		run:     countersAhead,
	},
	{
		name:    "39_two_databases_under_a_prefix_or_two_prefixes",
		callers: "nothing to those of the first; ErrOutcomeUnknown to those of the second, which Service.Check names before the sale",
		lost:    "nothing",
		run:     mispaired,
	},
	{
		name:    "40_schema_and_counters_of_another_build",
		callers: "nothing while the format is the same, and counters of another one are rebuilt; ErrNewerSchema under a schema of another one",
		lost:    "nothing",
		run:     otherBuilds,
	},
	{
		name:    "41_wiped_with_many_idle_skus",
		callers: "nothing",
		lost:    "nothing",
		run:     wipedWithIdleSKUs,
	},
}
