//! Values to bytes and back, in the encoding that Kiwi writes: bincode, legacy configuration.
//!
//! Fixed-width little-endian integers, `u64` lengths, `u32` variants. Everything the node stores is written with it.

use std::io;

use serde::{Serialize, de::DeserializeOwned};

/// Encodes `value`.
///
/// # Panics
/// Never for our own types: none of them has a sequence of unknown length.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    bincode::serde::encode_to_vec(value, bincode::config::legacy())
        .expect("the node's own types encode")
}

/// Decodes one value that is all of `bytes`.
///
/// # Errors
/// `InvalidData` when the bytes end early, hold no such value, or go on after it.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    let (value, used) = bincode::serde::decode_from_slice(bytes, bincode::config::legacy())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    if used != bytes.len() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} bytes follow the value", bytes.len() - used),
        ));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::super::types::{Binlog, BinlogEntry, Operation};
    use super::*;

    /// PROTOCOL's golden vector: what Kiwi writes for one put and one delete.
    const GOLDEN: &str = "00000000070000000200000000000000000000000100000001000000000000006b01010000000000000076000000000200000001000000000000006400";

    fn golden_binlog() -> Binlog {
        let entry = |op, key: &str, value: Option<&str>| BinlogEntry {
            cf_idx: 0,
            op,
            key: key.into(),
            value: value.map(Into::into),
        };
        Binlog {
            db_id: 0,
            slot_idx: 7,
            entries: vec![
                entry(Operation::Put, "k", Some("v")),
                entry(Operation::Delete, "d", None),
            ],
        }
    }

    fn golden_bytes() -> Vec<u8> {
        (0..GOLDEN.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&GOLDEN[at..at + 2], 16).expect("hexadecimal"))
            .collect()
    }

    #[test]
    fn a_binlog_is_byte_for_byte_what_kiwi_writes() {
        assert_eq!(encode(&golden_binlog()), golden_bytes());
        assert_eq!(
            decode::<Binlog>(&golden_bytes()).expect("golden"),
            golden_binlog()
        );
    }

    #[test]
    fn trailing_and_missing_bytes_are_refused() {
        let mut long = golden_bytes();
        long.push(0);
        assert!(decode::<Binlog>(&long).is_err());
        for length in 0..golden_bytes().len() {
            assert!(
                decode::<Binlog>(&golden_bytes()[..length]).is_err(),
                "{length}"
            );
        }
    }

    #[test]
    fn a_length_that_lies_is_refused_without_allocating_it() {
        let mut lie = golden_bytes();
        lie[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(decode::<Binlog>(&lie).is_err());
    }
}
