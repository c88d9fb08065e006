//! Patterns of ids: how people name many points at once.

/// Does the text fit the pattern, in which `*` stands for any text, also for none? Each piece between stars is
/// looked for once, so that no pattern is slow.
#[must_use]
pub fn fits(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(first) else { return false };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        let Some(at) = left.find(piece) else { return false };
        left = &left[at + piece.len()..];
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("mine.t1", "mine.t1", true),
            ("mine.t1", "mine.t10", false),
            ("mine.*", "mine.t1", true),
            ("mine.*", "mine2.t1", false),
            ("*.t1", "mine.t1", true),
            ("*.3201-*", "mine.3201-t0", true),
            ("*.3201-*", "mine.3202-3201", false),
            ("m*.t*1", "mine.t21", true),
            ("a*b*c", "aXbXbc", true),
            ("a*b*c", "a1c2b", false),
            ("a*a", "a", false),
            ("ab*ba", "aba", false),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("采煤*", "采煤面.t1", true),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
        let stars = "*a".repeat(1_000);
        assert!(!fits(&stars, &"b".repeat(2_000)));
    }
}
