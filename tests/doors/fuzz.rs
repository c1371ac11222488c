//! Bytes from outside: every input of the corpus, every seed, and random changes of both keep the
//! rule of their target. cargo-fuzz looks for more inputs with the same targets (`fuzz/run`).
//! Inputs that it finds go into the corpus, `fuzz/corpus/TARGET`.
//!
//! `FUZZ_SEED` sets the seed of the random changes, which is 0 without it. `FUZZ_CHANGES` sets the
//! number of changes for each target. With `FUZZ_SEEDS_DIR` the test only writes the seeds there,
//! as a start for cargo-fuzz.

mod seeds;
#[path = "fuzz/targets.rs"]
mod targets;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::common::random::Random;

/// Random changes for each target, unless `FUZZ_CHANGES` sets another number.
const CHANGES: u64 = 500;

macro_rules! targets {
    ($($name:ident)+) => {
        const NAMES: &[&str] = &[$(stringify!($name)),+];
        $(#[test]
        fn $name() {
            holds(stringify!($name), targets::$name::run);
        })+
    };
}

targets! { frame request reply fast_path http records snapshot files config lines }

fn holds(name: &str, target: fn(&[u8])) {
    let seeds = seeds::of(name);
    if let Some(dir) = std::env::var_os("FUZZ_SEEDS_DIR") {
        return write(&Path::new(&dir).join(name), &seeds);
    }
    let inputs: Vec<Vec<u8>> = seeds.into_iter().chain(corpus(name)).collect();
    let replay = format!("cargo test --test doors fuzz::{name}");
    for input in &inputs {
        Tried { input, replay: &replay }.by(target);
    }
    let number = |variable: &str| std::env::var(variable).ok().map(|text| text.parse().unwrap());
    let seed = number("FUZZ_SEED").unwrap_or_default();
    let changes = number("FUZZ_CHANGES").unwrap_or(CHANGES);
    let replay = format!("FUZZ_SEED={seed} FUZZ_CHANGES={changes} {replay}");
    let mut random = Random::new(seed);
    for _ in 0..changes {
        let input = &changed(&inputs, &mut random);
        Tried { input, replay: &replay }.by(target);
    }
}

/// An input that is being tried. If it fails, it is printed.
struct Tried<'a> {
    input: &'a [u8],
    replay: &'a str,
}

impl Tried<'_> {
    fn by(self, target: fn(&[u8])) {
        target(self.input);
    }
}

impl Drop for Tried<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the input: {}", crate::common::vectors::hex(self.input));
            eprintln!("to repeat: {}", self.replay);
        }
    }
}

/// One of the inputs with a few changes. Some of them insert parts of other inputs.
fn changed(inputs: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let any = |random: &mut Random| &inputs[index(random, inputs.len())];
    let mut input = any(random).clone();
    for _ in 0..=random.below(4) {
        let at = index(random, input.len() + 1);
        let end = (at + index(random, 1 + (input.len() - at).min(32))).min(input.len());
        match random.below(6) {
            0 => input.truncate(at),
            1 => drop(input.drain(at..end)),
            2 => drop(input.splice(at..at, random.draw().to_be_bytes())),
            3 => drop(input.splice(end..end, input[at..end].to_vec())),
            4 => {
                let other = any(random);
                let from = index(random, other.len() + 1);
                let to = (from + index(random, 64)).min(other.len());
                drop(input.splice(at..end, other[from..to].iter().copied()));
            }
            _ => {
                let mask = 1 << random.below(8);
                input.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= mask);
            }
        }
    }
    input
}

fn index(random: &mut Random, count: usize) -> usize {
    usize::try_from(random.below(count.max(1) as u64)).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The target's inputs in the corpus.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(root().join("corpus").join(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn write(dir: &Path, seeds: &[Vec<u8>]) {
    fs::create_dir_all(dir).unwrap();
    for (number, seed) in seeds.iter().enumerate() {
        fs::write(dir.join(format!("seed-{number:03}")), seed).unwrap();
    }
}

#[test]
fn every_target_has_a_corpus_and_is_known_to_cargo_fuzz() {
    let stems = |dir: &str| -> BTreeSet<String> {
        let paths = fs::read_dir(root().join(dir)).unwrap().map(|entry| entry.unwrap().path());
        paths.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    let names: BTreeSet<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(stems("corpus"), names);
    assert_eq!(stems("fuzz_targets"), names);
}
