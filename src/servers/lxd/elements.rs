//! Cuts the elements of a list out of an answer while the answer arrives. Each of them is then read on its
//! own.
//!
//! `serde_json` reads a stream byte by byte, which takes longer than reading a complete text. But the
//! list of a thousand instances has megabytes, and only one instance at a time may be in memory.

use crate::servers::http::LARGE;

/// An answer like `{"type": "sync", …, "metadata": […]}` that arrives in pieces.
#[derive(Debug)]
pub(super) struct Elements {
    /// Maximum number of bytes that are kept of an element.
    most: usize,
    /// Everything except the elements.
    rest: Vec<u8>,
    /// The beginning of the element that arrives, from earlier pieces.
    element: Vec<u8>,
    /// The number of elements that have arrived, if this is inside the list.
    list: Option<usize>,
    /// The number of brackets that are open.
    depth: usize,
    is_text: bool,
    /// The last byte of a text was a backslash.
    is_escaped: bool,
}

impl Elements {
    /// Nothing has arrived yet. Of an element that is too long and comes in several pieces, `most` bytes and
    /// one more are kept.
    pub(super) fn new(most: usize) -> Elements {
        Elements {
            most,
            rest: Vec::new(),
            element: Vec::new(),
            list: None,
            depth: 0,
            is_text: false,
            is_escaped: false,
        }
    }

    /// Takes in the next piece. `each` gets the elements that are complete. An element is any text between
    /// two commas: only reading it shows whether it is one.
    pub(super) fn take_in(&mut self, piece: &[u8], mut each: impl FnMut(&[u8])) {
        let mut from = 0;
        for (at, byte) in piece.iter().enumerate() {
            if self.is_text {
                match byte {
                    _ if self.is_escaped => self.is_escaped = false,
                    b'\\' => self.is_escaped = true,
                    b'"' => self.is_text = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.is_text = true,
                b'[' | b'{' => {
                    self.depth += 1;
                    if *byte == b'[' && self.depth == 2 {
                        self.keep(&piece[from..at]);
                        from = at;
                        if is_before_list(&self.rest) {
                            self.rest.push(b'[');
                            (self.list, from) = (Some(0), at + 1);
                        }
                    }
                }
                b']' | b'}' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 1
                        && let Some(before) = self.list
                    {
                        let last = &piece[from..at];
                        if before > 0
                            || !(self.element.trim_ascii().is_empty() && last.trim_ascii().is_empty())
                        {
                            self.end(last, &mut each);
                        }
                        (self.list, from) = (None, at);
                    }
                }
                b',' if self.depth == 2 => {
                    if let Some(before) = &mut self.list {
                        *before += 1;
                        self.end(&piece[from..at], &mut each);
                        from = at + 1;
                    }
                }
                _ => {}
            }
        }
        self.keep(&piece[from..]);
    }

    /// Everything except the elements. That is enough to decide whether the answer is a good one.
    pub(super) fn rest(&self) -> &[u8] {
        &self.rest
    }

    /// An element has arrived, of which this is the last part.
    fn end(&mut self, last: &[u8], each: &mut impl FnMut(&[u8])) {
        if self.element.is_empty() {
            return each(last);
        }
        self.keep(last);
        each(&self.element);
        self.element.clear();
        self.element.shrink_to(LARGE);
    }

    fn keep(&mut self, part: &[u8]) {
        match self.list {
            Some(_) => {
                let room = (self.most + 1).saturating_sub(self.element.len());
                self.element.extend_from_slice(&part[..part.len().min(room)]);
            }
            None => self.rest.extend_from_slice(part),
        }
    }
}

/// Whether a text ends in `"metadata":`
fn is_before_list(text: &[u8]) -> bool {
    let key = text.trim_ascii_end().strip_suffix(b":");
    key.is_some_and(|key| key.trim_ascii_end().ends_with(b"\"metadata\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(answer: &str, size: usize, most: usize) -> (Vec<String>, String) {
        let (mut elements, mut found) = (Elements::new(most), Vec::new());
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        for piece in answer.as_bytes().chunks(size) {
            elements.take_in(piece, |element| found.push(text(element)));
        }
        let rest = text(elements.rest());
        (found, rest)
    }

    #[test]
    fn the_elements_are_cut_out_wherever_the_pieces_end() {
        let answer = r#"{"type":"sync","notes":[1,2],"metadata" : [{"a":["]},{",1],"b\\":"\"}"}, 5 ,[[],{}]],"more":{"metadata":[7]}}"#;
        for size in 1..=answer.len() {
            let (found, rest) = cut(answer, size, 1000);
            assert_eq!(found, [r#"{"a":["]},{",1],"b\\":"\"}"}"#, " 5 ", "[[],{}]"]);
            assert_eq!(rest, r#"{"type":"sync","notes":[1,2],"metadata" : [],"more":{"metadata":[7]}}"#);
        }
    }

    #[test]
    fn an_empty_list_has_no_element_and_a_comma_too_many_makes_one() {
        for (list, expected) in [("[ ]", &[][..]), ("[1,]", &["1", ""]), ("[,]", &["", ""]), ("null", &[])] {
            assert_eq!(cut(&format!("{{\"metadata\":{list}}}"), 3, 10).0, expected, "{list}");
        }
    }

    #[test]
    fn an_answer_of_another_form_stays_unchanged() {
        for answer in [
            "",
            "<html>",
            "[1,2]",
            "}}]]",
            "[[1,2],[3]]",
            r#"{"metadata":{"a":[1,2]}}"#,
            r#"{"metadata":"[1,2]"}"#,
        ] {
            assert_eq!(cut(answer, 2, 10), (vec![], answer.to_owned()));
        }
    }

    #[test]
    fn a_long_element_is_kept_only_in_part() {
        let (found, _) = cut(r#"{"metadata":["123456789",2]}"#, 4, 5);
        assert_eq!(found, ["\"12345", "2"]);
    }
}
