// Package space watches how much room is left on the disk of a registry, and keeps
// some of it in hand.
//
// Below a mark nothing is taken in any more: [Watch.Enough] says so, before any store
// meets the end of the disk in the middle of something. The default mark is the
// smaller of 2 GiB and a twentieth of the file system.
//
// The ballast is a file without meaning that takes the smaller of 256 MiB and a
// hundredth of the file system, truly allocated. A process that starts where less is
// left than the mark deletes it before it opens a database ([Watch.Relieve]): what a
// start has to write finds room then, and reading goes on. Room counts the same with
// the ballast and without it, so that deleting it does not let anything in. It is made
// again by itself once there is room for it above the mark ([Watch.Tend]). A file
// system below 100 MiB has none: a hundredth of it would help nobody. Files can run out
// as bytes can, so up to 64 empty ones are kept, and given up, with the ballast.
package space
