//! A host that allows less: a filter without a listener, as a container's own is, that refuses chosen calls.

use std::process::Command;

/// A call that is refused: its number, the bits of an argument that it must have for that, and the error number.
pub(crate) struct Refused {
    pub(crate) nr: i64,
    pub(crate) bits: Option<(u8, u32)>,
    pub(crate) errno: i32,
}

impl Refused {
    pub(crate) fn always(nr: i64) -> Self {
        Self {
            nr,
            bits: None,
            errno: libc::EPERM,
        }
    }
}

/// In the environment of a test that runs where less is allowed.
const HOBBLED: &str = "MACHINE_HOBBLED";

/// Runs a test of this executable once more where these calls are refused, and gives true; there it gives false.
///
/// # Panics
/// Where the test fails there.
pub(crate) fn once_more(refused: &[Refused], test: &str) -> bool {
    if std::env::var_os(HOBBLED).is_some() {
        return false;
    }
    let this = std::env::current_exe().expect("it has a path");
    let output = hobbled(refused, this.to_str().expect("a path of text"))
        .args(["--exact", test])
        .env(HOBBLED, "1")
        .output()
        .expect("python3 runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
    true
}

/// A command that runs `program` where these calls are refused.
pub(crate) fn hobbled(refused: &[Refused], program: &str) -> Command {
    let rules: String = refused
        .iter()
        .map(|Refused { nr, bits, errno }| {
            let (arg, mask) = bits.unwrap_or((0, 0));
            format!("({nr}, {arg}, {mask}, {errno}),")
        })
        .collect();
    let script = format!(
        "
import ctypes, os, struct, sys
code = b''
def op(code_, jt, jf, k):
    global code
    code += struct.pack('=HBBI', code_, jt, jf, k)
for nr, arg, mask, errno in [{rules}]:
    op(0x20, 0, 0, 0)
    op(0x15, 0, 3 if mask else 1, nr)
    if mask:
        op(0x20, 0, 0, 16 + 8 * arg)
        op(0x45, 0, 1, mask)
    op(0x06, 0, 0, 0x50000 | errno)
op(0x06, 0, 0, 0x7fff0000)
text = ctypes.create_string_buffer(code)
program = struct.pack('HxxxxxxP', len(code) // 8, ctypes.addressof(text))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, program) == 0, os.strerror(ctypes.get_errno())
os.execv(sys.argv[1], sys.argv[1:])"
    );
    let mut command = Command::new(super::python());
    command.args(["-c", &script, program]);
    command
}
