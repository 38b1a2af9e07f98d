//! Prints `<what> <count> <seconds>` lines for the reference's map and log.
//!
//! Usage: entrepot-bench-peer COUNT
//!
//! `insert`: COUNT new keys, one after the other, as the reference server inserts
//! them. `update`: COUNT/10 of these keys get a new value. `log`: COUNT leaves.
//! `resident`: bytes of resident memory a key (and leaf) after the inserts. The last line is
//! the map's root after the inserts, so that the caller can compare trees.

use std::{env, fs, time::Instant};

use sha2::Sha256;
use warg_crypto::hash::Hash;
use warg_transparency::{
    log::{LogBuilder, VecLog},
    map::Map,
};

fn key(i: u64) -> Hash<Sha256> {
    Hash::of(&i.to_le_bytes()[..])
}

fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("reading /proc/self/status");
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("a VmRSS line");
    line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("a number") * 1024
}

fn main() {
    let count: u64 = env::args().nth(1).expect("COUNT").parse().expect("COUNT is a number");
    let before = resident();

    let start = Instant::now();
    let mut map = Map::<Sha256, Hash<Sha256>, Hash<Sha256>>::default();
    for i in 0..count {
        map = map.insert(key(i), key(i));
    }
    println!("insert {count} {}", start.elapsed().as_secs_f64());
    let root = map.root().clone();

    let start = Instant::now();
    let mut log = VecLog::<Sha256, Hash<Sha256>>::default();
    for i in 0..count {
        log.push(&key(i));
    }
    println!("log {count} {}", start.elapsed().as_secs_f64());
    println!("resident {count} {}", (resident() - before) / count);

    let updates = count / 10;
    let start = Instant::now();
    for i in 0..updates {
        map = map.insert(key(i * 10), key(i));
    }
    println!("update {updates} {}", start.elapsed().as_secs_f64());
    println!("root {root}");
}
