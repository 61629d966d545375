//! What a call carries beside its message: the token of the run, and the number of the node that it is for.
//!
//! ```text
//!   caller ── Credentials ── kiwi-token, kiwi-receiver-id ──▶ Authenticator ──▶ service
//!             (interceptor)                                   (in the node, and in the proxy before it)
//! ```
//!
//! The token keeps other users of the machine, and other runs, out of a cluster. The receiver's id keeps a call from
//! being answered by a node that took over the port of another one. Both are checked before the message is looked at:
//! a call that is refused has done nothing and never will, and its status says so (`kiwi-outcome: not-applied`).

use std::fmt;

use http::HeaderMap;
use rand::TryRng;
use rand::rngs::SysRng;
use subtle::ConstantTimeEq;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

/// The environment variable that tells a node its token. (A command line can be read by every user of the machine, an
/// environment by the same user only: proc(5).)
pub const TOKEN_VARIABLE: &str = "WHITEWATER_TOKEN";

/// The request's metadata that holds the token.
pub const TOKEN: &str = "kiwi-token";
/// The request's metadata that holds the number of the node that the call is for.
pub const RECEIVER: &str = "kiwi-receiver-id";
/// The metadata of a status that says what is known of the request: [`NOT_APPLIED`] or [`UNKNOWN`].
pub const OUTCOME: &str = "kiwi-outcome";
/// The request was refused before it was proposed, and never will be applied.
pub const NOT_APPLIED: &str = "not-applied";
/// The request may have been applied, or may yet be.
pub const UNKNOWN: &str = "unknown";

/// Bytes of a random token: nobody guesses 128 bits.
const RANDOM_BYTES: usize = 16;
/// Characters of a token that somebody chose, at most.
const MAX_TOKEN: usize = 256;

/// A shared secret. It is never printed, also not by `Debug`, but where [`Token::reveal`] is asked for it.
#[derive(Clone)]
pub struct Token(MetadataValue<Ascii>);

/// Why there is no token.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TokenError {
    /// An empty token would keep nobody out; it is what a missing file leaves in a shell's variable.
    #[error("the token is empty")]
    Empty,
    /// It has to travel in a header, and be typed.
    #[error("a token is at most {MAX_TOKEN} printable ASCII characters without spaces")]
    Malformed,
    /// The operating system has no random numbers.
    #[error("get random bytes from the system: {0}")]
    Random(String),
}

impl Token {
    /// A new token, from the operating system's random numbers: a run's seed is printed, and must not tell it.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn random() -> Result<Token, TokenError> {
        let mut bytes = [0; RANDOM_BYTES];
        let filled = SysRng.try_fill_bytes(&mut bytes);
        filled.map_err(|error| TokenError::Random(error.to_string()))?;
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Token::new(&text)
    }

    /// The token that this process was started with; `None` where [`TOKEN_VARIABLE`] is not set.
    ///
    /// # Errors
    /// When the variable is set to what is no token.
    pub fn from_environment() -> Result<Option<Token>, TokenError> {
        let Some(given) = std::env::var_os(TOKEN_VARIABLE) else {
            return Ok(None);
        };
        let text = given.to_str().ok_or(TokenError::Malformed)?;
        Token::new(text).map(Some)
    }

    /// A token that somebody chose.
    ///
    /// # Errors
    /// When it is empty, too long, or has other characters than printable ASCII.
    pub fn new(text: &str) -> Result<Token, TokenError> {
        if text.is_empty() {
            return Err(TokenError::Empty);
        }
        if text.len() > MAX_TOKEN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Malformed);
        }
        let mut value = MetadataValue::try_from(text).map_err(|_| TokenError::Malformed)?;
        // Neither printed by `Debug` nor kept in HTTP/2's header tables.
        value.set_sensitive(true);
        Ok(Token(value))
    }

    /// The secret itself, to be handed to a child or kept in a file that only its owner reads.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// Whether `given` is this token. It takes as long for a wrong one as for the right one: time tells nothing.
    #[must_use]
    pub fn is(&self, given: &[u8]) -> bool {
        self.0.as_encoded_bytes().ct_eq(given).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// A channel whose calls carry credentials.
pub type AuthorizedChannel = InterceptedService<Channel, Credentials>;

/// What every call to one node carries.
#[derive(Clone, Debug)]
pub struct Credentials {
    token: Option<Token>,
    receiver: MetadataValue<Ascii>,
}

impl Credentials {
    /// For calls to this node; `None` where it asks for no token.
    #[must_use]
    pub fn new(token: Option<Token>, receiver: u64) -> Credentials {
        let receiver = MetadataValue::from(receiver);
        Credentials { token, receiver }
    }

    /// The channel, whose calls carry them from now on.
    #[must_use]
    pub fn on(self, channel: Channel) -> AuthorizedChannel {
        InterceptedService::new(channel, self)
    }
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        if let Some(Token(token)) = &self.token {
            metadata.insert(TOKEN, token.clone());
        }
        metadata.insert(RECEIVER, self.receiver.clone());
        Ok(request)
    }
}

/// Lets in what is for this node and knows its token.
#[derive(Clone, Debug)]
pub struct Authenticator {
    token: Option<Token>,
    node: u64,
}

impl Authenticator {
    /// For this node. Without a token everybody may call it, and need not say which node is meant.
    #[must_use]
    pub fn new(token: Option<Token>, node: u64) -> Authenticator {
        Authenticator { token, node }
    }

    /// Looks at a request's headers.
    ///
    /// # Errors
    /// UNAUTHENTICATED without the token, FAILED_PRECONDITION where another node is meant, or none where there is a
    /// token. Nothing has been done then.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), Status> {
        if let Some(token) = &self.token {
            match headers.get(TOKEN) {
                Some(given) if token.is(given.as_bytes()) => {}
                Some(_) => return Err(refusal(Code::Unauthenticated, "it is another token")),
                None => {
                    let reason = format!("a call has to carry the token as {TOKEN}");
                    return Err(refusal(Code::Unauthenticated, reason));
                }
            }
        }
        let node = self.node;
        let meant = headers.get(RECEIVER);
        let meant = meant.map(|value| String::from_utf8_lossy(value.as_bytes()));
        match meant {
            Some(meant) if meant.parse() == Ok(node) => Ok(()),
            Some(meant) => {
                let reason = format!("the call is for node {meant:.20}, and this is node {node}");
                Err(refusal(Code::FailedPrecondition, reason))
            }
            None if self.token.is_none() => Ok(()),
            None => {
                let reason = format!("a call has to name its node as {RECEIVER}; this is {node}");
                Err(refusal(Code::FailedPrecondition, reason))
            }
        }
    }
}

impl Interceptor for Authenticator {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        self.check(request.metadata().as_ref())?;
        Ok(request)
    }
}

fn refusal(code: Code, reason: impl Into<String>) -> Status {
    let mut status = Status::new(code, reason);
    let outcome = MetadataValue::from_static(NOT_APPLIED);
    status.metadata_mut().insert(OUTCOME, outcome);
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> Token {
        Token::new(text).expect("a token")
    }

    /// The headers of a call that carries these credentials.
    fn headers(token: Option<&str>, receiver: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [(TOKEN, token), (RECEIVER, receiver)] {
            if let Some(value) = value {
                headers.insert(name, value.parse().expect("a header"));
            }
        }
        headers
    }

    #[test]
    fn a_call_needs_the_token_and_the_node_that_it_is_for() {
        use Code::{FailedPrecondition, Ok, Unauthenticated};
        let guarded = Authenticator::new(Some(token("secret")), 2);
        let open = Authenticator::new(None, 2);
        for (given, receiver, at_guarded, at_open) in [
            (Some("secret"), Some("2"), Ok, Ok),
            (
                Some("secret"),
                Some("3"),
                FailedPrecondition,
                FailedPrecondition,
            ),
            (
                Some("secret"),
                Some("x"),
                FailedPrecondition,
                FailedPrecondition,
            ),
            (
                Some("secret"),
                Some(""),
                FailedPrecondition,
                FailedPrecondition,
            ),
            (Some("secret"), None, FailedPrecondition, Ok),
            (Some("Secret"), Some("2"), Unauthenticated, Ok),
            (Some("secret "), Some("2"), Unauthenticated, Ok),
            (Some("secre"), Some("2"), Unauthenticated, Ok),
            (Some(""), Some("2"), Unauthenticated, Ok),
            (None, Some("2"), Unauthenticated, Ok),
            (None, None, Unauthenticated, Ok),
        ] {
            let headers = headers(given, receiver);
            for (authenticator, expected) in [(&guarded, at_guarded), (&open, at_open)] {
                let checked = authenticator.check(&headers);
                let code = checked.as_ref().map_or_else(Status::code, |()| Ok);
                assert_eq!(code, expected, "{given:?} {receiver:?}: {checked:?}");
                if let Err(status) = checked {
                    let outcome = status.metadata().get(OUTCOME);
                    assert_eq!(outcome.expect("it is said"), NOT_APPLIED);
                    assert!(!status.message().contains("secret"), "{status:?}");
                }
            }
        }
    }

    #[test]
    fn credentials_are_what_the_authenticator_asks_for() {
        let secret = Some(token("secret"));
        let mut credentials = Credentials::new(secret.clone(), 7);
        let call = credentials.call(Request::new(())).expect("it goes out");
        let headers = call.metadata().as_ref();
        assert!(Authenticator::new(secret.clone(), 7).check(headers).is_ok());
        assert!(Authenticator::new(secret, 8).check(headers).is_err());
    }

    #[test]
    fn a_token_is_printed_nowhere_by_accident() {
        let token = token("secret");
        let credentials = Credentials::new(Some(token.clone()), 7);
        let sent = credentials.clone().call(Request::new(())).expect("a call");
        let authenticator = Authenticator::new(Some(token.clone()), 7);
        let printed = format!("{token:?} {credentials:?} {sent:?} {authenticator:?}");
        assert!(!printed.contains("secret"), "{printed}");
    }

    #[test]
    fn what_is_no_token_is_refused_and_random_ones_differ() {
        assert_eq!(Token::new("").err(), Some(TokenError::Empty));
        let long = "x".repeat(MAX_TOKEN + 1);
        for text in ["a b", "a\n", "ä", &long] {
            assert_eq!(
                Token::new(text).err(),
                Some(TokenError::Malformed),
                "{text}"
            );
        }
        let [one, two] = [Token::random(), Token::random()].map(|token| token.expect("random"));
        assert_eq!(one.reveal().len(), 2 * RANDOM_BYTES);
        assert!(one.is(one.reveal().as_bytes()) && !one.is(two.reveal().as_bytes()));
    }
}
