package inventory

// CheckClocks compares the clocks of nodes.
var CheckClocks = checkClocks
