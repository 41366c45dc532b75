//! Columns side by side with two spaces between them. The last one is wrapped at the width of the terminal.

use crate::commands::output::Look;
use crate::model::text;

/// A state at a glance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::commands) enum Mark {
    Good,
    Bad,
    Warning,
    Idle,
    Unknown,
}

impl Mark {
    /// Its symbol.
    pub(super) fn symbol(self, look: Look) -> &'static str {
        match (self, look.symbols) {
            (Mark::Good, true) => "●",
            (Mark::Good, false) => "*",
            (Mark::Bad, true) => "✗",
            (Mark::Bad, false) => "x",
            (Mark::Warning, _) => "!",
            (Mark::Idle, true) => "○",
            (Mark::Idle, false) => "o",
            (Mark::Unknown, _) => "?",
        }
    }

    /// Its colour.
    pub(super) fn tone(self) -> Tone {
        match self {
            Mark::Good => Tone::Good,
            Mark::Bad => Tone::Bad,
            Mark::Warning => Tone::Waiting,
            Mark::Idle | Mark::Unknown => Tone::Faint,
        }
    }

    /// A symbol with its colour.
    pub(in crate::commands) fn painted(self, look: Look) -> String {
        Cell::toned(self.symbol(look), self.tone()).painted(look)
    }
}

/// The meaning of a text, shown as a colour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::commands) enum Tone {
    Plain,
    Header,
    Good,
    Waiting,
    Bad,
    Faint,
}

/// A text with its tone. Only the last column may hold several lines.
#[derive(Clone, Debug)]
pub(in crate::commands) struct Cell {
    text: String,
    tone: Tone,
}

/// A table in the making.
pub(super) struct Grid<const N: usize> {
    rows: Vec<GridLine<N>>,
}

/// A line of a table.
enum GridLine<const N: usize> {
    Row([Cell; N]),
    /// A text that is too long for its column.
    Alone(Cell),
}

/// Minimum width of the last column.
const NARROWEST: usize = 16;

impl Cell {
    pub(super) fn from(text: &str) -> Cell {
        Cell::toned(text, Tone::Plain)
    }

    pub(in crate::commands) fn toned(text: &str, tone: Tone) -> Cell {
        Cell { text: printable(text), tone }
    }

    /// A text behind a symbol, in one colour.
    pub(super) fn marked(mark: Mark, text: &str, look: Look) -> Cell {
        Cell::toned(&format!("{} {text}", mark.symbol(look)), mark.tone())
    }

    /// A dash if the value is unknown or absent.
    pub(super) fn or_dash(text: &str) -> Cell {
        if text.is_empty() { Cell::toned("-", Tone::Faint) } else { Cell::from(text) }
    }

    /// Each on its own line.
    pub(super) fn lines<const M: usize>(lines: [Option<String>; M]) -> Cell {
        let lines: Vec<String> = lines.iter().flatten().map(|line| printable(line)).collect();
        Cell { text: lines.join("\n"), tone: Tone::Plain }
    }

    pub(in crate::commands) fn painted(&self, look: Look) -> String {
        let code = match self.tone {
            Tone::Plain => "",
            Tone::Header => "1",
            Tone::Good => "32",
            Tone::Waiting => "33",
            Tone::Bad => "31",
            Tone::Faint => "2",
        };
        match look.colour && !code.is_empty() && !self.text.is_empty() {
            true => format!("\x1b[{code}m{}\x1b[0m", self.text),
            false => self.text.clone(),
        }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl<const N: usize> Grid<N> {
    pub(super) fn new(header: [&str; N]) -> Grid<N> {
        Grid { rows: vec![GridLine::Row(header.map(|title| Cell::toned(title, Tone::Header)))] }
    }

    pub(super) fn row(&mut self, cells: [Cell; N]) {
        self.rows.push(GridLine::Row(cells));
    }

    /// A line with nothing beside this text.
    pub(super) fn alone(&mut self, cell: Cell) {
        self.rows.push(GridLine::Alone(cell));
    }

    pub(super) fn render(&self, look: Look) -> String {
        let rows = || {
            self.rows.iter().filter_map(|line| if let GridLine::Row(row) = line { Some(row) } else { None })
        };
        let width = |column: usize| rows().map(|row| row[column].width()).max().unwrap_or(0) + 2;
        let widths: Vec<usize> = (0..N - 1).map(width).collect();
        let left: usize = widths.iter().sum();
        let right = look.width.map(|width| width.saturating_sub(left).max(NARROWEST));
        let mut text = String::new();
        for line in &self.rows {
            let row = match line {
                GridLine::Row(row) => row,
                GridLine::Alone(cell) => {
                    text += &format!("{}\n", cell.painted(look));
                    continue;
                }
            };
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line += &cell.painted(look);
                line += &" ".repeat(width - cell.width());
            }
            let Cell { text: last, tone } = &row[N - 1];
            for (n, part) in last.lines().flat_map(|line| wrap(line, right, 0)).enumerate() {
                let part = Cell { text: part, tone: *tone };
                // A word that is too long gets its own line, and moves to the left as far as it needs.
                let indent = look.width.map_or(left, |width| left.min(width.saturating_sub(part.width())));
                if n > 0 || indent < left {
                    line = format!("{}\n{}", line.trim_end(), " ".repeat(indent));
                }
                line += &part.painted(look);
            }
            text += line.trim_end();
            text += "\n";
        }
        text
    }
}

/// Breaks a text at its spaces. Lines after the first have `less` columns less. A long word stays whole.
pub(in crate::commands) fn wrap(text: &str, width: Option<usize>, less: usize) -> Vec<String> {
    let Some(width) = width else { return vec![text.to_owned()] };
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let room = if lines.is_empty() { width } else { width.saturating_sub(less) };
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > room {
            lines.push(std::mem::take(&mut line));
        } else if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    lines.push(line);
    lines
}

/// Names and messages come from servers and guests, so they must not control the terminal.
pub(in crate::commands) fn printable(text: &str) -> String {
    text::visible(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_at_spaces() {
        assert_eq!(wrap("one two three", Some(7), 0), ["one two", "three"]);
        assert_eq!(wrap("one two three", Some(7), 4), ["one two", "three"]);
        assert_eq!(wrap("a 2001:db8::1 b", Some(4), 0), ["a", "2001:db8::1", "b"]);
        assert_eq!(wrap("one two three", None, 0), ["one two three"]);
    }

    #[test]
    fn terminal_controls_are_taken_away() {
        assert_eq!(Cell::from("a\x1b[2Jb\n").painted(Look::PLAIN), "a\\u{1b}[2Jb\\n");
    }

    #[test]
    fn colours_take_no_room() {
        let mut grid = Grid::new(["A", "B"]);
        grid.row([Cell::toned("x", Tone::Good), Cell::from("y")]);
        let coloured = grid.render(Look { colour: true, ..Look::PLAIN });
        assert_eq!(coloured, "\x1b[1mA\x1b[0m  \x1b[1mB\x1b[0m\n\x1b[32mx\x1b[0m  y\n");
        assert_eq!(grid.render(Look::PLAIN), "A  B\nx  y\n");
    }
}
