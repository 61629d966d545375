//! Text on cells: clipped, padded, and how times and numbers are written.

use std::borrow::Cow;

use ratatui::buffer::Buffer;
use ratatui::layout::{Margin, Rect};
use ratatui::style::Style;
use ratatui::symbols::border;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Widget};

use crate::tui::theme::Theme;

/// Stands where something was cut off; in ASCII it is spelled otherwise at the very end, see [`spell_out`].
const MORE: char = '…';

/// Writes `text` at a column and row of `area`; gives the column after it. What does not fit ends in a sign that says so:
/// nothing on the screen is cut off and reads as something else.
pub(super) fn put(buf: &mut Buffer, area: Rect, x: u16, y: u16, text: &str, style: Style) -> u16 {
    let area = area.intersection(buf.area);
    if x >= area.width || y >= area.height {
        return x;
    }
    let room = usize::from(area.width - x);
    let text = fitted(text, room);
    let (end, _) = buf.set_stringn(area.x + x, area.y + y, &text, room, style);
    #[cfg(test)]
    seen::note(area.x + x, area.y + y, end - area.x - x, &text);
    end - area.x
}

/// Writes `text` so that it ends before column `end`.
pub(super) fn put_right(buf: &mut Buffer, area: Rect, end: u16, y: u16, text: &str, style: Style) {
    let area = Rect {
        width: area.width.min(end),
        ..area
    };
    put(
        buf,
        area,
        area.width.saturating_sub(width(text)),
        y,
        text,
        style,
    );
}

/// Writes a line of several styles, cut as [`put`] does.
pub(super) fn put_line(buf: &mut Buffer, area: Rect, x: u16, y: u16, line: &Line<'_>) -> u16 {
    let room = usize::from(area.width.saturating_sub(x));
    let whole: String = line
        .spans
        .iter()
        .map(|span| span.content.as_ref())
        .collect();
    let mut left = fitted(&whole, room).into_owned();
    let mut x = x;
    for span in &line.spans {
        // What is left of the whole after the cut: this span's part of it.
        let part: String = left.chars().take(span.content.chars().count()).collect();
        left = left.chars().skip(part.chars().count()).collect();
        if !part.is_empty() {
            x = put(buf, area, x, y, &part, line.style.patch(span.style));
        }
    }
    x
}

/// How many columns it takes.
pub(super) fn width(text: &str) -> u16 {
    u16::try_from(Span::raw(text).width()).unwrap_or(u16::MAX)
}

/// `text` where there is room for it, else its beginning and [`MORE`]. Blanks at its end need no room.
pub(super) fn fitted(text: &str, room: usize) -> Cow<'_, str> {
    if Span::raw(text).width() <= room {
        return Cow::Borrowed(text);
    }
    let text = text.trim_end();
    if Span::raw(text).width() <= room {
        return Cow::Borrowed(text);
    }
    let mut kept = String::new();
    let mut taken = 0;
    for c in text.chars() {
        taken += Span::raw(&*c.encode_utf8(&mut [0; 4])).width();
        if taken + 1 > room {
            break;
        }
        kept.push(c);
    }
    if room > 0 {
        kept.push(MORE);
    }
    Cow::Owned(kept)
}

/// A number in so many columns: whole, else rounded down to thousands and so on, else only that it is larger than what
/// would fit.
pub(super) fn fitted_number(n: u64, room: usize) -> String {
    for whole in [number(n), n.to_string()] {
        if whole.len() <= room {
            return whole;
        }
    }
    for (unit, by) in [
        ('k', 1_000),
        ('M', 1_000_000),
        ('G', 1_000_000_000),
        ('T', 1_000_000_000_000),
    ] {
        let (ones, tenths) = (n / by, n % by / (by / 10));
        let tries = [format!("{ones}.{tenths}{unit}"), format!("{ones}{unit}")];
        let fits = |text: &&String| ones > 0 && ones < 1_000 && text.len() <= room;
        if let Some(text) = tries.iter().find(fits) {
            return text.clone();
        }
    }
    match room {
        0 => String::new(),
        1 => MORE.to_string(),
        room => format!(">{}", "9".repeat(room - 1)),
    }
}

/// Columns of a row that one thing has to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) x: u16,
    pub(super) width: u16,
}

/// Cells of these widths from `x` on, one blank apart. The last one takes what is left of `room`, where it is wider.
pub(super) fn cells(x: u16, widths: &[u16], room: u16) -> Vec<Cell> {
    let mut cells: Vec<Cell> = Vec::new();
    let mut x = x;
    for &width in widths {
        cells.push(Cell { x, width });
        x += width + 1;
    }
    if let Some(last) = cells.last_mut() {
        last.width = last.width.max(room.saturating_sub(last.x));
    }
    cells
}

impl Cell {
    fn of(self, area: Rect) -> Rect {
        Rect {
            width: area.width.min(self.x.saturating_add(self.width)),
            ..area
        }
    }

    /// Writes from its left.
    pub(super) fn put(self, buf: &mut Buffer, area: Rect, y: u16, text: &str, style: Style) {
        put(buf, self.of(area), self.x, y, text, style);
    }

    /// Writes to its right.
    pub(super) fn put_right(self, buf: &mut Buffer, area: Rect, y: u16, text: &str, style: Style) {
        let indent = self.width.saturating_sub(width(text));
        put(buf, self.of(area), self.x + indent, y, text, style);
    }

    /// Writes a number to its right.
    pub(super) fn number(self, buf: &mut Buffer, area: Rect, y: u16, n: u64, style: Style) {
        let text = fitted_number(n, usize::from(self.width));
        self.put_right(buf, area, y, &text, style);
    }
}

/// Spells the sign of what was cut off for a terminal that has only ASCII: one column, as nano does.
pub(super) fn spell_out(buf: &mut Buffer, area: Rect, theme: Theme) {
    if !theme.glyphs.ascii {
        return;
    }
    for position in area.intersection(buf.area).positions() {
        let cell = &mut buf[position];
        if cell.symbol().starts_with(MORE) {
            cell.set_symbol(theme.glyphs.more);
        }
    }
}

/// Styles a run of cells.
pub(super) fn tint(buf: &mut Buffer, area: Rect, x: u16, y: u16, width: u16, style: Style) {
    let area = area.intersection(buf.area);
    if x < area.width && y < area.height {
        buf.set_style(
            Rect::new(area.x + x, area.y + y, width.min(area.width - x), 1),
            style,
        );
    }
}

/// What is inside of a panel's frame.
pub(super) fn inside(area: Rect) -> Rect {
    if area.width < 2 || area.height < 2 {
        return Rect { height: 0, ..area };
    }
    area.inner(Margin::new(1, 1))
}

/// A panel's frame with its titles; gives what is inside.
pub(super) fn frame(
    buf: &mut Buffer,
    area: Rect,
    theme: Theme,
    focused: bool,
    left: &str,
    right: Line<'_>,
) -> Rect {
    let area = area.intersection(buf.area);
    if area.width < 2 || area.height < 2 {
        return Rect { height: 0, ..area };
    }
    let set = if theme.glyphs.ascii {
        ASCII_BORDER
    } else {
        BorderType::Rounded.to_border_set()
    };
    let block = Block::bordered()
        .border_set(set)
        .border_style(theme.frame(focused));
    let room = usize::from(area.width.saturating_sub(2));
    let title = format!(" {} ", theme.glyphs.spell(left));
    let right_fits = usize::from(width(&title)) + right.width() < room;
    let style = if focused { theme.bold() } else { theme.ok() };
    let inner = block.inner(area);
    block.render(area, buf);
    let edge = Rect {
        x: area.x + 1,
        width: area.width - 2,
        height: 1,
        ..area
    };
    put(buf, edge, 0, 0, &title, style);
    if right_fits && right.width() > 0 {
        let from = edge.width - u16::try_from(right.width()).unwrap_or(edge.width);
        put_line(buf, edge, from, 0, &right);
    }
    inner
}

const ASCII_BORDER: border::Set<'static> = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

/// `1:07`: minutes and seconds.
pub(super) fn clock(ns: u64) -> String {
    let seconds = ns / 1_000_000_000;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// `0:41.58`: with so many digits after the second.
pub(super) fn instant(ns: u64, digits: usize) -> String {
    let seconds = ns / 1_000_000_000;
    let fraction = format!("{:09}", ns % 1_000_000_000);
    let fraction = &fraction[..digits.min(9)];
    let dot = if digits > 0 { "." } else { "" };
    format!("{}:{:02}{dot}{fraction}", seconds / 60, seconds % 60)
}

/// How long something took, in three digits or so: `58 ms`, `1.2 s`.
pub(super) fn span(ns: u64) -> String {
    match ns {
        0..=999_999 => format!("{:.1} ms", ns as f64 / 1e6),
        1_000_000..=9_999_999 => format!("{:.1} ms", ns as f64 / 1e6),
        10_000_000..=999_999_999 => format!("{} ms", ns / 1_000_000),
        1_000_000_000..=99_999_999_999 => format!("{:.1} s", ns as f64 / 1e9),
        _ => clock(ns),
    }
}

/// `24,117`.
pub(super) fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `12 k`, `2.1 M`: for what is only a size.
pub(super) fn size(n: u64) -> String {
    match n {
        0..=9_999 => n.to_string(),
        10_000..=999_999 => format!("{} k", n / 1000),
        _ => format!("{:.1} M", n as f64 / 1e6),
    }
}

/// Breaks sentences into lines of at most `width` columns, at spaces where there are any: a word that is longer than a
/// line goes on in the next one.
pub(super) fn wrap(text: &str, room: usize) -> Vec<String> {
    let room = room.max(1);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let fits = Span::raw(line.as_str()).width() + 1 + Span::raw(word).width() <= room;
        if !line.is_empty() && !fits {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        for c in word.chars() {
            let more = Span::raw(&*c.encode_utf8(&mut [0; 4])).width();
            if !line.is_empty() && Span::raw(line.as_str()).width() + more > room {
                lines.push(std::mem::take(&mut line));
            }
            line.push(c);
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

/// At most so many of these lines: where there are more, the last one says so.
pub(super) fn at_most(mut lines: Vec<String>, most: usize, room: usize) -> Vec<String> {
    if lines.len() > most {
        lines.truncate(most);
        if let Some(last) = lines.last_mut() {
            *last = fitted(&format!("{last} {MORE}"), room).into_owned();
        }
    }
    lines
}

/// What was written, for the test that holds that nothing is cut off without its sign.
#[cfg(test)]
pub(super) mod seen {
    use std::cell::RefCell;

    /// One text as written.
    #[derive(Clone, Debug)]
    pub(in crate::tui::draw) struct Put {
        pub(in crate::tui::draw) x: u16,
        pub(in crate::tui::draw) y: u16,
        pub(in crate::tui::draw) width: u16,
        pub(in crate::tui::draw) text: String,
    }

    thread_local! {
        static PUTS: RefCell<Vec<Put>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn note(x: u16, y: u16, width: u16, text: &str) {
        // Only words can be misread.
        if !text.contains(|c: char| c.is_alphanumeric() || c == super::MORE) {
            return;
        }
        let text = text.to_owned();
        PUTS.with_borrow_mut(|puts| puts.push(Put { x, y, width, text }));
    }

    /// What was written on this thread since the last time that somebody asked.
    pub(in crate::tui::draw) fn take() -> Vec<Put> {
        PUTS.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_numbers_are_written_as_people_read_them() {
        assert_eq!(clock(67_900_000_000), "1:07");
        assert_eq!(instant(41_580_000_000, 2), "0:41.58");
        assert_eq!(instant(41_580_000_000, 0), "0:41");
        assert_eq!(span(58_400_000), "58 ms");
        assert_eq!(span(2_140_000_000), "2.1 s");
        assert_eq!(span(300_000), "0.3 ms");
        assert_eq!(number(24117), "24,117");
        assert_eq!(number(117), "117");
        assert_eq!(size(12_345), "12 k");
    }

    #[test]
    fn lines_break_at_spaces() {
        assert_eq!(
            wrap("a read of 9 is not legal", 10),
            ["a read of", "9 is not", "legal"]
        );
        assert_eq!(wrap("", 10), Vec::<String>::new());
        assert_eq!(
            wrap("a whitewater/run", 6),
            ["a", "whitew", "ater/r", "un"],
            "what has no space in it is not lost"
        );
    }

    #[test]
    fn what_does_not_fit_ends_in_the_sign_of_what_was_cut_off() {
        let check = |text, room, expected: &str| assert_eq!(fitted(text, room), expected);
        check("dead", 4, "dead");
        check("dead  ", 4, "dead");
        check("dead", 3, "de…");
        check("dead", 1, "…");
        check("dead", 0, "");
        check("k1→1301", 5, "k1→1…");
    }

    #[test]
    fn a_number_that_does_not_fit_is_rounded_and_never_cut() {
        let check = |n, room, expected: &str| assert_eq!(fitted_number(n, room), expected);
        check(1_278, 5, "1,278");
        check(1_278, 4, "1278");
        check(12_789, 4, "12k");
        check(12_789, 5, "12789");
        check(12_789, 6, "12,789");
        check(127_899, 5, "127k");
        check(1_278_999, 4, "1.2M");
        check(1_278_999, 2, "1M");
        check(1_278, 3, "1k");
        check(127_899, 3, ">99");
        check(u64::MAX, 6, ">99999");
        check(7, 0, "");
        check(77, 1, "…");
    }

    #[test]
    fn cells_have_a_blank_between_them_and_the_last_one_has_the_rest() {
        let cells = cells(2, &[5, 3, 4], 30);
        for pair in cells.windows(2) {
            assert_eq!(pair[0].x + pair[0].width + 1, pair[1].x);
        }
        assert_eq!(cells[2], Cell { x: 12, width: 18 });
        let area = Rect::new(0, 0, 30, 1);
        let mut buf = Buffer::empty(area);
        for cell in cells.iter().take(2) {
            cell.number(&mut buf, area, 0, 1_234_567, Style::new());
        }
        let seen: String = buf.content.iter().map(|cell| cell.symbol()).collect();
        assert_eq!(seen.trim_end(), "   1.2M  1M");
    }

    #[test]
    fn a_line_of_several_styles_is_cut_as_one() {
        let area = Rect::new(0, 0, 8, 1);
        let mut buf = Buffer::empty(area);
        let line = Line::from(vec![
            Span::raw("ab "),
            Span::raw("cdefg"),
            Span::raw(" hij"),
        ]);
        put_line(&mut buf, area, 0, 0, &line);
        let seen: String = buf.content.iter().map(|cell| cell.symbol()).collect();
        assert_eq!(seen, "ab cdef…");
    }
}
