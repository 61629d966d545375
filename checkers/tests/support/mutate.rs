//! Damages files at random and feeds them to every reader: none may panic, whatever it is fed.

use checkers::format::{self, Format};
use checkers::linear::{Options, check};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Small files in each format.
const FILES: [&str; 20] = [
    "{\"whitewater\":1,\"spec\":\"register\",\"seed\":7}\n{\"index\":0,\"time_ns\":1,\"client\":1,\"type\":\"invoke\",\"f\":\"write\",\"key\":\"x\",\"value\":1}\n{\"index\":1,\"time_ns\":2,\"client\":1,\"type\":\"ok\",\"value\":null,\"at\":{\"term\":1,\"index\":4}}\n{\"index\":2,\"time_ns\":3,\"client\":2,\"type\":\"invoke\",\"f\":\"cas\",\"key\":\"x\",\"value\":[1,\"b\"]}\n{\"index\":3,\"time_ns\":4,\"client\":2,\"type\":\"info\",\"error\":\"timed out\"}\n{\"index\":4,\"time_ns\":4,\"type\":\"mark\",\"value\":\"kill\"}\n",
    "[{:index 0, :type :invoke, :process 0, :f :write, :value [:x 1]} ; comment\n {:index 1, :type :ok, :process 0, :f :write, :value [:x 1]}\n #_ skipped {:type :invoke, :process 1, :f :cas, :value [:x [1 2]]}\n {:type :info, :process :nemesis, :f :kill, :value #{1 2N}}]\n",
    "[{\"type\":\"invoke\",\"f\":\"read\",\"process\":0,\"value\":null},\n{\"type\":\"ok\",\"f\":\"read\",\"process\":0,\"value\":\"a\\u00e9\\n\"}]\n",
    "0\t:invoke\t:write\t1\n1\t:invoke\t:read\tnil\n0\t:ok\t:write\t1\n1\t:fail\t:read\tnil\t:timed-out\n:nemesis\t:info\t:start\t\"cut\"\n",
    "{\"whitewater\":1,\"spec\":\"list-append\"}\n{\"index\":0,\"client\":1,\"type\":\"invoke\",\"f\":\"append\",\"key\":\"x\",\"value\":1}\n{\"index\":1,\"client\":1,\"type\":\"ok\",\"value\":null}\n{\"index\":2,\"client\":2,\"type\":\"invoke\",\"f\":\"read\",\"key\":\"x\"}\n{\"index\":3,\"client\":2,\"type\":\"ok\",\"value\":[1,\"b\",[2]]}\n",
    "{:process 0, :type :invoke, :f :append, :key \"0\", :value \"x 0 y\"}\n{:process 1, :type :invoke, :f :put, :key \"0\", :value \"\\u00e9\"}\n{:process 0, :type :ok, :f :append, :key \"0\", :value \"x 0 y\"}\n{:process 2, :type :invoke, :f :get, :key \"0\", :value nil}\n{:process 2, :type :ok, :f :get, :key \"0\", :value \"x 0 y\"}\n",
    "[{:type :invoke, :process 0, :f :txn, :value [[:append 5 1]]}\n {:type :ok, :process 0, :f :txn, :value [[:append 5 1]]}\n {:type :invoke, :process 0, :f :txn, :value [[:r 5 nil]]}\n {:type :ok, :process 0, :f :txn, :value [[:r 5 [1 2]]]}]\n",
    "INFO  jepsen.util - 0 :invoke :cas [1 2]\nINFO  jepsen.util - 1\t:invoke\t:read\tnil\nINFO  jepsen.util - 0 :info :cas :timed-out\nINFO  jepsen.util - 1 :ok :read nil\n",
    "2023-04-01 08:00:01,120{UTC}\tINFO\t[jepsen worker 0] jepsen.util: 0\t:invoke\t:txn\t[[:w 9 41]]\n2023-04-01 08:00:01,120{UTC}\tINFO\t[jepsen worker 0] jepsen.util: 0\t:info\t:txn\t#<Timeout>\nINFO jepsen.core: Analyzing...\n0 :ok :read 5\n",
    "Look:\n```edn\n[#history.Op{:index 3, :type :invoke, :process :a, :f :write, :value [4 [nil \\x]]}\n {:type :ok, :process :a, :index 5, :f :write, :value [4 [7 \\x]]} ##NaN]\n```\n",
    "  1: [0 :invoke :write #inst \"2024\"]\n  2: [0 :ok :write #inst \"2024\"]\n  3: [1 :invoke :read nil]\n  4: [1 :ok :read fig]\n",
    "{\"name\": \"x\", \"result\": {\"history\": [\n  {\"clientId\": \"w/0\", \"Type\": \"INVOKE\", \"operation\": \"Set\", \"key\": \"k\", \"arg\": 4.20e1},\n  {\"clientId\": \"w/0\", \"Type\": \"OK\", \"operation\": \"Set\", \"key\": \"k\", \"arg\": 42}], \"more\": [1]}}\n",
    "{\"index\": 0, \"type\": \"invoke\", \"process\": 0, \"value\": [[\"append\", 3, 14]]}\n{\"index\": 0, \"type\": \"ok\", \"process\": 0, \"value\": [[\"append\", 3, 14]]}\n{\"index\": 1, \"type\": \"invoke\", \"process\": 1, \"value\": [[\"r\", 3, null]]}\n",
    "call_ns,return_ns,client_id,op,key,value,output\n1,5,0,PUT,k1,\"pe\"\"ar\",\n6,9,1,GET,k1,,NotFound\n6.5,,2,delete,k1,,\n",
    "{\"start\": 1.25, \"end\": 1.5, \"client\": \"c1\", \"op\": \"cas\", \"key\": \"x\", \"old\": 5, \"new\": 6, \"ok\": true}\n{\"start\": 2, \"end\": null, \"client\": \"c1\", \"op\": \"read\", \"key\": \"x\", \"result\": 5}\n",
    "[{\"ClientId\": 0, \"Input\": {\"Op\": 1, \"Key\": \"a\", \"Value\": \"x\"}, \"Call\": 10, \"Output\": {\"Value\": \"\"}, \"Return\": 20},\n {\"ClientId\": 1, \"Input\": {\"Op\": 2, \"Key\": \"a\", \"Value\": \"yz\"}, \"Call\": 11, \"Output\": {\"Err\": \"ErrMaybe\"}, \"Return\": 22},\n {\"ClientId\": 0, \"Input\": {\"Op\": 0, \"Key\": \"a\", \"Value\": \"\"}, \"Call\": 30, \"Output\": {\"Value\": \"xyz\"}, \"Return\": 40}]\n",
    "{\"ClientId\": 1, \"Input\": {\"Type\": \"txn\", \"Txn\": {\"Conditions\": [{\"Key\": \"k\", \"ExpectedRevision\": 2}], \"OperationsOnSuccess\": [{\"Type\": \"put-operation\", \"Put\": {\"Key\": \"k\", \"Value\": {\"Value\": \"11\", \"Hash\": 0}, \"LeaseID\": 5}}, {\"Type\": \"delete-operation\", \"Delete\": {\"Key\": \"j\"}}], \"OperationsOnFailure\": [{\"Type\": \"range-operation\", \"Range\": {\"Start\": \"k\", \"End\": \"\"}}]}}, \"Call\": 100, \"Output\": {\"Txn\": {\"Failure\": false, \"Results\": [{}, {}]}, \"Revision\": 2, \"Error\": \"\"}, \"Return\": 200}\n{\"ClientId\": 2, \"Input\": {\"Type\": \"range\", \"Range\": {\"Start\": \"a\", \"End\": \"z\", \"Limit\": 0, \"Revision\": 0}}, \"Call\": 150, \"Output\": {\"Range\": {\"KVs\": [{\"Key\": \"k\", \"Value\": {\"Value\": \"\", \"Hash\": 7}, \"ModRevision\": 2}]}, \"Revision\": 2}, \"Return\": 300}\n",
    "\u{feff}{:process 1, :type :invoke, :f :cas, :value (1 2)}\n#_(x) {:process 1, :type :ok, :f :cas, :value [1 2N]}\n",
    "[\"a\", \"invoke\", \"write\", NaN]\n[\"a\", \"ok\", \"write\", NaN]\n[\"b\", \"invoke\", \"read\", null]\n[\"b\", \"info\", \"read\", null, \"late\"]\n",
    "\u{1b}[32mINFO\u{1b}[0m  jepsen.util - [ 90 ] 3  :invoke  :read  nil\nINFO  jepsen.util - [ 91 ] 3  :ok  :read  1/2\nINFO jepsen.util - :nemesis :info :start \"x\"\n",
];

/// What the damage is made of.
const PIECES: [&[u8]; 32] = [
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
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"```\n",
    b"##",
    b"#<",
    b"^",
    b"\\",
    b"1e-30",
    b";",
    b"jepsen.util ",
    b"\"history\":",
    b":invoke",
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
