//! What lies over a screen: all keys, leaving, the fault menu, the scenario picker, and our own failure.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Widget};

use super::text;
use crate::tui::app::{App, Overlay};
use crate::tui::keys::{self, Group};
use crate::tui::menu;
use crate::tui::picker::{Choice, Field};
use crate::tui::update::possible_now;

/// A rectangle of at most this size in the middle of `area`.
pub(super) fn centred(area: Rect, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    }
}

/// An overlay.
pub(super) struct Over<'a> {
    pub(super) app: &'a App,
    pub(super) overlay: &'a Overlay,
}

impl Widget for &Over<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        match self.overlay {
            Overlay::Help(line) => help(self.app, *line, area, buf),
            Overlay::Leave => leave(self.app, area, buf),
            Overlay::Faults(row) => faults(self.app, *row, area, buf),
            Overlay::Picker => picker(self.app, area, buf),
            Overlay::Card { .. } => {}
        }
    }
}

/// A panel over the screen with rows of styled text; gives its inside.
fn panel(app: &App, area: Rect, buf: &mut Buffer, title: &str, width: u16, rows: u16) -> Rect {
    let area = centred(area, width, rows.saturating_add(2));
    Clear.render(area, buf);
    text::frame(buf, area, app.theme, true, title, Line::default())
}

fn help(app: &App, line: u16, area: Rect, buf: &mut Buffer) {
    let theme = app.theme;
    let wide = usize::from(area.width.min(92).saturating_sub(15));
    let mut lines: Vec<Line<'static>> = Vec::new();
    for group in Group::ALL {
        if !lines.is_empty() {
            lines.push(Line::default());
        }
        lines.push(Line::styled(format!(" {}", group.name()), theme.bold()));
        for row in keys::KEYS
            .iter()
            .filter(|row| row.group == group && row.on(app.screen))
        {
            let names: Vec<String> = row
                .keys
                .iter()
                .map(|key| theme.glyphs.spell(&key.name()))
                .collect();
            let why_not = possible_now(app, row.verb).err();
            let (key, rest) = match &why_not {
                None => (theme.key(), theme.ok()),
                Some(_) => (theme.dim(), theme.dim()),
            };
            let mut sentences = text::wrap(&theme.glyphs.spell(row.about), wide);
            if let Some(why) = why_not {
                sentences.extend(text::wrap(
                    &format!("(not now: {})", theme.glyphs.spell(&why)),
                    wide,
                ));
            }
            for (i, sentence) in sentences.into_iter().enumerate() {
                let name = if i == 0 {
                    names.join(" ")
                } else {
                    String::new()
                };
                lines.push(Line::from(vec![
                    Span::styled(format!(" {name:<11}"), key),
                    Span::styled(sentence, rest),
                ]));
            }
        }
    }
    let title = format!("All keys {} {}", theme.glyphs.dot, app.screen.name());
    let inner = panel(app, area, buf, &title, 92, lines.len() as u16 + 1);
    let room = inner.height.saturating_sub(1);
    let most = (lines.len() as u16).saturating_sub(room);
    let first = line.min(most);
    for (y, line) in lines
        .into_iter()
        .skip(usize::from(first))
        .take(usize::from(room))
        .enumerate()
    {
        text::put_line(buf, inner, 0, y as u16, &line);
    }
    let [up, down, ..] = theme.glyphs.arrows;
    let more = if most > 0 {
        format!("{up}{down} scroll ({} more below)   ", most - first)
    } else {
        String::new()
    };
    text::put(
        buf,
        inner,
        1,
        inner.height.saturating_sub(1),
        &format!("{more}any other key closes"),
        theme.dim(),
    );
}

fn leave(app: &App, area: Rect, buf: &mut Buffer) {
    let theme = app.theme;
    let inner = panel(app, area, buf, "Leave?", 58, 4);
    let lines = [
        (
            "The run is live. Leaving ends it: everything is healed,",
            theme.ok(),
        ),
        (
            "no child stays, and what was recorded is judged.",
            theme.ok(),
        ),
        ("", theme.ok()),
        ("q again, or y: leave     any other key: stay", theme.key()),
    ];
    for (y, (line, style)) in lines.into_iter().enumerate() {
        text::put(buf, inner, 1, y as u16, line, style);
    }
}

fn faults(app: &App, row: usize, area: Rect, buf: &mut Buffer) {
    let theme = app.theme;
    let entries = menu::entries(app);
    let withheld: Vec<String> = menu::withheld(app)
        .into_iter()
        .map(|(why, count)| format!("{count} not offered: {}", theme.glyphs.spell(&why)))
        .collect();
    let inner = panel(
        app,
        area,
        buf,
        "Faults: what shall go wrong?",
        66,
        (entries.len() + withheld.len()) as u16 + 3,
    );
    let [name_at, detail_at] = text::cells(4, &[25, 1], inner.width)[..] else {
        return;
    };
    // Where there is little room, the entries have it.
    let below = match usize::from(inner.height) > withheld.len() + 8 {
        true => withheld.len(),
        false => 0,
    };
    let room = usize::from(inner.height).saturating_sub(2 + below).max(1);
    let first = (row + 1).saturating_sub(room);
    for (at, why) in withheld.iter().take(below).enumerate() {
        let y = inner.height.saturating_sub((1 + below - at) as u16);
        text::put(buf, inner, 1, y, why, theme.dim());
    }
    for (i, entry) in entries.iter().enumerate().skip(first).take(room) {
        let y = (i - first) as u16;
        let digit = if i < 9 {
            (i + 1).to_string()
        } else {
            " ".to_owned()
        };
        let (style, detail) = match &entry.detail {
            Ok(detail) => (theme.ok(), detail),
            Err(why) => (theme.dim(), why),
        };
        let key = if entry.detail.is_ok() {
            theme.key()
        } else {
            theme.dim()
        };
        text::put(
            buf,
            inner,
            0,
            y,
            if i == row { theme.glyphs.open } else { " " },
            theme.bold(),
        );
        text::put(buf, inner, 1, y, &digit, key);
        name_at.put(buf, inner, y, entry.name, style);
        detail_at.put(buf, inner, y, &theme.glyphs.spell(detail), style);
        if i == row {
            text::tint(
                buf,
                inner,
                1,
                y,
                inner.width.saturating_sub(2),
                theme.selected(),
            );
        }
    }
    let [up, down, ..] = theme.glyphs.arrows;
    let hidden = entries.len().saturating_sub(first + room);
    if hidden > 0 {
        let more = format!("{down} {hidden} more");
        text::put(buf, inner, 4, room as u16, &more, theme.dim());
    }
    let keys = format!("{up}{down} or a digit   enter do it   0 heal all   esc never mind");
    // Rows may be fewer than entries: the keys keep the last one.
    let last = inner.height.saturating_sub(1);
    text::put(
        buf,
        inner,
        0,
        last,
        &" ".repeat(usize::from(inner.width)),
        theme.ok(),
    );
    text::put(buf, inner, 1, last, &keys, theme.dim());
}

fn picker(app: &App, area: Rect, buf: &mut Buffer) {
    let (theme, picker) = (app.theme, &app.picker);
    let inner = panel(
        app,
        area,
        buf,
        "Scenarios",
        78,
        picker.recipes.len() as u16 + 9,
    );
    let room = usize::from(inner.height.saturating_sub(9)).max(1);
    let most = inner.width.saturating_sub(34);
    let [name_at, about_at, length_at, nodes_at] = text::cells(1, &[18, most, 6, 4], 0)[..] else {
        return;
    };
    let first = picker.row.saturating_sub(room - 1);
    for (y, (i, recipe)) in picker
        .shown()
        .enumerate()
        .skip(first)
        .take(room)
        .enumerate()
    {
        let y = y as u16;
        let chosen = i == picker.row;
        let style = if chosen { theme.bold() } else { theme.ok() };
        text::put(
            buf,
            inner,
            0,
            y,
            if chosen { theme.glyphs.open } else { " " },
            theme.bold(),
        );
        name_at.put(buf, inner, y, &recipe.name, style);
        about_at.put(
            buf,
            inner,
            y,
            &theme.glyphs.spell(&recipe.about),
            theme.ok(),
        );
        let length = match recipe.seconds {
            0 => theme.glyphs.endless.to_owned(),
            seconds => format!("{seconds} s"),
        };
        length_at.put_right(buf, inner, y, &length, theme.dim());
        let nodes = format!("{} n", recipe.nodes);
        nodes_at.put_right(buf, inner, y, &nodes, theme.dim());
        if chosen {
            text::tint(
                buf,
                inner,
                1,
                y,
                inner.width.saturating_sub(2),
                theme.selected(),
            );
        }
    }
    let y = inner.height.saturating_sub(6);
    if let Some(recipe) = picker.shown().nth(picker.row) {
        // In the list there is seldom room for the whole sentence.
        let words = usize::from(inner.width.saturating_sub(2));
        let about = text::wrap(&theme.glyphs.spell(&recipe.about), words);
        for (i, part) in text::at_most(about, 2, words).iter().enumerate() {
            text::put(
                buf,
                inner,
                1,
                (y + i as u16).saturating_sub(2),
                part,
                theme.bold(),
            );
        }
    }
    let line = |buf: &mut Buffer, y, name: &str, value: &str, keys: &str, style: Style| {
        text::put(buf, inner, 1, y, name, theme.dim());
        let x = text::put(buf, inner, 9, y, value, style);
        text::put(buf, inner, x + 3, y, keys, theme.dim());
    };
    let (target, target_keys, target_style) = match picker.choice() {
        None => (
            "our own node".to_owned(),
            "t: somebody's system",
            theme.bold(),
        ),
        Some(Choice { name, install, .. }) => {
            let mode = picker.mode_name().unwrap_or_default();
            match install {
                None => (
                    format!("{name}, mode {mode}"),
                    "t: the next   T: its next mode",
                    theme.bold(),
                ),
                Some(install) => (
                    format!("{name}: not here: {install}"),
                    "t: the next",
                    theme.dim(),
                ),
            }
        }
    };
    line(buf, y, "target", &target, target_keys, target_style);
    let (defect, defect_keys) = match picker.choice() {
        None => (picker.defect_name().unwrap_or("none"), "d: the next one"),
        Some(_) => ("none", "only in our own node"),
    };
    line(buf, y + 1, "defect", defect, defect_keys, theme.bold());
    let typed = |field, text: &str| {
        if picker.typing == Some(field) {
            (format!("{text} "), theme.selected())
        } else {
            (text.to_owned(), theme.bold())
        }
    };
    let (seed, seed_style) = typed(Field::Seed, &picker.seed);
    let seed_keys = if picker.typing == Some(Field::Seed) {
        "digits   enter keep"
    } else {
        "e: edit   R: a new one"
    };
    line(buf, y + 2, "seed", &seed, seed_keys, seed_style);
    let (clients, keys) = picker.load();
    let load = format!("{clients} clients, {keys} contended keys");
    line(
        buf,
        y + 3,
        "load",
        &load,
        "+ - clients   > < keys",
        theme.bold(),
    );
    if picker.typing == Some(Field::Filter) || !picker.filter.is_empty() {
        let (filter, style) = typed(Field::Filter, &picker.filter);
        line(
            buf,
            y + 4,
            "filter",
            &filter,
            "enter keep   esc clear",
            style,
        );
    }
    let [up, down, ..] = theme.glyphs.arrows;
    let keys = format!("{up}{down} choose   enter ends this run, starts that   / filter   esc");
    text::put(buf, inner, 1, y + 5, &keys, theme.dim());
}

/// Our own failure, over everything: never a verdict.
pub(super) struct Trouble<'a> {
    pub(super) app: &'a App,
}

impl Widget for &Trouble<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        let (app, theme) = (self.app, self.app.theme);
        let Some(error) = &app.picture.bench_error else {
            return;
        };
        let width = area.width.min(76);
        let mut lines: Vec<String> = Vec::new();
        for line in error.lines() {
            lines.extend(text::wrap(
                &theme.glyphs.spell(line),
                usize::from(width.saturating_sub(4)),
            ));
        }
        let most = usize::from(area.height.saturating_sub(7));
        let lines = text::at_most(lines, most, usize::from(width.saturating_sub(4)));
        let inner = panel(
            app,
            area,
            buf,
            "The bench failed: this is no verdict",
            width,
            lines.len() as u16 + 4,
        );
        for (y, line) in lines.iter().enumerate() {
            text::put(buf, inner, 1, y as u16, line, theme.bold());
        }
        let y = lines.len() as u16 + 1;
        text::put(
            buf,
            inner,
            1,
            y,
            &format!("what was recorded: {}", app.picture.dir.display()),
            theme.dim(),
        );
        text::put(
            buf,
            inner,
            1,
            y + 2,
            "q leaves   s starts another   y copies the path",
            theme.key(),
        );
    }
}
