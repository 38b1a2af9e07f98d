// Program sabotage proves that the tests can fail. It breaks one promise of the server
// at a time, by a change of a few words in one file, and runs the test that says it
// guards the promise: that test must fail, and pass without the change.
//
//	make sabotage                    every mutant
//	make sabotage SABOTAGE=anchor    those whose name matches
//	make sabotage SABOTAGE=short     the ten that every change is checked against
//
// A changed file exists only in a temporary folder and is laid over the tree with the
// Go command's -overlay, so nothing in the tree is ever touched. A mutant that does not
// compile is a mistake in the table and not a catch; so is a test that only times out.
//
// The tables are data: where in which file which words are replaced. A test compares
// them with the tree each time the tests run, so that they cannot rot.
package main
