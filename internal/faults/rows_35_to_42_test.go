package faults_test

// fieldRows are rows 35 to 42 of the matrix: what real databases, operators and mistakes
// do to a sale.
var fieldRows = []row{
	{
		name:    "38_counters_ahead_of_postgres",
		callers: "nothing: the counters are rebuilt, by callers who come upon them or by Run",
		lost:    "nothing",
		run:     countersAhead,
	},
}
