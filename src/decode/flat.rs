//! The quick way: one pass over a flat object of which one or two members are wanted.
//!
//! In comes `{"value":0.42,"time":1790000000123}` in any order, with any white space and any further scalar
//! members. Out go the wanted ones, or [`Unsure`]: nested values, escapes, anything that is not plain. Then
//! the general way decides. Promised: whatever this accepts, the general way reads in the same way.

use super::json;
use super::scalar::Scalar;

/// Not a flat object that is surely valid: ask the general way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unsure;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Flat<'a> {
    pub value: Option<Scalar<'a>>,
    pub time: Option<Scalar<'a>>,
}

/// The members called `value` and `time`; the last one of each name. A member called `unless` is for the general
/// way.
pub fn scan<'a>(text: &'a str, value: &str, time: Option<&str>, unless: Option<&str>) -> Result<Flat<'a>, Unsure> {
    let bytes = text.as_bytes();
    let mut found = Flat::default();
    let mut at = json::skip_space(bytes, 0);
    expect(bytes, at, b'{')?;
    at = json::skip_space(bytes, at + 1);
    loop {
        expect(bytes, at, b'"')?;
        let key_end = plain_string_end(bytes, at + 1)?;
        let key = &text[at + 1..key_end];
        at = json::skip_space(bytes, key_end + 1);
        expect(bytes, at, b':')?;
        at = json::skip_space(bytes, at + 1);
        let end = match bytes.get(at) {
            Some(b'"') => plain_string_end(bytes, at + 1)? + 1,
            Some(b'{' | b'[') => return Err(Unsure),
            _ => json::plain_end(bytes, at).ok_or(Unsure)?,
        };
        // No `else`: one member may be wanted as both.
        if key == value {
            found.value = Scalar::of(&text[at..end]);
        }
        if time.is_some_and(|time| key == time) {
            found.time = Scalar::of(&text[at..end]);
        }
        if unless.is_some_and(|unless| key == unless) {
            return Err(Unsure);
        }
        at = json::skip_space(bytes, end);
        match bytes.get(at) {
            Some(b',') => at = json::skip_space(bytes, at + 1),
            Some(b'}') => break,
            _ => return Err(Unsure),
        }
    }
    if json::skip_space(bytes, at + 1) == bytes.len() { Ok(found) } else { Err(Unsure) }
}

fn expect(bytes: &[u8], at: usize, byte: u8) -> Result<(), Unsure> {
    if bytes.get(at) == Some(&byte) { Ok(()) } else { Err(Unsure) }
}

/// The closing quote of a string without escapes.
fn plain_string_end(bytes: &[u8], mut at: usize) -> Result<usize, Unsure> {
    loop {
        match bytes.get(at) {
            Some(b'"') => return Ok(at),
            None | Some(b'\\' | 0..0x20) => return Err(Unsure),
            Some(_) => at += 1,
        }
    }
}
