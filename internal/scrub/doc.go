// Package scrub reads again, in the background, what lies on the disk and is rarely
// looked at, so that what the disk has changed is found before somebody needs it.
//
// A [Source] is a kind of files; it knows how to verify one and what to do about damage.
// A [Scrubber] goes through all of them, at a bounded rate and behind other work, once a
// day at most, and goes on after a restart where it was.
package scrub
