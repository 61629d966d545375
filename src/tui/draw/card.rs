//! A node's card: who it is, where it lives, how to call it, what it believes, and the end of its log.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Widget};

use super::{cluster, text};
use crate::fault::NodeId;
use crate::journal::TOKEN_FILE;
use crate::tui::app::App;
use crate::tui::keys::{self, Verb};
use crate::tui::update::possible_now;

/// The card.
pub(super) struct Card<'a> {
    pub(super) app: &'a App,
    pub(super) node: NodeId,
    pub(super) log: bool,
    pub(super) back: usize,
}

impl Widget for &Card<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let (app, theme) = (self.app, self.app.theme);
        let Some(node) = app.picture.nodes.get(&self.node) else {
            return;
        };
        let area = if self.log {
            area
        } else {
            super::overlays::centred(area, 74, area.height.min(26))
        };
        Clear.render(area, buf);
        // The log is read from its file, which a replay does not roll back.
        let title = match (self.log, app.replay.is_some()) {
            (true, false) => format!("n{}: log", self.node),
            (true, true) => format!("n{}: log, at the end of the run", self.node),
            (false, _) => format!("n{}", self.node),
        };
        let inner = text::frame(buf, area, theme, true, &title, Line::default());
        let mut y = 0;
        if !self.log {
            let width = usize::from(inner.width.saturating_sub(VALUES + 1));
            let facts = self.facts(node).into_iter();
            let facts = facts.map(|(name, value)| (name, broken(&value, width)));
            for (name, lines) in facts.chain(self.commands(node, width)) {
                text::put(buf, inner, 1, y, name, theme.dim());
                for line in lines {
                    text::put(
                        buf,
                        inner,
                        VALUES,
                        y,
                        &theme.glyphs.spell(&line),
                        theme.ok(),
                    );
                    y += 1;
                }
            }
            y += 1;
            y = self.calls(inner, buf, y);
        }
        let foot = inner.height.saturating_sub(1);
        let room = usize::from(foot.saturating_sub(y));
        let lines: &[String] = if app.log.0 == self.node {
            &app.log.1
        } else {
            &[]
        };
        let end = lines
            .len()
            .saturating_sub(self.back)
            .max(room.min(lines.len()));
        for (i, line) in lines[end.saturating_sub(room)..end].iter().enumerate() {
            // A log line is the node's own text: no control character may reach the terminal.
            let plain: String = line.chars().filter(|c| !c.is_control()).collect();
            text::put(
                buf,
                inner,
                1,
                y + i as u16,
                &theme.glyphs.spell(&plain),
                theme.dim(),
            );
        }
        if lines.is_empty() && room > 0 {
            text::put(buf, inner, 1, y, "no log lines", theme.dim());
        }
        let keys: &[(Verb, &str)] = &[
            (Verb::Open, "log"),
            (Verb::Kill, "kill"),
            (Verb::Restart, "restart"),
            (Verb::Pause, "pause"),
            (Verb::Isolate, "isolate"),
            (Verb::CopyPath, "copy"),
            (Verb::Back, "back"),
        ];
        let mut hints = Line::default();
        for (verb, word) in keys
            .iter()
            .filter(|(verb, _)| !self.log || *verb != Verb::Open)
        {
            let possible = possible_now(app, *verb).is_ok();
            let (key, rest) = match possible {
                true => (theme.key(), theme.ok()),
                false => (theme.dim(), theme.dim()),
            };
            hints.push_span(Span::styled(keys::binding(*verb).key(), key));
            hints.push_span(Span::styled(format!(" {word}  "), rest));
        }
        text::put_line(buf, inner, 1, foot, &hints);
    }
}

/// Where the values of the card begin.
const VALUES: u16 = 12;

impl Card<'_> {
    /// How to call the node from a shell, as long as it is there to be called.
    fn commands(
        &self,
        node: &crate::journal::NodeView,
        width: usize,
    ) -> Vec<(&'static str, Vec<String>)> {
        let over = self.app.replay.is_some() || self.app.picture.end.is_some();
        let mut all = Vec::new();
        // The node's own folder is on the card, and can be copied from it.
        let token = format!("$(cat ../../{TOKEN_FILE})");
        if let Some(address) = node.grpc.filter(|_| !over) {
            // On a command line every user of the machine could read the token: it goes by the environment.
            let words = [
                &format!("T={token}"),
                "grpcurl",
                "-plaintext",
                "-expand-headers",
                "-H 'kiwi-token: ${T}'",
                &format!("-H 'kiwi-receiver-id: {}'", self.node),
                &address.to_string(),
                "list",
            ];
            all.extend(shell_lines(&words, width).map(|lines| ("grpcurl", lines)));
        }
        if let Some(address) = node.redis.filter(|_| !over) {
            let words = [
                &format!("REDISCLI_AUTH={token}"),
                "redis-cli",
                "-p",
                &address.port().to_string(),
            ];
            all.extend(shell_lines(&words, width).map(|lines| ("redis-cli", lines)));
        }
        if !all.is_empty() {
            let note = "(in its folder; keys k1, w1, ... are the run's, and judged)";
            all.push(("", text::wrap(note, width)));
        }
        all
    }

    /// The calls at the peers, a row a method; gives the next free row.
    fn calls(&self, inner: Rect, buf: &mut Buffer, mut y: u16) -> u16 {
        let theme = self.app.theme;
        let rows = self.app.picture.rpcs.get(&self.node);
        let Some(rows) = rows.filter(|rows| !rows.is_empty()) else {
            return y;
        };
        // The foot and a line of the log keep their room.
        let room = usize::from(inner.height.saturating_sub(y + 4));
        if room == 0 {
            return y;
        }
        let head = ["calls", "failed", "open", "bytes", "p50", "p99"];
        let columns = text::cells(1, &[17, 8, 7, 5, 9, 8, 8], 0);
        let (name, numbers) = (columns[0], &columns[1..]);
        name.put(buf, inner, y, "to peers", theme.dim());
        for (cell, name) in numbers.iter().zip(head) {
            cell.put_right(buf, inner, y, name, theme.dim());
        }
        for row in rows.iter().take(room) {
            y += 1;
            name.put(buf, inner, y, &row.method, theme.ok());
            let counts = [row.calls, row.errors, row.in_flight];
            for (cell, n) in numbers.iter().zip(counts) {
                cell.number(buf, inner, y, n, theme.ok());
            }
            let us = |us: u64| text::span(us.saturating_mul(1_000));
            let words = [text::size(row.bytes), us(row.p50_us), us(row.p99_us)];
            for (cell, word) in numbers[counts.len()..].iter().zip(words) {
                cell.put_right(buf, inner, y, &theme.glyphs.spell(&word), theme.ok());
            }
        }
        y + 2
    }

    fn facts(&self, node: &crate::journal::NodeView) -> Vec<(&'static str, String)> {
        let (app, id) = (self.app, self.node);
        let (_, role, _) = cluster::role(node, app);
        let up = app
            .picture
            .up_since_ns
            .get(&id)
            .map(|since| text::span(app.now_ns.saturating_sub(*since)));
        let leader = match node.leader {
            Some(leader) if leader == id => "itself".to_owned(),
            Some(leader) => format!("n{leader}"),
            None => "nobody".to_owned(),
        };
        let pid = node
            .pid
            .map_or_else(|| "none".to_owned(), |pid| pid.to_string());
        let folder = app.picture.dir.join("nodes").join(id.to_string());
        vec![
            (
                "role",
                format!("{role}, term {}, believes that {leader} leads", node.term),
            ),
            (
                "vote",
                node.vote
                    .map_or_else(|| "none".to_owned(), |vote| vote.to_string()),
            ),
            (
                "log",
                format!(
                    "last {}, committed {}, applied {}",
                    node.last_log, node.committed, node.applied
                ),
            ),
            ("snapshot", format!("at {}", node.snapshot)),
            (
                "child",
                format!(
                    "pid {pid}, up {}, {} restarts",
                    up.as_deref().unwrap_or("-"),
                    node.restarts
                ),
            ),
            ("folder", folder.display().to_string()),
        ]
    }
}

/// The text in lines of at most `width` columns, broken anywhere: nothing of a path may be missing.
fn broken(value: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for character in value.chars() {
        let line = lines.last_mut().expect("there is always one");
        if Span::raw(format!("{line}{character}")).width() > width && !line.is_empty() {
            lines.push(character.to_string());
        } else {
            line.push(character);
        }
    }
    lines
}

/// A shell's command in lines of at most `width` columns, broken between words as a shell understands it; none where
/// a word is wider than that: half a command would be another one.
fn shell_lines(words: &[&str], width: usize) -> Option<Vec<String>> {
    const INDENT: &str = "  ";
    const GOES_ON: &str = " \\";
    let mut lines: Vec<String> = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let goes_on = if at + 1 < words.len() { GOES_ON } else { "" };
        let fits = |line: &str| line.len() + goes_on.len() <= width;
        match lines.last_mut() {
            Some(line) if fits(&format!("{line} {word}")) => {
                line.push(' ');
                line.push_str(word);
                continue;
            }
            Some(line) => line.push_str(GOES_ON),
            None => {}
        }
        let indent = if lines.is_empty() { "" } else { INDENT };
        let line = format!("{indent}{word}");
        if !fits(&line) {
            return None;
        }
        lines.push(line);
    }
    Some(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_broken_where_a_shell_reads_on_and_never_inside_of_a_word() {
        let words = [
            "T=$(cat t)",
            "grpcurl",
            "-H 'a: ${T}'",
            "127.0.0.1:1",
            "list",
        ];
        let whole = words.join(" ");
        for width in 0..=whole.len() + 1 {
            let Some(lines) = shell_lines(&words, width) else {
                assert!(width < 17, "the widest word fits into {width}");
                continue;
            };
            assert!(lines.iter().all(|line| line.len() <= width), "{lines:#?}");
            let read = lines.join("\n").replace("\\\n", "");
            let read: Vec<&str> = read.split_whitespace().collect();
            assert_eq!(read.join(" "), whole);
        }
        assert_eq!(
            shell_lines(&words, whole.len()).map(|lines| lines.len()),
            Some(1)
        );
    }

    #[test]
    fn a_long_path_is_broken_and_nothing_of_it_is_missing() {
        assert_eq!(broken("/a/long/path", 5), ["/a/lo", "ng/pa", "th"]);
        assert_eq!(broken("", 5), [""]);
        assert_eq!(broken("ab", 0), ["a", "b"]);
    }
}
