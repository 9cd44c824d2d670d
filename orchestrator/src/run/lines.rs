//! Cuts a stream of bytes into lines. Pure.

/// Collects bytes into lines; what goes beyond a line's limit is dropped, and told by [`Line::is_cut`].
#[derive(Debug)]
pub(crate) struct LineSplitter {
    limit: usize,
    partial: Vec<u8>,
    is_cut: bool,
}

/// One line without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// The text; bytes that are no UTF-8 are replaced.
    pub(crate) text: String,
    /// Whether its rest was dropped.
    pub(crate) is_cut: bool,
}

impl LineSplitter {
    /// Keeps at most `limit` bytes of a line.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, partial: Vec::new(), is_cut: false }
    }

    /// Takes more bytes, and gives the lines that they complete.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.take(&bytes[..end]);
            lines.push(self.complete());
            bytes = &bytes[end + 1..];
        }
        self.take(bytes);
        lines
    }

    /// The last line, where it has no end.
    pub(crate) fn finish(&mut self) -> Option<Line> {
        (!self.partial.is_empty() || self.is_cut).then(|| self.complete())
    }

    fn take(&mut self, bytes: &[u8]) {
        let room = self.limit - self.partial.len();
        self.is_cut |= bytes.len() > room;
        self.partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn complete(&mut self) -> Line {
        let is_cut = std::mem::take(&mut self.is_cut);
        if !is_cut && self.partial.last() == Some(&b'\r') {
            self.partial.pop();
        }
        let text = String::from_utf8_lossy(&self.partial).replace('\0', "\u{fffd}");
        self.partial.clear();
        Line { text, is_cut }
    }
}

/// The last line that says something, of those that were seen.
#[derive(Debug, Default)]
pub(crate) struct LastLine(Option<String>);

impl LastLine {
    /// Up to this length a line is continued, in bytes.
    const CONTINUED_MAX: usize = 500;
    /// What Fabric writes after its reason.
    const FAREWELL: &str = "Aborting.";

    /// Sees one more. An indented one continues a line that ends in a colon, as in Fabric's warnings.
    pub(crate) fn see(&mut self, text: &str) {
        let line = text.trim();
        match &mut self.0 {
            _ if line.is_empty() => {}
            Some(_) if line == Self::FAREWELL => {}
            Some(last)
                if last.ends_with(':') && last.len() < Self::CONTINUED_MAX && text.starts_with(char::is_whitespace) =>
            {
                *last = format!("{last} {line}");
            }
            last => *last = Some(line.to_owned()),
        }
    }

    /// The line, without the blanks around it.
    pub(crate) fn into_text(self) -> Option<String> {
        self.0
    }
}

/// The beginning of `text`, at most `limit` bytes of it.
pub(crate) fn shortened(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(limit: usize, pieces: &[&[u8]]) -> Vec<(String, bool)> {
        let mut splitter = LineSplitter::new(limit);
        let mut lines: Vec<Line> = pieces.iter().flat_map(|piece| splitter.push(piece)).collect();
        lines.extend(splitter.finish());
        lines.into_iter().map(|line| (line.text, line.is_cut)).collect()
    }

    #[test]
    fn lines_do_not_depend_on_the_pieces() {
        let stream = b"one\r\n\ntw\xc3\xb6\nbad \xff\x00 byte\nlonger than ten\nend";
        let whole = texts(12, &[stream]);
        let expected = [
            ("one", false),
            ("", false),
            ("twö", false),
            ("bad \u{fffd}\u{fffd} byte", false),
            ("longer than ", true),
            ("end", false),
        ];
        assert_eq!(whole, expected.map(|(text, is_cut)| (text.to_owned(), is_cut)));
        for size in 1..stream.len() {
            assert_eq!(texts(12, &stream.chunks(size).collect::<Vec<_>>()), whole, "pieces of {size}");
        }
    }

    #[test]
    fn nothing_is_made_of_nothing() {
        assert_eq!(texts(5, &[]), []);
        assert_eq!(texts(5, &[b"\n"]), [(String::new(), false)]);
    }

    #[test]
    fn the_last_line_that_says_something() {
        for (lines, expected) in [
            (&["one", "  two ", "", " "][..], Some("two")),
            (&["", "Warning: Command(s) not found:", "    check", ""], Some("Warning: Command(s) not found: check")),
            (&["Fatal error: no route", "", "Aborting."], Some("Fatal error: no route")),
            (&["Aborting."], Some("Aborting.")),
            (&["Error:", "not indented"], Some("not indented")),
            (&[" "], None),
        ] {
            let mut last = LastLine::default();
            lines.iter().for_each(|line| last.see(line));
            assert_eq!(last.into_text().as_deref(), expected);
        }
    }

    #[test]
    fn shortened_keeps_characters_whole() {
        assert_eq!(shortened("aö", 2), "a");
        assert_eq!(shortened("aö", 3), "aö");
    }
}
