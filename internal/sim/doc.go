// Package sim is a deterministic simulation of a whole site: an authority, the replica
// of an upstream, a mirror of ours elsewhere, publishers and readers, on a disk, a
// database and a network that fail as the real ones were seen to. There is nothing in
// it but tests.
//
// One seed decides everything. The actors are goroutines, but only one at a time goes
// on: each waits at every point where the world could interfere (before an operation,
// at every failpoint of a publish, at every message to an upstream) until the
// scheduler lets it pass, and the scheduler draws who is next, when the process dies,
// and how much time goes by, from the seed. Time is that of testing/synctest. So a
// seed that failed fails again:
//
//	make sim SEEDS=100000            many seeds
//	make sim SEED=4711               one, with its whole story
//
// A judge of its own sees everything that anybody was told, and says at every step
// whether it can be true together with all that was told before.
//
// Beside it stand drills: a registry whose only backup is a full mirror loses its disk,
// or finds an old one in its place, and is brought back from the mirror, with one who
// remembers everything that was ever shown looking on. One thing happens after another
// there, also drawn from a seed:
//
//	make drills DRILLS=10000         many
//	make drills DRILL=4711           one, with its whole story
package sim
