//! What the bench tells a starter, as bytes: a list of byte strings, each with its length before it.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::process::Resource;

use crate::sys::Interrupts;
use crate::watcher::Want;

/// What a program may use at most. Set before it starts, and inherited by all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Open descriptors, in each process.
    OpenFiles(u64),
    /// Address space of each process, in bytes.
    Memory(u64),
    /// The size that a file may be grown to, in bytes.
    FileSize(u64),
    /// The size of a core dump, in bytes; 0 for none.
    CoreDump(u64),
}

impl Limit {
    pub(crate) fn resource(self) -> (Resource, u64) {
        match self {
            Limit::OpenFiles(amount) => (Resource::Nofile, amount),
            Limit::Memory(amount) => (Resource::As, amount),
            Limit::FileSize(amount) => (Resource::Fsize, amount),
            Limit::CoreDump(amount) => (Resource::Core, amount),
        }
    }

    fn encode(self) -> [u64; 2] {
        match self {
            Limit::OpenFiles(amount) => [0, amount],
            Limit::Memory(amount) => [1, amount],
            Limit::FileSize(amount) => [2, amount],
            Limit::CoreDump(amount) => [3, amount],
        }
    }

    fn decode(numbers: [u64; 2]) -> Option<Self> {
        Some(match numbers {
            [0, amount] => Limit::OpenFiles(amount),
            [1, amount] => Limit::Memory(amount),
            [2, amount] => Limit::FileSize(amount),
            [3, amount] => Limit::CoreDump(amount),
            _ => return None,
        })
    }
}

/// Everything that a starter must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Orders {
    /// A path, or a name to be looked for in the environment's `PATH`.
    pub(crate) program: OsString,
    pub(crate) args: Vec<OsString>,
    /// The whole environment.
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) folder: Option<OsString>,
    pub(crate) limits: Vec<Limit>,
    pub(crate) wants: Vec<Want>,
    /// The best that is wanted; what the kernel can do is tried.
    pub(crate) interrupts: Interrupts,
}

impl Orders {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        string(&mut out, self.program.as_bytes());
        count(&mut out, self.args.len());
        for arg in &self.args {
            string(&mut out, arg.as_bytes());
        }
        count(&mut out, self.env.len());
        for (name, value) in &self.env {
            string(&mut out, name.as_bytes());
            string(&mut out, value.as_bytes());
        }
        count(&mut out, usize::from(self.folder.is_some()));
        if let Some(folder) = &self.folder {
            string(&mut out, folder.as_bytes());
        }
        count(&mut out, self.limits.len());
        for limit in &self.limits {
            numbers(&mut out, &limit.encode());
        }
        count(&mut out, self.wants.len());
        for want in &self.wants {
            numbers(&mut out, &encode_want(want));
        }
        numbers(
            &mut out,
            &[u64::from(self.interrupts == Interrupts::Withheld)],
        );
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let program = from.string()?;
        let args = from.list(Reader::string)?;
        let env = from.list(|from| Some((from.string()?, from.string()?)))?;
        let folder = from.list(Reader::string)?.pop();
        let limits = from.list(|from| Limit::decode([from.number()?, from.number()?]))?;
        let wants = from.list(decode_want)?;
        let interrupts = match from.number()? {
            0 => Interrupts::Let,
            _ => Interrupts::Withheld,
        };
        from.0.is_empty().then_some(Self {
            program,
            args,
            env,
            folder,
            limits,
            wants,
            interrupts,
        })
    }
}

fn encode_want(want: &Want) -> [u64; 6] {
    let nr = want.nr().cast_unsigned();
    match *want {
        Want::Always(_) => [0, nr, 0, 0, 0, 0],
        Want::Bits { arg, mask, .. } => [1, nr, arg.into(), mask.into(), 0, 0],
        Want::BothBits {
            bits: [one, two], ..
        } => [
            3,
            nr,
            one.0.into(),
            one.1.into(),
            two.0.into(),
            two.1.into(),
        ],
        Want::Never { errno, .. } => [2, nr, errno.unsigned_abs().into(), 0, 0, 0],
    }
}

fn decode_want(from: &mut Reader<'_>) -> Option<Want> {
    let kind = from.number()?;
    let nr = from.number()?.cast_signed();
    let first = from.number()?;
    let mask = u32::try_from(from.number()?).ok()?;
    let second = u8::try_from(from.number()?).ok()?;
    let second = (second, u32::try_from(from.number()?).ok()?);
    Some(match kind {
        0 => Want::Always(nr),
        1 => Want::Bits {
            nr,
            arg: u8::try_from(first).ok()?,
            mask,
        },
        2 => Want::Never {
            nr,
            errno: i32::try_from(first).ok()?,
        },
        3 => Want::BothBits {
            nr,
            bits: [(u8::try_from(first).ok()?, mask), second],
        },
        _ => return None,
    })
}

fn numbers(out: &mut Vec<u8>, numbers: &[u64]) {
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

fn count(out: &mut Vec<u8>, length: usize) {
    numbers(out, &[length as u64]);
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    count(out, bytes.len());
    out.extend_from_slice(bytes);
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }

    fn string(&mut self) -> Option<OsString> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(OsString::from_vec(bytes.to_vec()))
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let length = self.number()?;
        (0..length).map(|_| item(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_as_they_were_written() {
        let orders = Orders {
            program: "/bin/true".into(),
            args: vec!["a b".into(), OsString::from_vec(vec![0xff, 0xfe])],
            env: vec![("PATH".into(), "/bin".into()), ("EMPTY".into(), "".into())],
            folder: Some("/tmp".into()),
            limits: vec![Limit::OpenFiles(64), Limit::FileSize(u64::MAX)],
            wants: vec![
                Want::Always(42),
                Want::Bits {
                    nr: 9,
                    arg: 3,
                    mask: 1,
                },
                Want::Never { nr: 425, errno: 38 },
                Want::BothBits {
                    nr: 202,
                    bits: [(1, 8), (3, u32::MAX)],
                },
            ],
            interrupts: Interrupts::Withheld,
        };
        let bytes = orders.encode();
        assert_eq!(Orders::decode(&bytes), Some(orders));
        assert_eq!(Orders::decode(&bytes[1..]), None);
        assert_eq!(Orders::decode(&bytes[..bytes.len() - 1]), None);
    }
}
