//! Who may speak on a Redis connection: AUTH and HELLO, with the answers that Redis gives.
//!
//! The node's token is the password of the one user, `default`. Where there is a token, nothing else is carried out
//! before it has been given. Decided as a command is read, so also in the middle of a pipeline.

use bytes::Bytes;
use redis_protocol::resp2::types::BytesFrame;

use super::{Answer, Complaint, bulk, simple};
use crate::wire::metadata::Token;

/// The only user.
const USER: &[u8] = b"default";
/// The protocol that is spoken here.
const PROTOCOL: i64 = 2;

const NO_AUTH: &str = "NOAUTH Authentication required.";
const NO_AUTH_FOR_HELLO: &str = "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
     HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol \
     version at the same time";
const WRONG_PASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const NO_PASSWORD: &str = "ERR AUTH <password> called without any password configured for the default user. Are you \
     sure your configuration is correct?";

/// What is known of who is at the other end of a connection.
#[derive(Debug)]
pub(super) struct Session {
    token: Option<Token>,
    authenticated: bool,
}

impl Session {
    /// A connection that has just been made.
    pub(super) fn new(token: Option<Token>) -> Session {
        let authenticated = token.is_none();
        Session {
            token,
            authenticated,
        }
    }

    /// The answer to a command that is about the connection itself, or that may not be carried out on it; `None` where
    /// the command is to be carried out.
    pub(super) fn meet(&mut self, arguments: &[Bytes]) -> Option<Answer> {
        let name = arguments[0].to_ascii_uppercase();
        match (name.as_slice(), &arguments[1..]) {
            (b"AUTH", []) => Some(refuse("ERR wrong number of arguments")),
            (b"AUTH", [_]) if self.token.is_none() => Some(refuse(NO_PASSWORD)),
            (b"AUTH", [password]) => Some(self.log_in(USER, password).map(|()| simple("OK"))),
            (b"AUTH", [user, password]) => Some(self.log_in(user, password).map(|()| simple("OK"))),
            (b"AUTH", _) => Some(refuse("ERR syntax error")),
            (b"HELLO", options) => Some(self.hello(options)),
            (b"QUIT", _) => None,
            _ if self.authenticated => None,
            _ => Some(refuse(NO_AUTH)),
        }
    }

    /// A failure leaves who was logged in before logged in, as in Redis.
    fn log_in(&mut self, user: &[u8], password: &[u8]) -> Result<(), Complaint> {
        let right = self.token.as_ref().is_none_or(|token| token.is(password));
        if user != USER || !right {
            return Err(Complaint(WRONG_PASS.to_owned()));
        }
        self.authenticated = true;
        Ok(())
    }

    /// `HELLO [protover [AUTH user password] [SETNAME name]]`.
    fn hello(&mut self, options: &[Bytes]) -> Answer {
        if let Some(version) = options.first() {
            let version = std::str::from_utf8(version).ok();
            match version.and_then(|version| version.parse::<i64>().ok()) {
                Some(PROTOCOL) => {}
                Some(_) => return refuse("NOPROTO unsupported protocol version"),
                None => {
                    return refuse("ERR Protocol version is not an integer or out of range");
                }
            }
        }
        let mut rest = options.get(1..).unwrap_or_default();
        while let [option, more @ ..] = rest {
            rest = match (option.to_ascii_uppercase().as_slice(), more) {
                (b"AUTH", [user, password, more @ ..]) => {
                    self.log_in(user, password)?;
                    more
                }
                // Names are not kept, as with CLIENT SETNAME.
                (b"SETNAME", [_, more @ ..]) => more,
                _ => {
                    let option = String::from_utf8_lossy(option);
                    let option: String = option.chars().take(64).collect();
                    return refuse(&format!("ERR Syntax error in HELLO option '{option}'"));
                }
            };
        }
        if !self.authenticated {
            return refuse(NO_AUTH_FOR_HELLO);
        }
        Ok(BytesFrame::Array(vec![
            bulk("server"),
            bulk("kiwi"),
            bulk("version"),
            bulk(env!("CARGO_PKG_VERSION")),
            bulk("proto"),
            BytesFrame::Integer(PROTOCOL),
            bulk("mode"),
            bulk("standalone"),
            bulk("modules"),
            BytesFrame::Array(Vec::new()),
        ]))
    }
}

fn refuse(complaint: &str) -> Answer {
    Err(Complaint(complaint.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a session says to a line of words: an error's text, "OK", "hello", or "done" for what is carried out.
    fn say(session: &mut Session, line: &str) -> String {
        let words = line.split(' ');
        let words: Vec<Bytes> = words.map(|word| Bytes::from(word.to_owned())).collect();
        match session.meet(&words) {
            None => "done".to_owned(),
            Some(Ok(BytesFrame::SimpleString(text))) => String::from_utf8_lossy(&text).into_owned(),
            Some(Ok(BytesFrame::Array(_))) => "hello".to_owned(),
            Some(Ok(other)) => panic!("{other:?}"),
            Some(Err(Complaint(text))) => text,
        }
    }

    fn check(token: Option<&str>, lines: &[(&str, &str)]) {
        let token = token.map(|token| Token::new(token).expect("a token"));
        let mut session = Session::new(token);
        for (line, expected) in lines {
            let said = say(&mut session, line);
            assert!(said.starts_with(expected), "{line}: {said}");
        }
    }

    #[test]
    fn nothing_is_carried_out_before_the_password() {
        let refused = [
            "PING", "GET k", "SET k v", "DEL k", "INFO", "COMMAND", "CLIENT x",
        ];
        let refused: Vec<_> = refused.iter().map(|line| (*line, NO_AUTH)).collect();
        check(Some("secret"), &refused);
        check(
            Some("secret"),
            &[
                ("HELLO", NO_AUTH_FOR_HELLO),
                ("HELLO 2", NO_AUTH_FOR_HELLO),
                ("HELLO 2 SETNAME me", NO_AUTH_FOR_HELLO),
                ("GET k", NO_AUTH),
                ("QUIT", "done"),
            ],
        );
    }

    #[test]
    fn only_the_token_of_the_one_user_opens_a_connection() {
        for wrong in [
            ("AUTH other", WRONG_PASS),
            ("AUTH Secret", WRONG_PASS),
            ("AUTH root secret", WRONG_PASS),
            ("AUTH default other", WRONG_PASS),
            ("AUTH", "ERR wrong number of arguments"),
            ("AUTH default secret more", "ERR syntax error"),
            ("HELLO 2 AUTH default other", WRONG_PASS),
            (
                "HELLO 2 AUTH secret",
                "ERR Syntax error in HELLO option 'AUTH'",
            ),
            ("HELLO 3 AUTH default secret", "NOPROTO"),
            ("HELLO x AUTH default secret", "ERR Protocol version"),
        ] {
            check(Some("secret"), &[wrong, ("GET k", NO_AUTH)]);
        }
        for right in [
            ("AUTH secret", "OK"),
            ("auth default secret", "OK"),
            ("HELLO 2 AUTH default secret", "hello"),
            ("hello 2 setname me auth default secret", "hello"),
        ] {
            let still = ("AUTH other", WRONG_PASS);
            check(
                Some("secret"),
                &[right, ("GET k", "done"), still, ("GET k", "done")],
            );
        }
    }

    #[test]
    fn without_a_token_everybody_is_the_one_user() {
        check(
            None,
            &[
                ("GET k", "done"),
                ("AUTH secret", NO_PASSWORD),
                ("AUTH default anything", "OK"),
                ("AUTH root anything", WRONG_PASS),
                ("HELLO", "hello"),
                ("HELLO 3", "NOPROTO"),
                ("GET k", "done"),
            ],
        );
    }
}
