// Package testkit holds the house rules of this module as tests: who may import
// whom (the table in ARCHITECTURE.md), one package doc for every package, the
// sizes of files and functions, and that fuzz targets have seeds. It has no code
// that ships.
package testkit
