//! The Model screen: a run shows what happened, the model tries everything that can happen. Its rules must hold in every
//! state, and each of them, once broken, must be caught: the counterexample is told step by step.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::text;
use crate::tui::app::App;
use crate::tui::model_view::{Subject, subjects};

/// The Model screen.
pub(super) struct Model<'a> {
    pub(super) app: &'a App,
}

impl Widget for &Model<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let upper = Rect {
            height: area.height / 2,
            ..area
        };
        let lower = Rect {
            y: area.y + upper.height,
            height: area.height - upper.height,
            ..area
        };
        let subjects = subjects();
        let row = self.app.model.row.min(subjects.len().saturating_sub(1));
        self.table(&subjects, row, upper, buf);
        self.detail(&subjects, row, lower, buf);
    }
}

impl Model<'_> {
    fn table(&self, subjects: &[Subject], row: usize, area: Rect, buf: &mut Buffer) {
        let (app, theme) = (self.app, self.app.theme);
        let g = theme.glyphs;
        let done = app.model.results.len();
        let right = format!(" {done} of {} checked ", subjects.len());
        let title = format!(
            "Model {} every interleaving of election and replication",
            g.dot
        );
        let inner = text::frame(
            buf,
            area,
            theme,
            true,
            &title,
            Line::from(Span::styled(right, theme.dim())),
        );
        let columns = text::cells(3, &[6, 23, 1], inner.width);
        let room = usize::from(inner.height).max(1);
        let first = row
            .saturating_sub(room / 2)
            .min(subjects.len().saturating_sub(room));
        for (y, (at, subject)) in subjects
            .iter()
            .enumerate()
            .skip(first)
            .take(room)
            .enumerate()
        {
            let y = y as u16;
            let kind = match subject {
                Subject::Rules(_) => "rules ",
                Subject::Mutant(_) => "mutant",
            };
            let (mark, style) = match app.model.results.get(&at) {
                Some(found) if found.as_it_should => (g.holds, theme.good()),
                Some(_) => ("!", theme.loud()),
                None if app.model.running.is_some_and(|(running, _)| running == at) => {
                    (g.working, theme.bold())
                }
                None => (" ", theme.dim()),
            };
            text::put(
                buf,
                inner,
                0,
                y,
                if at == row { g.open } else { " " },
                theme.bold(),
            );
            text::put(buf, inner, 1, y, mark, style);
            let [kind_at, name_at, about_at] = columns[..] else {
                return;
            };
            kind_at.put(buf, inner, y, kind, theme.dim());
            let name = if at == row { theme.bold() } else { theme.ok() };
            name_at.put(buf, inner, y, &subject.name(), name);
            about_at.put(buf, inner, y, &g.spell(subject.about()), theme.dim());
        }
    }

    fn detail(&self, subjects: &[Subject], row: usize, area: Rect, buf: &mut Buffer) {
        let (app, theme) = (self.app, self.app.theme);
        let Some(subject) = subjects.get(row) else {
            return;
        };
        let lines = said_of(app, subject, row, area.width);
        let room = usize::from(area.height.saturating_sub(2));
        // The last line stays in sight, however far one scrolls.
        let first = app.model.scroll.min(lines.len().saturating_sub(room));
        let right = match lines.len() > room {
            true => {
                let [_, _, left, right] = theme.glyphs.arrows;
                let last = (first + room).min(lines.len());
                format!(
                    " lines {} to {last} of {} {left} {right} ",
                    first + 1,
                    lines.len()
                )
            }
            false => String::new(),
        };
        let right = Line::from(Span::styled(right, theme.dim()));
        let inner = text::frame(buf, area, theme, false, &subject.name(), right);
        for (y, (line, style)) in lines.into_iter().skip(first).take(room).enumerate() {
            text::put(buf, inner, 1, y as u16, &line, style);
        }
    }
}

/// How many lines there are to say of the selected subject.
pub(super) fn detail_lines(app: &App, width: u16) -> usize {
    let subjects = subjects();
    let row = app.model.row.min(subjects.len().saturating_sub(1));
    let subject = subjects.get(row);
    subject.map_or(0, |subject| said_of(app, subject, row, width).len())
}

/// What is known of a subject, in lines for a panel of that width.
fn said_of(app: &App, subject: &Subject, row: usize, width: u16) -> Vec<(String, Style)> {
    let theme = app.theme;
    let width = usize::from(width.saturating_sub(4));
    let wrapped = |said: &str, style: Style| {
        let lines = text::wrap(&theme.glyphs.spell(said), width);
        lines.into_iter().map(move |line| (line, style))
    };
    let mut lines: Vec<_> = wrapped(subject.about(), theme.ok()).collect();
    lines.push((String::new(), theme.ok()));
    match (app.model.results.get(&row), app.model.running) {
        (Some(found), _) => {
            let style = if found.as_it_should {
                theme.bold()
            } else {
                theme.loud()
            };
            lines.extend(wrapped(&found.said, style));
            let per_second = found.states as f64 / found.seconds.max(0.001);
            let numbers = format!(
                "{} different states in {:.1} s, {} a second",
                text::number(found.states),
                found.seconds,
                text::size(per_second as u64)
            );
            lines.push((numbers, theme.dim()));
            for (i, step) in found.steps.iter().enumerate() {
                lines.extend(wrapped(&format!("{:>2} {step}", i + 1), theme.ok()));
            }
        }
        (None, Some((running, since_ns))) if running == row => {
            let seconds = text::span(app.clock_ns.saturating_sub(since_ns));
            let so_far = app.model.so_far;
            lines.push((
                format!("{} being checked for {seconds}", theme.glyphs.working),
                theme.bold(),
            ));
            lines.push((
                format!(
                    "{} different states, {} steps, depth {}",
                    text::number(so_far.states),
                    text::number(so_far.steps),
                    so_far.depth
                ),
                theme.ok(),
            ));
        }
        (None, _) => {
            lines.push((
                "enter checks it: that takes a core for some seconds".to_owned(),
                theme.ok(),
            ));
            if let Subject::Rules(pinned) = subject {
                lines.push((
                    format!("{} states are expected", text::number(pinned.unique)),
                    theme.dim(),
                ));
            }
        }
    }
    lines
}
