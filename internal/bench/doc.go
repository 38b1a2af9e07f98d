// Command bench measures a built entrepot and the reference registry server side
// by side, alternating between them in one run, and prints rate, median and 99th
// percentile latency, server CPU per request and, for writes, syncs per
// operation, with the ratio of ours to the reference's. What the reference has
// nothing like, answering for another registry, is measured between two of ours.
//
// Both servers run on loopback on this machine, and so does the load; compare
// only figures of one run. `make bench` builds what it needs and runs it.
package main
