//! The first line (what runs, how it stands, the verdict) and the last one (what just happened, or which keys help now).

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Widget};

use super::text;
use crate::journal::{Phase, VerdictWord};
use crate::tui::app::{App, Panel};
use crate::tui::keys::{self, Binding, Screen, Verb};
use crate::tui::update::possible_now;

/// More worlds than this and the judge is said to be working.
const MANY_WORLDS: u64 = 10_000;

/// The first line.
pub(super) struct Head<'a> {
    pub(super) app: &'a App,
}

impl Widget for &Head<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let app = self.app;
        let (verdict, verdict_style) = headline(app);
        let verdict_width = Span::raw(verdict.as_str()).width() as u16;
        let verdict_at = area.width.saturating_sub(verdict_width + 1);
        // The verdict has its room first; what is left says what runs.
        let left = Rect {
            width: verdict_at.saturating_sub(1),
            ..area
        };
        let dot = app.theme.glyphs.dot;
        let picture = &app.picture;
        let name = if picture.scenario.is_empty() {
            "whitewater"
        } else {
            &picture.scenario
        };
        let (state, state_style) = state(app);
        let mut facts = vec![name.to_owned()];
        if !picture.scenario.is_empty() {
            facts.push(format!("seed {}", picture.seed));
        }
        if let Some(defect) = &picture.defect {
            facts.push(defect.clone());
        }
        facts.push(text::clock(app.now_ns));
        // The least important facts go first when there is no room: the defect, then the seed.
        let width = |facts: &[String]| {
            facts
                .iter()
                .map(|f| Span::raw(f.as_str()).width() + 3)
                .sum::<usize>()
        };
        let state_width = Span::raw(state.as_str()).width();
        while facts.len() > 2 && width(&facts) + state_width > usize::from(left.width) {
            facts.remove(facts.len() - 2);
        }
        let mut line = Line::default();
        for (i, fact) in facts.into_iter().enumerate() {
            let style = match i {
                0 => app.theme.bold(),
                _ => {
                    line.push_span(Span::styled(format!(" {dot} "), app.theme.dim()));
                    app.theme.ok()
                }
            };
            line.push_span(Span::styled(fact, style));
        }
        line.push_span(Span::raw(" "));
        line.push_span(Span::styled(state, state_style));
        text::put_line(buf, left, 1, 0, &line);
        text::put(buf, area, verdict_at, 0, &verdict, verdict_style);
    }
}

/// How the run stands: live, held, frozen, stopped, replayed.
fn state(app: &App) -> (String, Style) {
    let (theme, glyphs) = (app.theme, app.theme.glyphs);
    let behind = if app.behind > 0 {
        format!(" behind {}", app.behind)
    } else {
        String::new()
    };
    if let Some(replay) = &app.replay {
        let word = if replay.playing {
            glyphs.open
        } else {
            glyphs.paused
        };
        let speed = if replay.speed == 1.0 {
            String::new()
        } else {
            format!(" {}x", replay.speed)
        };
        return (
            format!(
                "{word} REPLAY{speed} of {}",
                text::clock(replay.length_ns())
            ),
            theme.bold(),
        );
    }
    if let Some(backlog) = &app.frozen {
        return (
            format!("{} FROZEN +{}{behind}", glyphs.paused, backlog.len()),
            theme.bold(),
        );
    }
    let picture = &app.picture;
    if picture.bench_error.is_some() {
        return (format!("{} BENCH ERROR", glyphs.stopped), theme.loud());
    }
    if picture.paused_by_violation && picture.is_live() {
        return (format!("{} HELD{behind}", glyphs.paused), theme.selected());
    }
    if picture.workload_paused && picture.phase == Some(Phase::Running) {
        return (
            format!("{} NO WORKLOAD{behind}", glyphs.paused),
            theme.bold(),
        );
    }
    let (word, style) = match picture.phase {
        None => ("starting", theme.dim()),
        Some(Phase::Starting) => ("STARTING", theme.dim()),
        Some(Phase::Running) => ("LIVE", theme.good()),
        Some(Phase::Healing) => ("HEALING", theme.bold()),
        Some(Phase::FinalReads) => ("FINAL READS", theme.bold()),
        Some(Phase::Judging) => ("JUDGING", theme.bold()),
        Some(Phase::Ended) => ("STOPPED", theme.bold()),
    };
    let glyph = if picture.phase == Some(Phase::Ended) {
        glyphs.stopped
    } else {
        glyphs.live
    };
    (format!("{glyph} {word}{behind}"), style)
}

/// The verdict as it stands: always on screen. A violation never goes away by itself.
pub(super) fn headline(app: &App) -> (String, Style) {
    let (theme, glyphs, picture) = (app.theme, app.theme.glyphs, &app.picture);
    let text = |mark: &str, words: String| format!("{mark} {words}");
    if let Some(found) = &picture.alarm {
        let what = match &found.typed {
            Some(typed) => format!("VIOLATION {} {}", glyphs.dot, typed.kind),
            None => "NOT LINEARIZABLE".to_owned(),
        };
        let words = format!("{what} {} {} at #{}", glyphs.dot, found.key, found.culprit);
        return (text(glyphs.violation, words), theme.violation());
    }
    let [ok, failed, unknown] = picture.operations.sums();
    if let Some(end) = &picture.end {
        if end.exit == 70 && end.verdict != VerdictWord::Violation {
            return ("! THE BENCH FAILED: no verdict".into(), theme.loud());
        }
        let ops = text::number(ok + failed + unknown);
        let dot = glyphs.dot;
        match end.verdict {
            // Without the operations: a violation that was found only at the end, by the last verdict.
            VerdictWord::Violation => {
                return (
                    text(glyphs.violation, "NOT LINEARIZABLE".into()),
                    theme.violation(),
                );
            }
            VerdictWord::Unknown if end.exit == 130 => {
                let words = "INTERRUPTED: nothing was judged".into();
                return (text(glyphs.unknown, words), theme.unknown());
            }
            VerdictWord::Unknown => {
                return (
                    text(glyphs.unknown, "UNKNOWN: a budget ended first".into()),
                    theme.unknown(),
                );
            }
            VerdictWord::Linearizable if end.exit == 130 => {
                let words = format!("INTERRUPTED {dot} {ops} ops, linearizable");
                return (text(glyphs.unknown, words), theme.unknown());
            }
            VerdictWord::Linearizable if end.exit == 3 => {
                let words = format!("VACUOUS {dot} {ops} ops, linearizable");
                return (text(glyphs.unknown, words), theme.unknown());
            }
            VerdictWord::Linearizable if picture.findings.is_empty() => {
                let keys = picture.operations.keys();
                let words = format!("LINEARIZABLE {dot} {ops} ops, {keys} keys");
                return (text(glyphs.holds, words), theme.good());
            }
            VerdictWord::Linearizable => {}
        }
    }
    if let Some(finding) = picture.findings.first() {
        return (
            format!("! FINDING {} {}", glyphs.dot, finding.oracle()),
            theme.loud(),
        );
    }
    let progress = &picture.progress;
    if let Some(key) = &progress.gave_up {
        let words = format!("{key}: gave up, {} open", progress.open);
        return (text(glyphs.unknown, words), theme.unknown());
    }
    if progress.configurations > MANY_WORLDS {
        let words = format!(
            "{} worlds, {} open",
            text::size(progress.configurations),
            progress.open
        );
        return (text(glyphs.working, words), theme.ok());
    }
    if progress.proven_to == 0 {
        return (
            text(glyphs.working, "nothing to judge yet".into()),
            theme.dim(),
        );
    }
    let words = format!(
        "linearizable to #{} ({} open)",
        progress.proven_to, progress.open
    );
    (text(glyphs.holds, words), theme.good())
}

/// The last line.
pub(super) struct Foot<'a> {
    pub(super) app: &'a App,
}

impl Widget for &Foot<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let app = self.app;
        if app.typing {
            let filter = if app.screen == Screen::History {
                &app.history.filter
            } else {
                &app.filter
            };
            let x = text::put(buf, area, 1, 0, &format!("/{filter}"), app.theme.bold());
            let x = text::put(buf, area, x, 0, " ", app.theme.selected());
            let help = match app.screen {
                Screen::History => {
                    let asked = match app.picture.operations.is_typed() {
                        true => app.picture.operations.names().join(" "),
                        false => "read write cas delete".to_owned(),
                    };
                    format!(
                        "k1 c2 n3 #5 {asked} ok failed unknown open >50ms  ! excludes  enter keep  esc clear"
                    )
                }
                _ => "a word, or !word to exclude   enter keep   esc clear".to_owned(),
            };
            text::put(buf, area, x + 2, 0, &help, app.theme.dim());
            return;
        }
        if let Some(flash) = app.flashing() {
            said(app, flash, area, buf);
            return;
        }
        for hint in hint_cells(app, area.width) {
            let x = text::put(
                buf,
                area,
                hint.x,
                0,
                &hint.key,
                if hint.possible {
                    app.theme.key()
                } else {
                    app.theme.dim()
                },
            );
            let style = if hint.possible {
                app.theme.ok()
            } else {
                app.theme.dim()
            };
            text::put(buf, area, x + 1, 0, &hint.word, style);
        }
    }
}

/// What just happened, whole: where the last line is too short it takes those above it as well.
fn said(app: &App, flash: &str, area: Rect, buf: &mut Buffer) {
    let room = usize::from(area.width.saturating_sub(2));
    let lines = text::wrap(&app.theme.glyphs.spell(flash), room);
    let lines = text::at_most(lines, MOST_SAID, room);
    let rows = (lines.len() as u16).min(area.y + 1);
    let over = Rect {
        y: area.y + 1 - rows,
        height: rows,
        ..area
    };
    Clear.render(over, buf);
    for (y, line) in lines.iter().enumerate() {
        text::put(buf, over, 1, y as u16, line, app.theme.bold());
    }
}

/// A sentence that says what just happened has at most so many lines.
const MOST_SAID: usize = 3;

/// A hint as drawn: where, what, and whether its key can do anything now.
struct Hint {
    x: u16,
    width: u16,
    verb: Verb,
    key: String,
    word: String,
    possible: bool,
}

/// The hints that fit, most useful first; `?` and `q` always. Keys keep their place: an impossible one is dim.
fn hint_cells(app: &App, width: u16) -> Vec<Hint> {
    let rows = useful(app);
    let (last, first): (Vec<&Binding>, Vec<&Binding>) =
        rows.into_iter().partition(|row| row.rank >= 254);
    let make = |row: &Binding| {
        let key = app.theme.glyphs.spell(&row.key());
        let word = word(app, row).to_owned();
        let width = (Span::raw(key.as_str()).width() + 1 + Span::raw(word.as_str()).width()) as u16;
        Hint {
            x: 0,
            width,
            verb: row.verb,
            key,
            word,
            possible: possible_now(app, row.verb).is_ok(),
        }
    };
    let last: Vec<Hint> = last.into_iter().map(make).collect();
    let kept: u16 = last.iter().map(|hint| hint.width + 2).sum();
    let room = width.saturating_sub(kept + 1);
    let mut hints = Vec::new();
    let mut x = 1;
    for hint in first.into_iter().map(make) {
        if x + hint.width + 2 > room {
            break;
        }
        hints.push(Hint { x, ..hint });
        x += hints.last().map_or(0, |hint| hint.width) + 2;
    }
    for hint in last {
        hints.push(Hint { x, ..hint });
        x += hints.last().map_or(0, |hint| hint.width) + 2;
    }
    hints
}

/// What a row is called now: a key that undoes says so.
fn word(app: &App, row: &Binding) -> &'static str {
    let frozen = app.frozen.is_some() || app.replay.as_ref().is_some_and(|replay| !replay.playing);
    match row.verb {
        Verb::Freeze if frozen => "go on",
        Verb::Verdict if app.picture.alarm.is_some() => "see why",
        _ => row.hint,
    }
}

/// Which rows the hint line shows, in their order: those of the screen, and those that this moment calls for.
fn useful(app: &App) -> Vec<&'static Binding> {
    let mut rows = keys::hints(app.screen);
    if app.replay.is_some() || !app.picture.is_live() {
        // Nothing can be broken any more: say how to look instead.
        rows.retain(|row| row.group != keys::Group::Break || row.rank >= 254);
        let look: &[Verb] = match (app.screen, app.replay.is_some()) {
            (_, true) => &[Verb::Left, Verb::Right, Verb::Slower, Verb::Faster],
            (_, false) => &[Verb::CopyPath],
        };
        rows.splice(0..0, look.iter().map(|&verb| keys::binding(verb)));
    }
    let mut first: Vec<Verb> = Vec::new();
    if app.picture.paused_by_violation && app.replay.is_none() {
        first.push(Verb::GoOn);
    }
    if app.picture.alarm.is_some() && app.screen != Screen::Verdict {
        first.push(Verb::Verdict);
    }
    match app.screen {
        Screen::Live if app.focus == Panel::Cluster && app.link.is_some() => {
            first.extend([Verb::Cut, Verb::CutBoth])
        }
        Screen::Live if app.focus == Panel::Operations => {
            first.extend([Verb::ZoomIn, Verb::ZoomOut])
        }
        Screen::Live if app.focus == Panel::Events => first.push(Verb::Filter),
        Screen::Live => {}
        Screen::History => first.extend([Verb::Back, Verb::Open, Verb::Filter]),
        Screen::Verdict if app.picture.alarm.is_some() && !app.verdict.table => {
            first.extend([
                Verb::Back,
                Verb::OrderFound,
                Verb::AllOperations,
                Verb::CopyPath,
                Verb::CopyAgain,
            ]);
        }
        _ => first.push(Verb::Back),
    }
    rows.retain(|row| !first.contains(&row.verb));
    rows.splice(0..0, first.iter().map(|&verb| keys::binding(verb)));
    rows
}

/// The verb of the hint at a column of the hint line.
pub(in crate::tui) fn hint_at(app: &App, x: u16) -> Option<Verb> {
    let hints = hint_cells(app, app.size.0);
    hints
        .into_iter()
        .find(|hint| (hint.x..hint.x + hint.width).contains(&x))
        .map(|hint| hint.verb)
}

/// The verdict in the header opens its screen.
pub(in crate::tui) fn tab_at(app: &App, x: u16) -> Option<Verb> {
    let width = Span::raw(headline(app).0.as_str()).width() as u16;
    (x >= app.size.0.saturating_sub(width + 1)).then_some(Verb::Verdict)
}
