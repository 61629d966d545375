//! The Verdict screen: a row a key, and, when something is violated, the few operations that prove it.

use checkers::history::{Call, Operation, Outcome};
use checkers::verdict::Counterexample;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::key_table::Keys;
use super::text;
use super::timeline::{self, Window};
use crate::fault::NodeId;
use crate::journal::{Asked, Operations};
use crate::tui::app::App;

/// How long a fault that is over may still be to blame: a failover and a lease.
const RECENT_NS: u64 = 3_000_000_000;

/// The Verdict screen.
pub(super) struct Verdict<'a> {
    pub(super) app: &'a App,
}

impl Widget for &Verdict<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let app = self.app;
        match &app.picture.alarm {
            Some(found) if !app.verdict.table => Proof { app, found }.render(area, buf),
            _ => Keys { app }.render(area, buf),
        }
    }
}

/// The operations that prove a violation, and why.
struct Proof<'a> {
    app: &'a App,
    found: &'a Counterexample,
}

impl Widget for &Proof<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let (app, theme) = (self.app, self.app.theme);
        let foot = Foot { app }.lines(area);
        let footer = foot.len() as u16;
        let rows = self.shown().len() as u16;
        // The bars first, but the why keeps a third.
        let upper = match &self.found.typed {
            None => (rows + 4).min((area.height - footer) * 2 / 3),
            // Its operations stand among the reasons.
            Some(_) => 0,
        };
        if upper > 0 {
            let height = upper;
            self.bars(Rect { height, ..area }, buf);
        }
        let lower = Rect {
            y: area.y + upper,
            height: area.height - upper - footer,
            ..area
        };
        let inner = text::frame(buf, lower, theme, false, "Why", Line::default());
        let mut lines = self.why(usize::from(inner.width.saturating_sub(2)));
        let room = usize::from(inner.height);
        if lines.len() > room {
            // Air goes before words.
            lines.retain(|(line, _)| !line.is_empty());
        }
        if lines.len() > room && room > 0 {
            let more = lines.len() - room + 1;
            lines.truncate(room - 1);
            let text = format!("… {more} more lines: counterexample.txt has them all");
            lines.push((text, theme.dim()));
        }
        for (y, (line, style)) in lines.iter().enumerate() {
            let style = *style;
            text::put(buf, inner, 1, y as u16, &theme.glyphs.spell(line), style);
        }
        let below = Rect {
            y: area.bottom() - footer,
            height: footer,
            ..area
        };
        for (y, line) in foot.iter().enumerate() {
            text::put(buf, below, 1, y as u16, line, theme.dim());
        }
    }
}

/// Where it is written down, and how to run it again.
pub(super) struct Foot<'a> {
    pub(super) app: &'a App,
}

impl Foot<'_> {
    /// The lines under a screen of that size, where it has room for them. What is longer ends in the sign of that, and
    /// keys copy the whole.
    pub(super) fn lines(&self, area: Rect) -> Vec<String> {
        if area.height < 20 {
            return Vec::new();
        }
        let (app, g) = (self.app, self.app.theme.glyphs);
        let room = usize::from(area.width.saturating_sub(2));
        let later = match app.is_live() {
            true => ", when the run ends",
            false => "",
        };
        let path = format!("{}{later}", crate::tui::draw::path_shown(app));
        let mut lines = vec![text::fitted(&g.spell(&path), room).into_owned()];
        let again = text::wrap(&g.spell(&app.picture.again_in_words()), room);
        lines.extend(text::at_most(again, usize::from(area.height / 6), room));
        lines
    }
}

/// An operation of the panel: of the proof, or only near it.
struct Shown {
    op: Operation,
    proves: bool,
}

impl Proof<'_> {
    /// The rows: the operations that prove it and, when asked for, the key's others around them.
    fn shown(&self) -> Vec<Shown> {
        let mut rows: Vec<Shown> = self
            .found
            .operations
            .iter()
            .map(|op| Shown {
                op: op.clone(),
                proves: true,
            })
            .collect();
        if self.app.verdict.all {
            let operations = &self.app.picture.operations;
            let window = self.window(60);
            let key = operations.key(&self.found.key);
            let near = key
                .into_iter()
                .flat_map(|key| operations.of_key(key))
                .map(|&at| &operations.all()[at as usize]);
            for op in near {
                let known = self
                    .found
                    .operations
                    .iter()
                    .any(|other| other.id == op.invoked);
                if known || op.start_ns >= window.to_ns() || op.end_ns < window.from_ns {
                    continue;
                }
                rows.extend(whole(op, &self.found.key).map(|op| Shown { op, proves: false }));
            }
            rows.sort_by_key(|row| row.op.invoked);
        }
        rows
    }

    /// The time from the first invocation to the last completion, with a little room on both sides.
    fn window(&self, cells: u16) -> Window {
        let ops = &self.found.operations;
        let from_ns = ops.iter().map(|op| op.invoked_ns).min().unwrap_or(0);
        let ends = ops
            .iter()
            .map(|op| op.completed_ns.unwrap_or(op.invoked_ns));
        let to_ns = ends.max().unwrap_or(0).max(from_ns + 1_000_000);
        let cells = cells.max(12);
        let cell_ns = ((to_ns - from_ns) / u64::from(cells - 8)).max(1);
        Window {
            from_ns: from_ns.saturating_sub(cell_ns * 3),
            cell_ns,
            cells,
        }
    }

    fn bars(&self, area: Rect, buf: &mut Buffer) {
        let (app, found, theme) = (self.app, self.found, self.app.theme);
        let g = theme.glyphs;
        let total = app.picture.operations.all().len() as u64;
        let title = format!(
            "{} {} {} of {} operations show it",
            found.key,
            g.dot,
            found.operations.len(),
            text::number(total)
        );
        let legend = Line::from(vec![
            Span::styled(format!(" {} order found  ", g.ordinals[0]), theme.ok()),
            Span::styled(
                format!("{} cannot be placed ", g.violation),
                theme.violation(),
            ),
        ]);
        let inner = text::frame(buf, area, theme, true, &title, legend);
        if inner.height < 3 {
            return;
        }
        let rows = self.shown();
        let names: Vec<String> = rows
            .iter()
            .map(|row| format!("#{} c{}", row.op.id, row.op.client))
            .collect();
        let margin = names.iter().map(String::len).max().unwrap_or(8).max(5) as u16 + 3;
        let field = Rect {
            x: inner.x + margin,
            width: inner.width.saturating_sub(margin),
            ..inner
        };
        if field.width < 12 {
            return;
        }
        let window = self.window(field.width);
        timeline::ticks(app, window, Rect { height: 1, ..field }, buf);
        let room = usize::from(inner.height - 2);
        let chosen = found
            .operations
            .get(app.verdict.operation)
            .map_or(0, |op| op.id);
        let at = rows.iter().position(|row| row.op.id == chosen).unwrap_or(0);
        let first = at
            .saturating_sub(room.saturating_sub(1))
            .min(rows.len().saturating_sub(room));
        for (y, (row, name)) in rows.iter().zip(&names).skip(first).take(room).enumerate() {
            let y = y as u16 + 1;
            let selected = row.op.id == chosen;
            let style = self.style(row);
            text::put(
                buf,
                inner,
                0,
                y,
                if selected { g.open } else { " " },
                theme.bold(),
            );
            let name_style = if selected {
                style.patch(theme.bold())
            } else {
                style
            };
            text::put(buf, inner, 1, y, name, name_style);
            self.bar(
                row,
                window,
                Rect {
                    y: field.y + y,
                    height: 1,
                    ..field
                },
                buf,
            );
        }
        text::put(buf, inner, 1, inner.height - 1, "fault", theme.dim());
        timeline::bands(
            app,
            window,
            Rect {
                y: inner.bottom() - 1,
                height: 1,
                ..field
            },
            buf,
        );
    }

    fn style(&self, row: &Shown) -> Style {
        let theme = self.app.theme;
        match row.op.outcome {
            _ if row.op.id == self.found.culprit => theme.violation(),
            _ if !row.proves => theme.dim(),
            Outcome::Unknown => theme.unknown(),
            _ => theme.ok(),
        }
    }

    fn bar(&self, row: &Shown, window: Window, field: Rect, buf: &mut Buffer) {
        let (app, op) = (self.app, &row.op);
        let g = app.theme.glyphs;
        let style = self.style(row);
        let cell = |ns: u64| {
            (ns.saturating_sub(window.from_ns) / window.cell_ns).min(u64::from(field.width) - 1)
                as u16
        };
        let endless = op.outcome == Outcome::Unknown;
        let from = cell(op.invoked_ns);
        let to = match op.completed_ns {
            Some(end) if !endless => cell(end).max(from),
            _ => field.width - 1,
        };
        let fill = if endless { g.maybe } else { g.middle };
        for x in from..=to {
            text::put(buf, field, x, 0, fill, style);
        }
        if from < to {
            text::put(buf, field, from, 0, g.begin, style);
        }
        let end = if op.outcome.is_failed() {
            g.failed
        } else if endless {
            g.maybe
        } else {
            g.end
        };
        text::put(buf, field, to, 0, end, style);
        let sign = self.sign(op.id);
        let name = g.spell(&short(op.call, op.outcome));
        let label = if sign.is_empty() {
            format!(" {name} ")
        } else {
            format!(" {name} {sign} ")
        };
        let width = text::width(&label);
        let (before, behind) = (from, field.width - to - 1);
        if width + 2 <= to - from + 1 {
            let at = from + 1 + (to - from - 1 - width) / 2;
            text::put(buf, field, at, 0, &label, style);
        } else if width <= behind || behind >= before {
            text::put(buf, field, to + 1, 0, &label, style);
        } else {
            let room = text::Cell {
                x: 0,
                width: before,
            };
            room.put_right(buf, field, 0, &label, style);
        }
    }

    /// The operation's place in the order found.
    fn sign(&self, id: u64) -> String {
        let glyphs = self.app.theme.glyphs;
        if id == self.found.culprit {
            return glyphs.violation.to_owned();
        }
        match self.found.order.iter().position(|other| *other == id) {
            Some(at) if !self.app.verdict.hide_order => glyphs
                .ordinals
                .get(at)
                .map_or_else(|| format!("({})", at + 1), |sign| (*sign).to_owned()),
            _ => String::new(),
        }
    }

    /// The order found step by step, the judge's sentences, and the facts: who answered, and what was wrong then.
    fn why(&self, width: usize) -> Vec<(String, Style)> {
        let (theme, found) = (self.app.theme, self.found);
        let mut lines = Vec::new();
        if let Some(typed) = &found.typed {
            for line in typed.text().lines().take(typed.operations.len() + 1) {
                let style = if line.starts_with('>') {
                    theme.violation()
                } else {
                    theme.ok()
                };
                lines.push((text::fitted(line, width).into_owned(), style));
            }
            lines.push((String::new(), theme.ok()));
        } else if !self.app.verdict.hide_order {
            let mut held = None;
            for id in &found.order {
                let Some(op) = found.operations.iter().find(|op| op.id == *id) else {
                    continue;
                };
                let effect = step(op, &mut held);
                let line = format!(
                    "{} {:<15} {effect:<20} {}",
                    self.sign(*id),
                    long(op),
                    seen(op)
                );
                lines.extend(aligned(line, width).map(|line| (line, theme.ok())));
            }
            if let Some(op) = found.culprit() {
                let line = format!(
                    "{} {:<15} {:<20} {}",
                    self.sign(op.id),
                    long(op),
                    "fits nowhere",
                    seen(op)
                );
                lines.extend(aligned(line, width).map(|line| (line, theme.violation())));
            }
            lines.push((String::new(), theme.ok()));
        }
        for sentence in &found.why {
            lines.extend(
                text::wrap(sentence, width)
                    .into_iter()
                    .map(|line| (line, theme.ok())),
            );
        }
        if let Some(stale) = found.staleness {
            let line = format!(
                "The answer was out of date by at least {} and {} newer value{}.",
                text::span(stale.nanoseconds),
                stale.versions,
                if stale.versions == 1 { "" } else { "s" }
            );
            lines.extend(
                text::wrap(&line, width)
                    .into_iter()
                    .map(|line| (line, theme.ok())),
            );
        }
        let facts = self.facts();
        if !facts.is_empty() {
            lines.push((String::new(), theme.ok()));
            lines.extend(
                text::wrap(&facts, width)
                    .into_iter()
                    .map(|line| (line, theme.ok())),
            );
        }
        for finding in &self.app.picture.findings {
            lines.push((String::new(), theme.ok()));
            let said = format!("! also found, {}: {}", finding.oracle(), finding.evidence);
            let said = text::wrap(&said, width);
            lines.extend(said.into_iter().map(|line| (line, theme.loud())));
        }
        lines
    }

    /// Facts about the answer, not guesses: the node, the faults that were in, the leader.
    fn facts(&self) -> String {
        let (picture, Some(op)) = (&self.app.picture, self.found.culprit()) else {
            return String::new();
        };
        let end_ns = op.completed_ns.unwrap_or(self.app.picture.alarm_ns);
        let mut facts = Vec::new();
        if let Some(node) = op.node {
            let at = op.at.map_or_else(String::new, |at| {
                format!(" with log id term {}, index {}", at.term, at.index)
            });
            facts.push(format!("n{node} answered #{}{at}.", op.id));
        }
        let ids: Vec<NodeId> = picture.ids();
        let touches = |fault: &crate::fault::Fault| {
            let (children, links) = (fault.children(), fault.links(&ids));
            // What names no node and no link, as lost messages do, may have touched any.
            let everybody = children.is_empty() && links.is_empty();
            op.node.is_none_or(|node| {
                let linked = links.iter().any(|&(a, b)| a == node || b == node);
                everybody || linked || children.contains(&node)
            })
        };
        let mut quiet = true;
        for span in picture
            .active_at(end_ns)
            .filter(|span| touches(&span.fault))
        {
            let age = text::span(end_ns.saturating_sub(span.in_ns));
            facts.push(format!(
                "At that moment “{}” had been in for {age}.",
                span.fault
            ));
            quiet = false;
        }
        if quiet {
            facts.push("No fault touched it at that moment.".to_owned());
        }
        // A restart is over at once, and is felt afterwards.
        let recent = picture.faults.iter().rev().filter_map(|span| {
            let since_ns = end_ns.checked_sub(span.out_ns?)?;
            (since_ns < RECENT_NS && touches(&span.fault)).then_some((since_ns, &span.fault))
        });
        facts.extend(recent.take(2).map(|(since_ns, fault)| {
            format!("“{fault}” had been over for {}.", text::span(since_ns))
        }));
        // What an answer of a newer term proves is worth more than when a new leader was heard of.
        let newer = found_before(&picture.operations, op, end_ns);
        if let Some((id, node, term)) = newer {
            facts.push(format!(
                "Before it began, #{id} had been answered by n{node} in term {term}."
            ));
        } else if let Some(leader) = picture.leader_at(end_ns) {
            facts.push(format!(
                "The newest leader heard of was n{} of term {}.",
                leader.node, leader.term
            ));
        }
        facts.join(" ")
    }
}

/// The operation of the highest term that had been answered before `op` began, when that term is newer than `op`'s own.
fn found_before(operations: &Operations, op: &Operation, end_ns: u64) -> Option<(u64, u64, u64)> {
    let own = op.at?.term;
    let last = operations.first_from(end_ns);
    // Terms only grow: the newest answers are enough.
    let near = operations.all()[..last].iter().rev().take(2000);
    near.filter(|other| other.end_ns < op.invoked_ns)
        .filter_map(|other| Some((other.invoked, other.node?, other.at?.term)))
        .filter(|(_, _, term)| *term > own)
        .max_by_key(|(id, _, term)| (*term, std::cmp::Reverse(*id)))
}

/// An operation on a register that the screen paired itself, as the judge would name it.
fn whole(op: &crate::journal::Op, key: &str) -> Option<Operation> {
    let Asked::Call(call) = op.asked else {
        return None;
    };
    Some(Operation {
        id: op.invoked,
        client: op.client,
        key: key.to_owned(),
        call,
        outcome: op.outcome.unwrap_or(Outcome::Unknown),
        invoked: op.invoked,
        completed: op.completed,
        invoked_ns: op.start_ns,
        completed_ns: (op.end_ns != u64::MAX).then_some(op.end_ns),
        node: op.node,
        at: op.at,
        error: op.error.as_deref().map(str::to_owned),
    })
}

/// A line whose parts stand below those of its neighbours, where there is room for that; else broken at spaces.
fn aligned(line: String, width: usize) -> impl Iterator<Item = String> {
    let lines = match usize::from(text::width(&line)) <= width {
        true => vec![line],
        false => text::wrap(&line, width),
    };
    lines.into_iter()
}

/// Applies an operation of the order found to the register; says what it does there.
fn step(op: &Operation, held: &mut Option<i64>) -> String {
    let holds =
        |held: &Option<i64>| held.map_or_else(|| "absent".to_owned(), |value| value.to_string());
    match op.call {
        Call::Read => return format!("legal: it holds {}", holds(held)),
        Call::Write(value) => *held = Some(value),
        Call::Cas { old, new } if *held == Some(old) => *held = Some(new),
        Call::Cas { .. } => return format!("changes nothing: {}", holds(held)),
        Call::Delete => *held = None,
        Call::Append(value) => return format!("appends {value}"),
    }
    match held {
        Some(value) => format!("register holds {value}"),
        None => "register is absent".to_owned(),
    }
}

/// An operation without its key: `w 9`, `r → 17`.
fn short(call: Call, outcome: Outcome) -> String {
    match (call, outcome) {
        (Call::Read, Outcome::Ok(Some(value))) => format!("r → {value}"),
        (Call::Read, Outcome::Ok(None)) => "r → ∅".to_owned(),
        (Call::Read, _) => "r".to_owned(),
        (Call::Write(value), _) => format!("w {value}"),
        (Call::Cas { old, new }, _) => format!("cas {old}→{new}"),
        (Call::Delete, _) => "del".to_owned(),
        (Call::Append(value), _) => format!("app {value}"),
    }
}

/// The same in words.
fn long(op: &Operation) -> String {
    match (op.call, op.outcome) {
        (Call::Read, Outcome::Ok(Some(value))) => format!("read → {value}"),
        (Call::Read, Outcome::Ok(None)) => "read → absent".to_owned(),
        (Call::Read, _) => "read".to_owned(),
        (Call::Write(value), _) => format!("write {value}"),
        (Call::Cas { old, new }, Outcome::Differed(Some(found))) => {
            format!("cas {old} → {new}, found {found}")
        }
        (Call::Cas { old, new }, Outcome::Differed(None)) => {
            format!("cas {old} → {new}, found absent")
        }
        (Call::Cas { old, new }, _) => format!("cas {old} → {new}"),
        (Call::Delete, _) => "delete".to_owned(),
        (Call::Append(value), _) => format!("append {value}"),
    }
}

/// Who saw what, in brackets.
fn seen(op: &Operation) -> String {
    let outcome = match op.outcome {
        Outcome::Ok(_) => "saw ok",
        Outcome::Failed | Outcome::Differed(_) => "saw it fail",
        Outcome::Unknown => "never learned how it ended",
    };
    let node = op
        .node
        .map_or_else(String::new, |node| format!(" from n{node}"));
    let term = op
        .at
        .map_or_else(String::new, |at| format!(", term {}", at.term));
    match op.call {
        Call::Read if op.outcome != Outcome::Unknown => {
            format!("(c{} asked{}{term})", op.client, node.replace(" from", ""))
        }
        _ => format!("(c{} {outcome}{node}{term})", op.client),
    }
}
