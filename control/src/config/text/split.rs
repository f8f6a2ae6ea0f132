//! A TOML text cut at its headers, so that one section can be read and changed without the others.

/// A table from its header to the next one, with the comments before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// The first key of the header: `pool` of `[[pool.server]]`.
    pub(super) section: &'a str,
    /// The line of the header.
    pub(super) header: &'a str,
    /// All of it, to the byte.
    pub(super) text: &'a str,
}

/// The pieces of a text, which put together are the text. `None` if it cannot be cut like this: keys stand
/// before the first header, the name of a section is quoted, or it is no TOML.
pub(super) fn pieces(text: &str) -> Option<Vec<Piece<'_>>> {
    let bytes = text.as_bytes();
    // Where each piece begins, its header and its section.
    let mut found: Vec<(usize, &str, &str)> = Vec::new();
    // Behind the last line that says something, and where the present one begins.
    let (mut said, mut at) = (0, 0);
    while at < bytes.len() {
        let line = text.get(at..)?.lines().next()?;
        let next = at + line_length(&bytes[at..]);
        match line.trim_start().as_bytes().first() {
            None | Some(b'#') => at = next,
            Some(b'[') => {
                found.push((said, line, section(line.trim_start())?));
                (at, said) = (next, next);
            }
            // A key of no section.
            Some(_) if found.is_empty() => return None,
            Some(_) => {
                at += pair_length(&bytes[at..])?;
                said = at;
            }
        }
    }
    let ends = found.iter().skip(1).map(|&(begin, ..)| begin);
    let ends = ends.chain([bytes.len()]);
    let pieces = found.iter().zip(ends);
    let pieces: Option<Vec<_>> = pieces
        .map(|(&(begin, header, section), end)| {
            Some(Piece {
                section,
                header,
                text: text.get(begin..end)?,
            })
        })
        .collect();
    pieces.filter(|pieces| !pieces.is_empty())
}

/// The first key of a header, if it is a bare one.
fn section(header: &str) -> Option<&str> {
    let inner = header.strip_prefix('[')?;
    let inner = inner.strip_prefix('[').unwrap_or(inner).trim_start();
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let end = inner.find(|c| !is_bare(c))?;
    let (key, rest) = inner.split_at(end);
    let ends = rest.trim_start().starts_with(['.', ']']);
    (ends && !key.is_empty()).then_some(key)
}

/// Bytes up to the next line.
fn line_length(bytes: &[u8]) -> usize {
    let end = bytes.iter().position(|&byte| byte == b'\n');
    end.map_or(bytes.len(), |end| end + 1)
}

/// Bytes of a key and its value, up to the next line; the value may have several.
fn pair_length(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\n' if depth == 0 => return Some(at + 1),
            b'#' => {
                let rest = &bytes[at..];
                at += rest
                    .iter()
                    .position(|&byte| byte == b'\n')
                    .unwrap_or(rest.len());
                continue;
            }
            b'"' | b'\'' => at += string_length(&bytes[at..])? - 1,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        at += 1;
    }
    (depth == 0).then_some(bytes.len())
}

/// Bytes of a string, its quotes included.
fn string_length(bytes: &[u8]) -> Option<usize> {
    let quote = *bytes.first()?;
    let long = bytes.starts_with(&[quote; 3]);
    let mut at = if long { 3 } else { 1 };
    loop {
        match *bytes.get(at)? {
            // Literal strings have no escapes.
            b'\\' if quote == b'"' => at += 1,
            b'\n' if !long => return None,
            byte if byte == quote && !long => return Some(at + 1),
            byte if byte == quote && bytes[at..].starts_with(&[quote; 3]) => {
                // Up to two quotes may stand before those that end it.
                let more = bytes[at + 3..].iter().take(2);
                return Some(at + 3 + more.take_while(|&&byte| byte == quote).count());
            }
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Option<Vec<(&str, &str)>> {
        let pieces = pieces(text)?;
        let whole: String = pieces.iter().map(|piece| piece.text).collect();
        assert_eq!(whole, text, "nothing is lost");
        Some(pieces.iter().map(|it| (it.section, it.text)).collect())
    }

    #[test]
    fn comments_go_with_the_header_that_they_are_before() {
        let text =
            "# first\n\n[a] # x\nb = 1 # [c]\n# of d\n\n  [[ d . e ]]\n[d-2]\r\nf = 2\r\n# last";
        let wanted = [
            ("a", "# first\n\n[a] # x\nb = 1 # [c]\n"),
            ("d", "# of d\n\n  [[ d . e ]]\n"),
            ("d-2", "[d-2]\r\nf = 2\r\n# last"),
        ];
        assert_eq!(cut(text).expect("pieces"), wanted);
    }

    #[test]
    fn what_is_like_a_header_within_a_value_is_none() {
        for value in [
            "[\n[1],\n# ]\n\"]\",\n[2]\n]",
            "\"\"\"\n[x]\n\\\"\"\"\n[y]\n\"\"\"\"\"",
            "'''\n[x]\n\\'''''",
            "'\\'",
            "\"\\\"[\"",
            "{ b = [\n[3]] }",
            "\"\"",
        ] {
            let text = format!("[a]\nb = {value}\n[c]\n");
            let wanted = [("a", &*format!("[a]\nb = {value}\n")), ("c", "[c]\n")];
            assert_eq!(cut(&text).expect(value), wanted);
        }
    }

    #[test]
    fn what_cannot_be_cut_is_left_alone() {
        for text in [
            "",
            "# nothing\n",
            "a = 1\n[b]\n",
            "[\"a\"]\n",
            "[a\n",
            "[]\n",
            "[a]\nb = [\n",
            "[a]\nb = \"\n\"\n",
            "[a]\nb = '''",
            "[a]\nb = ]\n",
        ] {
            assert_eq!(cut(text), None, "{text:?}");
        }
    }
}
