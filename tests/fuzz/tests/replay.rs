//! Every corpus again, and random changes of it for some seconds: `FUZZ_SECONDS` for each target, 2 if that
//! is not set. A panic names the words that led to it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::panic::catch_unwind;
use std::path::Path;
use std::time::{Duration, Instant};

use fuzz::{TARGETS, Target};

fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let mut files: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Random enough, and the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides.max(1) as u64) as usize
    }
}

/// Changes some words a little: bytes, pieces, and parts of others.
fn change(words: &mut Vec<u8>, others: &[Vec<u8>], dice: &mut Dice) {
    for _ in 0..=dice.roll(4) {
        let at = dice.roll(words.len() + 1);
        let end = (at + dice.roll(16)).min(words.len());
        match dice.roll(6) {
            0 if at < words.len() => words[at] ^= 1 << dice.roll(8),
            1 if at < words.len() => words[at] = [0, 1, 0x7f, 0x80, 0xff, b'"', b'{', b'\n'][dice.roll(8)],
            2 => drop(words.drain(at..end)),
            3 => drop(words.splice(at..at, words[at..end].to_vec())),
            4 => words.truncate(at),
            _ => {
                let other = &others[dice.roll(others.len())];
                let from = dice.roll(other.len() + 1);
                let to = (from + dice.roll(64)).min(other.len());
                drop(words.splice(at..end, other[from..to].iter().copied()));
            }
        }
    }
}

fn read(target: &Target, words: &[u8]) {
    if catch_unwind(|| (target.read)(words)).is_err() {
        panic!("{} fails on {:?}", target.name, String::from_utf8_lossy(words));
    }
}

fn try_for(target: &Target, time: Duration) {
    let corpus = corpus(target);
    corpus.iter().for_each(|words| read(target, words));
    let (mut dice, start, mut count) = (Dice(0x6d76_732d_6574_6830), Instant::now(), 0);
    while start.elapsed() < time {
        let mut words = corpus[dice.roll(corpus.len())].clone();
        change(&mut words, &corpus, &mut dice);
        read(target, &words);
        count += 1;
    }
    println!("{}: {} of the corpus, {count} more", target.name, corpus.len());
}

#[test]
fn no_words_of_others_make_a_reader_panic() {
    let seconds = std::env::var("FUZZ_SECONDS").map_or(2, |seconds| seconds.parse().unwrap());
    for target in TARGETS {
        try_for(&target, Duration::from_secs(seconds));
    }
}
