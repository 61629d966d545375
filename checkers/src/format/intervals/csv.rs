//! CSV: a first line that names the columns, and one operation a line; commas, semicolons or tabs between them.

use csv::{ByteRecord, ReaderBuilder};

use super::Gathered;
use super::rows::Rows;
use crate::format::members::{Member, Members};
use crate::format::text::Text;
use crate::format::tree::Tree;
use crate::format::{Error, Loaded};
use crate::history::{Builder, Header, Nil};

/// Whether the first line names the columns of operations as intervals.
pub(in crate::format) fn is_one(text: &[u8]) -> bool {
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let separator = separator(line.as_bytes());
    let names = line.trim().split(separator as char);
    let entries: Vec<_> = names
        .map(|name| (Tree::Text(name.trim_matches('"').to_owned()), Tree::Nil))
        .collect();
    let Ok(members) = Members::of(&entries) else {
        return false;
    };
    [Member::Begin, Member::End, Member::F]
        .iter()
        .all(|member| members.get(*member).is_some())
}

/// What stands between the columns.
fn separator(line: &[u8]) -> u8 {
    let count = |wanted: u8| line.iter().filter(|byte| **byte == wanted).count();
    let most = [b',', b';', b'\t']
        .into_iter()
        .max_by_key(|byte| (count(*byte), *byte == b','));
    most.unwrap_or(b',')
}

/// Reads operations.
///
/// # Errors
/// When a line can't be understood; it is named.
pub(in crate::format) fn read(text: &Text<'_>, nil: Option<Nil>) -> Result<Loaded, Error> {
    let first = text
        .bytes
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let mut reader = ReaderBuilder::new()
        .delimiter(separator(first))
        .from_reader(text.bytes);
    let wrong = |at: u64, error: &csv::Error| text.malformed(at as usize, error.to_string());
    let headers = match reader.headers() {
        Ok(headers) => headers.clone(),
        Err(error) => return Err(wrong(0, &error)),
    };
    let mut gathered = Gathered::new(text, Builder::new(Header::default()));
    let mut rows = Rows::new(nil);
    let mut record = ByteRecord::new();
    loop {
        let at = reader.position().byte();
        match reader.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => return Err(wrong(at, &error)),
        }
        let at = record.position().map_or(at, csv::Position::byte) as usize;
        let mut entries = Vec::with_capacity(headers.len());
        for (name, cell) in headers.iter().zip(&record) {
            let cell = std::str::from_utf8(cell)
                .map_err(|_| text.malformed(at, "bytes that are no UTF-8"))?;
            entries.push((Tree::Text(name.trim().to_owned()), value_of(cell)));
        }
        let taken = rows.take(&entries, gathered.builder.names());
        let mut one = taken.map_err(|reason| text.malformed(at, reason))?;
        one.at = at;
        gathered.intervals.push(one);
    }
    rows.finish(gathered)
}

/// What a cell holds: an integer in the one way to write it, or a text as it stands.
fn value_of(cell: &str) -> Tree {
    match cell.parse::<i64>() {
        _ if cell.is_empty() => Tree::Nil,
        Ok(number) if number.to_string() == cell => Tree::Int(number),
        _ => Tree::Text(cell.to_owned()),
    }
}
