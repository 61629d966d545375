//! Text on cells: clipped, padded, and how times and numbers are written.

use ratatui::buffer::Buffer;
use ratatui::layout::{Margin, Rect};
use ratatui::style::Style;
use ratatui::symbols::border;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Widget};

use crate::tui::theme::Theme;

/// Writes `text` at a column and row of `area`, clipped to it; gives the column after it.
pub(super) fn put(buf: &mut Buffer, area: Rect, x: u16, y: u16, text: &str, style: Style) -> u16 {
    let area = area.intersection(buf.area);
    if x >= area.width || y >= area.height {
        return x;
    }
    let (end, _) = buf.set_stringn(
        area.x + x,
        area.y + y,
        text,
        usize::from(area.width - x),
        style,
    );
    end - area.x
}

/// Writes `text` so that it ends before column `end`.
pub(super) fn put_right(buf: &mut Buffer, area: Rect, end: u16, y: u16, text: &str, style: Style) {
    let width = Span::raw(text).width() as u16;
    put(buf, area, end.saturating_sub(width), y, text, style);
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
    let mut block = Block::bordered()
        .border_set(set)
        .border_style(theme.frame(focused));
    let room = usize::from(area.width.saturating_sub(2));
    let title = Span::styled(
        format!(" {} ", theme.glyphs.spell(left)),
        if focused { theme.bold() } else { theme.ok() },
    );
    let right_fits = title.width() + right.width() < room;
    block = block.title_top(title);
    if right_fits && right.width() > 0 {
        block = block.title_top(right.right_aligned());
    }
    let inner = block.inner(area);
    block.render(area, buf);
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

/// Breaks sentences into lines of at most `width` columns, at spaces where there are any.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let word_width = Span::raw(word).width();
        if !line.is_empty() && Span::raw(line.as_str()).width() + 1 + word_width > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
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
    }
}
