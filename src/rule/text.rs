//! The words of a rule: finds in a rule file what is written behind a key, for people to read.
//!
//! It reads no more of the language than strings, comments and brackets, and is only asked of files that
//! compile; what it does not find is shown as empty and never decides anything.

/// What stands behind `key:` in the rule that begins on `line` (1 is the first), as written.
#[must_use]
pub fn written(text: &str, line: usize, key: &str) -> Option<String> {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let body = text.get(start..)?;
    let (mut depth, mut fresh, mut found) = (0_usize, false, None);
    for (at, piece) in pieces(body) {
        let end = |from: usize| Some(body[from..at].trim().to_owned());
        match piece {
            Piece::Open => depth += 1,
            Piece::Close => {
                if let (Some((from, inside)), true) = (found, found.is_some_and(|(_, inside)| depth == inside)) {
                    debug_assert!(inside > 0, "a key stands in brackets");
                    return end(from);
                }
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return None;
                }
            }
            Piece::Comma => match found {
                Some((from, inside)) if depth == inside => return end(from),
                Some(_) | None => {}
            },
            Piece::Word(word) if found.is_none() && depth == BODY && fresh && word == key => {
                let rest = body[at + word.len()..].trim_start();
                if rest.starts_with(':') {
                    found = Some((body.len() - rest.len() + 1, depth));
                }
            }
            Piece::Word(_) | Piece::Other => {}
        }
        fresh = matches!(piece, Piece::Open | Piece::Comma);
    }
    None
}

/// Brackets around a key of a rule: `rule(` and `#{`.
const BODY: usize = 2;

enum Piece<'a> {
    Open,
    Close,
    Comma,
    Word(&'a str),
    Other,
}

/// The text in pieces with their places; strings are pieces of no interest, comments none at all. The commas
/// between the parameters of a closure are no ends.
fn pieces(text: &str) -> Vec<(usize, Piece<'_>)> {
    let mut list = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let (length, piece) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), None)
        } else if rest.starts_with("/*") {
            (rest.find("*/").map_or(rest.len(), |end| end + 2), None)
        } else if first == '"' || first == '\'' || first == '`' {
            (string(rest, first), Some(Piece::Other))
        } else if first == '|' {
            // `|p|`, `||`; a comma between the bars would be one of its parameters.
            let bars = rest[1..].find('|').filter(|end| rest[1..=*end].chars().all(is_parameter));
            (bars.map_or(1, |end| end + 2), Some(Piece::Other))
        } else if first.is_alphabetic() || first == '_' {
            let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            (length, Some(Piece::Word(&rest[..length])))
        } else {
            let piece = match first {
                '(' | '[' | '{' => Some(Piece::Open),
                ')' | ']' | '}' => Some(Piece::Close),
                ',' => Some(Piece::Comma),
                c if c.is_whitespace() || c == '#' => None,
                _ => Some(Piece::Other),
            };
            (first.len_utf8(), piece)
        };
        list.extend(piece.map(|piece| (at, piece)));
        at += length.max(first.len_utf8());
    }
    list
}

fn is_parameter(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == ',' || c.is_whitespace()
}

/// Length of a string with its quotes.
fn string(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '\\' if !escaped && quote != '`' => escaped = true,
            c if c == quote && !escaped => return at + c.len_utf8(),
            _ => escaped = false,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::written;

    #[test]
    fn closures_are_found_as_they_are_written() {
        let text = r#"// raise: not here
rule("one", #{ title: "a, raise: no }", limits: #{ raise: #{ value: 1.0 } }, // raise: |p| false,
    raise: |p| { let x = [1, 2]; p.value > max(x[0], 2) && "}," != `"` },
    clear:  /* , */ |p| p.value < 1.0 });
rule("two", #{ raise: |p| p.value || p.mean("5m") > 1.0,
});
"#;
        assert_eq!(
            written(text, 2, "raise").as_deref(),
            Some(r#"|p| { let x = [1, 2]; p.value > max(x[0], 2) && "}," != `"` }"#)
        );
        assert_eq!(written(text, 2, "clear").as_deref(), Some("/* , */ |p| p.value < 1.0"));
        assert_eq!(written(text, 5, "raise").as_deref(), Some("|p| p.value || p.mean(\"5m\") > 1.0"));
        assert_eq!((written(text, 5, "clear"), written(text, 9, "raise"), written("", 1, "x")), (None, None, None));
    }
}
