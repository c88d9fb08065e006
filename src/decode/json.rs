//! JSON as spans of the text itself: nothing is copied, nothing is built.
//!
//! In comes a payload; [`document`] says once whether it is JSON, and the [`Node`]s of it are then walked
//! without checking again. Two liberties, because loggers take them: `NaN`, `Infinity` and `inf` (with or
//! without a sign, in any case) are accepted where a number may stand, and a number may be as large as it
//! likes. Both become bad samples, which says more than a dropped message. Never: nesting over [`MAX_DEPTH`].

use super::scalar::Scalar;

/// Objects and arrays inside each other; a payload that nests deeper is not JSON to us.
pub const MAX_DEPTH: usize = 64;

/// One JSON value inside a payload that was validated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Node<'a>(&'a str);

/// The payload's value, if all of the payload is JSON.
pub fn document(text: &str) -> Option<Node<'_>> {
    let bytes = text.as_bytes();
    let start = skip_space(bytes, 0);
    let end = value_end(bytes, start, MAX_DEPTH)?;
    (skip_space(bytes, end) == bytes.len()).then(|| Node(&text[start..end]))
}

impl<'a> Node<'a> {
    pub fn is_object(self) -> bool {
        self.0.starts_with('{')
    }

    pub fn is_array(self) -> bool {
        self.0.starts_with('[')
    }

    /// Keys (as written, without quotes) and values; nothing unless this is an object.
    pub fn members(self) -> Members<'a> {
        Members(Items::of(self, '{'))
    }

    /// The values of an array; nothing unless this is one.
    pub fn elements(self) -> Elements<'a> {
        Elements(Items::of(self, '['))
    }

    /// The member of that name. Of several, the last: that is what every JSON library does.
    pub fn get(self, name: &str) -> Option<Node<'a>> {
        self.members().filter(|(key, _)| same_text(key, name)).last().map(|(_, value)| value)
    }

    /// Anything but an object or an array.
    pub fn scalar(self) -> Option<Scalar<'a>> {
        if self.is_object() || self.is_array() {
            return None;
        }
        Scalar::of(self.0)
    }
}

/// Does the string `raw`, as written between its quotes, say `plain`?
pub fn same_text(raw: &str, plain: &str) -> bool {
    if raw.as_bytes().contains(&b'\\') {
        return unescaped(raw).is_some_and(|text| text == plain);
    }
    raw == plain
}

/// A string with escapes, read by the library: rare enough to allocate. `None`: half of a surrogate pair.
pub fn unescaped(raw: &str) -> Option<String> {
    serde_json::from_str(&format!("\"{raw}\"")).ok()
}

pub struct Members<'a>(Items<'a>);

impl<'a> Iterator for Members<'a> {
    type Item = (&'a str, Node<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let items = &mut self.0;
        let key = items.take()?;
        items.at = skip_space(items.text.as_bytes(), items.at) + 1;
        let value = items.take()?;
        items.step_over_comma();
        Some((&key[1..key.len() - 1], Node(value)))
    }
}

pub struct Elements<'a>(Items<'a>);

impl<'a> Iterator for Elements<'a> {
    type Item = Node<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let value = self.0.take()?;
        self.0.step_over_comma();
        Some(Node(value))
    }
}

/// A place inside a validated object or array, behind its opening bracket.
struct Items<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Items<'a> {
    fn of(node: Node<'a>, open: char) -> Self {
        let at = if node.0.starts_with(open) { 1 } else { node.0.len() };
        Self { text: node.0, at }
    }

    /// The value that begins here; nothing at the closing bracket.
    fn take(&mut self) -> Option<&'a str> {
        let bytes = self.text.as_bytes();
        let start = skip_space(bytes, self.at);
        if matches!(bytes.get(start), None | Some(b'}' | b']')) {
            return None;
        }
        self.at = skip_value(bytes, start);
        Some(&self.text[start..self.at])
    }

    fn step_over_comma(&mut self) {
        let at = skip_space(self.text.as_bytes(), self.at);
        self.at = if self.text.as_bytes().get(at) == Some(&b',') { at + 1 } else { at };
    }
}

/// The end of the value that begins at `at`, in a text that is known to be valid.
fn skip_value(bytes: &[u8], mut at: usize) -> usize {
    let mut open = 0_usize;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = skip_string(bytes, at + 1);
                if open == 0 {
                    return at;
                }
                continue;
            }
            b'{' | b'[' => open += 1,
            b'}' | b']' if open <= 1 => return if open == 1 { at + 1 } else { at },
            b'}' | b']' => open -= 1,
            b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' if open == 0 => return at,
            _ => {}
        }
        at += 1;
    }
    at
}

/// Behind the closing quote of a valid string; `at` is behind its opening one.
fn skip_string(bytes: &[u8], mut at: usize) -> usize {
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

pub fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// The end of the value that begins at `at`, if there is a valid one with at most `depth` levels.
fn value_end(bytes: &[u8], at: usize, depth: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'{' => {
            let depth = depth.checked_sub(1)?;
            list_end(bytes, at + 1, b'}', |at| {
                if bytes.get(at) != Some(&b'"') {
                    return None;
                }
                let at = skip_space(bytes, string_end(bytes, at + 1)? + 1);
                if bytes.get(at) != Some(&b':') {
                    return None;
                }
                value_end(bytes, skip_space(bytes, at + 1), depth)
            })
        }
        b'[' => {
            let depth = depth.checked_sub(1)?;
            list_end(bytes, at + 1, b']', |at| value_end(bytes, at, depth))
        }
        b'"' => Some(string_end(bytes, at + 1)? + 1),
        _ => plain_end(bytes, at),
    }
}

/// Behind `close`; `item` gives the end of each of the items that stand between commas.
fn list_end(bytes: &[u8], at: usize, close: u8, item: impl Fn(usize) -> Option<usize>) -> Option<usize> {
    let mut at = skip_space(bytes, at);
    if bytes.get(at) == Some(&close) {
        return Some(at + 1);
    }
    loop {
        at = skip_space(bytes, item(at)?);
        match bytes.get(at) {
            Some(b',') => at = skip_space(bytes, at + 1),
            Some(byte) if *byte == close => return Some(at + 1),
            _ => return None,
        }
    }
}

/// The closing quote; `at` is behind the opening one. Control characters and unknown escapes are refused.
pub fn string_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at),
            b'\\' => match bytes.get(at + 1)? {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at += 2,
                b'u' if bytes.get(at + 2..at + 6)?.iter().all(u8::is_ascii_hexdigit) => at += 6,
                _ => return None,
            },
            0..0x20 => return None,
            _ => at += 1,
        }
    }
}

/// The end of a number, `true`, `false`, `null`, or a spelled-out NaN or infinity.
pub fn plain_end(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'0'..=b'9' => number_end(bytes, at),
        b'-' if bytes.get(at + 1).is_some_and(u8::is_ascii_digit) => number_end(bytes, at + 1),
        _ => {
            let letters = if bytes[at] == b'-' { at + 1 } else { at };
            let length = bytes[letters..].iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
            let end = letters + length;
            Scalar::word(std::str::from_utf8(&bytes[at..end]).ok()?).map(|_| end)
        }
    }
}

/// `at` is at the first digit.
fn number_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    let digits = |mut at: usize| {
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        at
    };
    let behind_first = at + 1;
    let zero = bytes[at] == b'0';
    at = digits(at);
    if zero && at != behind_first {
        return None;
    }
    if bytes.get(at) == Some(&b'.') {
        let end = digits(at + 1);
        if end == at + 1 {
            return None;
        }
        at = end;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let end = digits(at + 1 + sign);
        if end == at + 1 + sign {
            return None;
        }
        at = end;
    }
    Some(at)
}
