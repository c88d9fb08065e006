//! What a sender says of a value's quality: words and codes of devices -> [`Quality`].
//!
//! ```toml
//! quality_words = { "0" = "good", "1" = "line_break", "7" = "calibrating" }
//! ```
//! Davy's own words are understood without configuration: `good`, `bad`, `line_break`,
//! `bad:line_break+calibrating`. A word that nobody explained is a sensor fault: a value whose sender said
//! something odd about it is never taken for a good one.

use std::collections::BTreeMap;

use crate::config::{Key, Problems};
use crate::model::{Quality, Reason};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words(Vec<(Box<str>, Quality)>);

impl Words {
    /// `raw`: the device's word -> `good` or a reason.
    pub fn check(raw: &BTreeMap<String, String>, at: &Key, problems: &mut Problems) -> Option<Self> {
        let known = || {
            let reasons = Reason::ALL.into_iter().map(|reason| (reason.word(), Quality::because(reason)));
            std::iter::once(("good", Quality::GOOD)).chain(reasons)
        };
        let words: Vec<_> = raw
            .iter()
            .filter_map(|(word, meaning)| {
                let quality = problems.known(at.field(word), meaning, "quality", known())?;
                Some((word.trim().into(), quality))
            })
            .collect();
        (words.len() == raw.len()).then_some(Self(words))
    }

    /// The quality that `text` says; nothing said is good.
    pub fn read(&self, text: &str) -> Quality {
        let text = text.trim();
        if let Some((_, quality)) = self.0.iter().find(|(word, _)| **word == *text) {
            return *quality;
        }
        if text.is_empty() || text.eq_ignore_ascii_case("good") || text.eq_ignore_ascii_case("ok") {
            return Quality::GOOD;
        }
        let reasons = text.split_once(':').map_or(text, |(_, reasons)| reasons);
        reasons
            .split('+')
            .fold(Quality::GOOD, |quality, word| quality.and(Reason::from_word(word).unwrap_or(Reason::SensorFault)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_devices_and_of_davy() {
        let raw = [("0", "good"), ("3", "line_break")].map(|(word, meaning)| (word.to_owned(), meaning.to_owned()));
        let mut problems = Problems::default();
        let words = Words::check(&raw.into(), &Key::of("quality_words"), &mut problems).unwrap();
        for (text, told) in [
            ("0", "good"),
            ("3", "bad:line_break"),
            ("", "good"),
            ("OK", "good"),
            ("bad", "bad:sensor_fault"),
            ("calibrating", "bad:calibrating"),
            ("uncertain:over_range", "uncertain:over_range"),
            ("17", "bad:sensor_fault"),
        ] {
            assert_eq!(words.read(text).to_string(), told, "{text}");
        }
        // What Davy writes, it reads.
        let every = Reason::ALL.into_iter().fold(Quality::GOOD, Quality::and);
        assert_eq!(words.read(&every.to_string()), every);
    }

    #[test]
    fn a_meaning_that_davy_does_not_know_is_told() {
        let raw = BTreeMap::from([("1".to_owned(), "line_brake".to_owned())]);
        let mut problems = Problems::default();
        assert_eq!(Words::check(&raw, &Key::of("quality_words"), &mut problems), None);
        let told = problems.iter().next().unwrap().to_string();
        assert_eq!(told, "quality_words.1: \"line_brake\" is not a quality; did you mean \"line_break\"?");
    }
}
