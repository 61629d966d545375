//! Which data type a file is of, and its events as that type's.

use std::collections::BTreeMap;

use super::jepsen::typed;
use super::text::Text;
use super::tree::{Reader, Syntax};
use super::{Error, Format, Types, jepsen};
use crate::history::{Header, LIST_APPEND};
use crate::types::{DataType, Loaded, by_name, lines};

/// The type of a text in our own format, by its beginning; `None` where it is a register or a list.
pub(super) fn of_jsonl(
    beginning: &[u8],
    name: &str,
    types: Types,
) -> Result<Option<&'static dyn DataType>, Error> {
    if matches!(types, Types::None) {
        return Ok(None);
    }
    let first = beginning.split(|byte| *byte == b'\n');
    let first = first.map(<[u8]>::trim_ascii).find(|line| !line.is_empty());
    let header: BTreeMap<String, serde_json::Value> = first
        .and_then(|line| serde_json::from_slice(line).ok())
        .unwrap_or_default();
    let header = header.contains_key("whitewater").then_some(header);
    let spec = header.as_ref().and_then(|header| header.get("spec"));
    if let Some(spec) = spec.and_then(|spec| spec.as_str()) {
        return Ok(by_name(spec));
    }
    match types {
        Types::None | Types::Named => Ok(None),
        Types::This(of) => Ok(Some(of)),
        // Whole lines only: what is cut off says nothing.
        Types::Any => {
            let whole = beginning.iter().rposition(|byte| *byte == b'\n');
            let bytes = &beginning[..whole.unwrap_or(beginning.len())];
            let text = Text { name, bytes };
            typed::sniff(&text, Some(Syntax::Json)).map_err(|reason| unclear(name, reason))
        }
    }
}

/// Reads our own format as events of this type.
pub(super) fn read_jsonl(
    bytes: &[u8],
    name: &str,
    of: &'static dyn DataType,
) -> Result<Loaded, Error> {
    let (operations, gap) = lines::operations_only(bytes);
    let text = Text {
        name,
        bytes: &operations,
    };
    let mut loaded = typed::read(&text, Some(Syntax::Json), of)?;
    if let Some(first) = gap {
        loaded.notes.push(format!(
            "{name}: events are lost from #{first} on; what is before that is judged"
        ));
    }
    loaded.gap = gap;
    let first = bytes.split(|byte| *byte == b'\n').next();
    let header = first.and_then(|line| serde_json::from_slice::<Header>(line).ok());
    loaded.budget = header.and_then(|header| header.budget);
    Ok(loaded)
}

/// The type of a text in a format of others; `None` where it is a register or a list.
pub(super) fn of_foreign(
    text: &Text<'_>,
    format: Format,
    types: Types,
) -> Result<Option<&'static dyn DataType>, Error> {
    let Some(syntax) = typed::syntax(format) else {
        return Ok(None);
    };
    let comment = match format {
        Format::Edn => Reader::new(text.bytes, Syntax::Edn).first_comment(),
        _ => None,
    };
    let claim = comment
        .as_deref()
        .and_then(|comment| comment.strip_prefix(jepsen::CLAIM));
    let claimed = claim.and_then(|claim| claim.split([',', ' ']).next());
    match (types, claimed.map(str::trim_end)) {
        (Types::None, _) | (_, Some("register" | LIST_APPEND)) => Ok(None),
        (_, Some(claimed)) if by_name(claimed).is_some() => Ok(by_name(claimed)),
        (Types::Named, _) => Ok(None),
        (Types::This(of), _) => Ok(Some(of)),
        (Types::Any, _) => typed::sniff(text, syntax).map_err(|reason| unclear(text.name, reason)),
    }
}

/// Reads a format of others as events of this type.
pub(super) fn read_foreign(
    text: &Text<'_>,
    format: Format,
    of: &'static dyn DataType,
) -> Result<Loaded, Error> {
    typed::read(text, typed::syntax(format).flatten(), of)
}

fn unclear(name: &str, reason: String) -> Error {
    Error::Unclear {
        name: name.to_owned(),
        reason,
    }
}
