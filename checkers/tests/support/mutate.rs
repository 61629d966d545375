//! Damages files at random and feeds them to every reader: none may panic, whatever it is fed.

use checkers::format::{self, Format};
use checkers::linear::{Options, check};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Small files in each format.
const FILES: [&str; 8] = [
    "{\"whitewater\":1,\"spec\":\"register\",\"seed\":7}\n{\"index\":0,\"time_ns\":1,\"client\":1,\"type\":\"invoke\",\"f\":\"write\",\"key\":\"x\",\"value\":1}\n{\"index\":1,\"time_ns\":2,\"client\":1,\"type\":\"ok\",\"value\":null,\"at\":{\"term\":1,\"index\":4}}\n{\"index\":2,\"time_ns\":3,\"client\":2,\"type\":\"invoke\",\"f\":\"cas\",\"key\":\"x\",\"value\":[1,\"b\"]}\n{\"index\":3,\"time_ns\":4,\"client\":2,\"type\":\"info\",\"error\":\"timed out\"}\n{\"index\":4,\"time_ns\":4,\"type\":\"mark\",\"value\":\"kill\"}\n",
    "[{:index 0, :type :invoke, :process 0, :f :write, :value [:x 1]} ; comment\n {:index 1, :type :ok, :process 0, :f :write, :value [:x 1]}\n #_ skipped {:type :invoke, :process 1, :f :cas, :value [:x [1 2]]}\n {:type :info, :process :nemesis, :f :kill, :value #{1 2N}}]\n",
    "[{\"type\":\"invoke\",\"f\":\"read\",\"process\":0,\"value\":null},\n{\"type\":\"ok\",\"f\":\"read\",\"process\":0,\"value\":\"a\\u00e9\\n\"}]\n",
    "0\t:invoke\t:write\t1\n1\t:invoke\t:read\tnil\n0\t:ok\t:write\t1\n1\t:fail\t:read\tnil\t:timed-out\n:nemesis\t:info\t:start\t\"cut\"\n",
    "{\"whitewater\":1,\"spec\":\"list-append\"}\n{\"index\":0,\"client\":1,\"type\":\"invoke\",\"f\":\"append\",\"key\":\"x\",\"value\":1}\n{\"index\":1,\"client\":1,\"type\":\"ok\",\"value\":null}\n{\"index\":2,\"client\":2,\"type\":\"invoke\",\"f\":\"read\",\"key\":\"x\"}\n{\"index\":3,\"client\":2,\"type\":\"ok\",\"value\":[1,\"b\",[2]]}\n",
    "{:process 0, :type :invoke, :f :append, :key \"0\", :value \"x 0 y\"}\n{:process 1, :type :invoke, :f :put, :key \"0\", :value \"\\u00e9\"}\n{:process 0, :type :ok, :f :append, :key \"0\", :value \"x 0 y\"}\n{:process 2, :type :invoke, :f :get, :key \"0\", :value nil}\n{:process 2, :type :ok, :f :get, :key \"0\", :value \"x 0 y\"}\n",
    "[{:type :invoke, :process 0, :f :txn, :value [[:append 5 1]]}\n {:type :ok, :process 0, :f :txn, :value [[:append 5 1]]}\n {:type :invoke, :process 0, :f :txn, :value [[:r 5 nil]]}\n {:type :ok, :process 0, :f :txn, :value [[:r 5 [1 2]]]}]\n",
    "INFO  jepsen.util - 0 :invoke :cas [1 2]\nINFO  jepsen.util - 1\t:invoke\t:read\tnil\nINFO  jepsen.util - 0 :info :cas :timed-out\nINFO  jepsen.util - 1 :ok :read nil\n",
];

/// What the damage is made of.
const PIECES: [&[u8]; 20] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"(",
    b"\"",
    b":",
    b",",
    b"#",
    b"\\",
    b"\n",
    b"\xff",
    b"\0",
    b"nil",
    b"-9223372036854775808",
    b"18446744073709551616",
    b":type",
    b"1e999",
    b"#_",
    b"\\ud800",
];

/// Feeds the damaged file of `seed` to every reader, and what is read to the judge; gives whether any could read it.
pub(crate) fn survives(seed: u64) -> bool {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut bytes = FILES[rng.random_range(0..FILES.len())].as_bytes().to_vec();
    for _ in 0..rng.random_range(1..8) {
        damage(&mut bytes, &mut rng);
    }
    let mut readable = false;
    for format in [None].into_iter().chain(Format::ALL.map(Some)) {
        if let Ok(loaded) = format::read(bytes.as_slice(), "damaged", format, None) {
            readable = true;
            let options = Options {
                budget: 1_000,
                ..Options::default()
            };
            let _ = check(&loaded.history, &options);
            let _ = loaded.history.lint();
            let mut out = Vec::new();
            for format in [Format::Jsonl, Format::Edn] {
                format::write(&mut out, &loaded.history, format)
                    .expect("a vector takes everything");
            }
        }
    }
    readable
}

fn damage(bytes: &mut Vec<u8>, rng: &mut impl Rng) {
    let at = rng.random_range(0..=bytes.len());
    let other = rng.random_range(0..=bytes.len());
    let (from, to) = (at.min(other), at.max(other));
    match rng.random_range(0..6) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(from..to)),
        2 => {
            let copy = bytes[from..to].to_vec();
            bytes.splice(at..at, copy);
        }
        3 if !bytes.is_empty() => {
            let at = at.min(bytes.len() - 1);
            bytes[at] = rng.random();
        }
        _ => {
            let piece = PIECES[rng.random_range(0..PIECES.len())];
            bytes.splice(at..at, piece.iter().copied());
        }
    }
}
