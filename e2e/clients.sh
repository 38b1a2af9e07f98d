#!/usr/bin/env bash
# Builds the real clients that the end-to-end tests drive, each at its pinned version in
# its own folder, once per machine: ${ENTREPOT_CLIENTS:-~/.cache/entrepot-clients}/<crate>-<version>.
# What is already there and answers is skipped, so a second run takes a second; one that
# was interrupted goes on where it stopped. All builds share one target folder, which is
# removed when everything is there. From nothing: about 30 minutes on two cores.
set -euo pipefail

cache=${ENTREPOT_CLIENTS:-$HOME/.cache/entrepot-clients}

# present ROOT CRATE VERSION PROGRAM: installed at this version, and the program runs.
present() {
  [ -x "$1/bin/$4" ] && grep -q "^\"$2 $3 " "$1/.crates.toml" 2>/dev/null && "$1/bin/$4" --help >/dev/null 2>&1
}

# install CRATE VERSION PROGRAM
install() {
  local root="$cache/$1-$2"
  if present "$root" "$1" "$2" "$3"; then
    echo "clients: $1 $2 is there"
    return
  fi
  if ! command -v cargo >/dev/null; then
    echo "clients: $1 $2 is missing and there is no cargo to build it with: install a Rust toolchain (1.76 or later), then run make clients again" >&2
    exit 1
  fi
  echo "clients: building $1 $2"
  # --force: a root whose program went away or does not run is built again.
  CARGO_TARGET_DIR="$cache/target" CARGO_TERM_COLOR=never \
    cargo install "$1" --quiet --locked --force --version "$2" --root "$root"
  if ! present "$root" "$1" "$2" "$3"; then
    echo "clients: $root/bin/$3 was built and does not run" >&2
    exit 1
  fi
}

mkdir -p "$cache"
exec 9>"$cache/.lock"
flock 9 # two runs at once would build everything twice

install warg-server 0.10.0 warg-server
install warg-cli 0.10.0 warg
install warg-cli 0.7.0 warg
install wkg 0.15.1 wkg
install wac-cli 0.10.1 wac
install warg-cli 0.9.2 warg

rm -rf "$cache/target"
echo "clients: all there, below $cache"
