// Package config reads the configuration of the program: one TOML file, the
// environment and a few flags, into plain structs.
//
// It is strict. A key that is not known, a value of the wrong kind or out of
// range, a name that is not one, two settings that contradict each other: each is
// a [Problem] with file, line and column, and [Load] reports all of them at once,
// so that a file is repaired in one go.
//
// Flags win over environment, environment over file, file over defaults. Every
// scalar outside of [upstream] can stand in the environment: its path in capital
// letters, joined by underscores, after ENTREPOT_, so authority.domain is
// ENTREPOT_AUTHORITY_DOMAIN. A variable that is set to nothing counts as not set.
//
// Relative paths are relative to the folder of the file that names them; those of
// the environment and of flags, to the working folder.
//
// Sizes are whole numbers with a unit ("256MiB", "20GiB", "64kB"), a bare number
// means bytes. Durations are those of Go ("60s", "1h30m"), and whole days ("7d").
package config
