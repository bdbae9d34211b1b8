// Stalls runs a command on a machine that stands still from time to time, as shared
// machines do. It exits as the command does.
//
//	stalls [-for 2h] [-busy 8] command [argument ...]
//
// For 0.2 to 2.5 seconds, every 2 to 5 seconds, it takes all processors: at real-time
// priority where the system lets it (on Linux, root), so that next to nothing else runs,
// and with many busy threads elsewhere. Beside that, 8 busy loops run all the time. All of
// it ends with the command, which is ended itself when its time is over.
//
// make stalls runs the tests so: a test that depends on how fast the machine is fails.
package main
