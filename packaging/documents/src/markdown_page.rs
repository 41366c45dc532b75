//! A manual page from one of the documents, so that a text has one source.

use anyhow::{Result, bail};
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use crate::roff::{bold, plain, title};

/// The head of a page.
pub(crate) struct Head<'a> {
    pub(crate) name: &'a str,
    pub(crate) section: u8,
    pub(crate) date: &'a str,
    /// The subject in a few words.
    pub(crate) about: &'a str,
    /// Other pages: name and section.
    pub(crate) see_also: &'a [(&'a str, u8)],
}

/// The page of a document in Markdown: its headings become sections, and each row of a table becomes a term
/// with its description. The document's own title falls away. Links to other documents lose their targets.
pub(crate) fn page(head: &Head, markdown: &str) -> Result<String> {
    let mut page = Page::default();
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
        page.take(event)?;
    }
    let also = head.see_also.iter().map(|(name, section)| format!("{}({section})", bold(name)));
    Ok(format!(
        "{}\n.SH NAME\n{} \\- {}\n.SH DESCRIPTION\n{}.SH SEE ALSO\n{}\n",
        title(head.name, head.section, head.date),
        plain(head.name),
        plain(head.about),
        page.roff,
        also.collect::<Vec<_>>().join(", ")
    ))
}

#[derive(Default)]
struct Page {
    roff: String,
    /// The text of the block that is being read.
    text: String,
    /// The headers of the table's columns.
    columns: Vec<String>,
    /// The cells of the row that is being read.
    cells: Vec<String>,
}

impl Page {
    fn take(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Text(text) if self.text.is_empty() => self.text = plain(&text),
            // A dot or an apostrophe is a command only where a line begins.
            Event::Text(text) => self.text += plain(&text).trim_start_matches("\\&"),
            Event::Code(code) => self.text += &bold(&code),
            Event::SoftBreak => self.text.push(' '),
            Event::End(TagEnd::Heading(level)) => self.heading(level)?,
            Event::End(TagEnd::Paragraph) => {
                let text = std::mem::take(&mut self.text);
                self.roff += &format!(".PP\n{text}\n");
            }
            Event::End(TagEnd::TableCell) => self.cells.push(std::mem::take(&mut self.text)),
            Event::End(TagEnd::TableHead) => self.columns = std::mem::take(&mut self.cells),
            Event::End(TagEnd::TableRow) => self.row(),
            Event::Start(
                Tag::Heading { .. }
                | Tag::Paragraph
                | Tag::Table(_)
                | Tag::TableHead
                | Tag::TableRow
                | Tag::TableCell
                | Tag::Link { .. },
            )
            | Event::End(TagEnd::Table | TagEnd::Link) => {}
            other => bail!("{other:?} has no form in a manual page yet"),
        }
        Ok(())
    }

    fn heading(&mut self, level: HeadingLevel) -> Result<()> {
        let text = std::mem::take(&mut self.text);
        match level {
            HeadingLevel::H1 => {}
            HeadingLevel::H2 => self.roff += &format!(".SH {}\n", text.to_uppercase()),
            HeadingLevel::H3 => self.roff += &format!(".SS {text}\n"),
            deeper => bail!("a manual page has no {deeper} ({text})"),
        }
        Ok(())
    }

    /// The first cell is the term. The headers say what the others are.
    fn row(&mut self) {
        let cells = std::mem::take(&mut self.cells);
        let mut cells = self.columns.iter().zip(&cells);
        let term = cells.next().map(|(_, term)| term.as_str()).unwrap_or_default();
        self.roff += &format!(".TP\n{term}\n");
        for (column, cell) in cells {
            match column.as_str() {
                "meaning" => self.roff += &format!("{}.\n", capital(cell)),
                column => self.roff += &format!(".br\n{}: {cell}.\n", capital(column)),
            }
        }
    }
}

/// Text with a capital where it begins.
fn capital(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map(|first| first.to_uppercase().chain(rest).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Head = Head {
        name: "x-codes",
        section: 7,
        date: "2026-11-30",
        about: "states and codes of x",
        see_also: &[("x", 8), ("x-status", 8)],
    };

    #[test]
    fn headings_paragraphs_and_tables_have_their_forms() {
        let markdown = "# Title\n\nSee `x-y` and [this](that.md).\nMore.\n\n## One part\n\n### A piece\n\n\
                        | code | meaning | what to do |\n| --- | --- | --- |\n| `a-b` | it is off | turn it `on` |\n";
        let expected = ".SH NAME\nx\\-codes \\- states and codes of x\n.SH DESCRIPTION\n.PP\nSee \\fBx\\-y\\fR and this. More.\n\
                        .SH ONE PART\n.SS A piece\n.TP\n\\fBa\\-b\\fR\nIt is off.\n.br\nWhat to do: turn it \\fBon\\fR.\n\
                        .SH SEE ALSO\n\\fBx\\fR(8), \\fBx\\-status\\fR(8)\n";
        let page = page(&HEAD, markdown).unwrap();
        let (title, body) = page.split_once('\n').unwrap();
        assert!(title.starts_with(".TH x\\-codes 7 2026\\-11\\-30 \"macvlan\\-shim "), "{title}");
        assert_eq!(body, expected);
    }

    #[test]
    fn a_form_that_is_not_known_is_an_error() {
        assert!(page(&HEAD, "* an item\n").is_err());
    }
}
