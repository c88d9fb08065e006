//! What a user may do at the listener: publish, to which topics, for which points, and subscribe.
//!
//! In come topic filters and patterns of point ids as written; out comes yes or no for a topic and for a
//! point. Least privilege: a user of whom nothing is written may do nothing. A pattern is looked up against
//! the table of points once, so that a sample costs one look into a list of booleans.

use std::sync::{Arc, Mutex, PoisonError};

use crate::model::{PointIndex, PointTable};

/// What a connection may do.
#[derive(Clone, Debug)]
pub struct Rights {
    pub publish: Publish,
    pub subscribe: bool,
    /// Without it the samples of all points.
    pub(super) points: Option<Arc<Points>>,
}

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Publish {
    Nowhere,
    Anywhere,
    /// Topics that one of these filters matches.
    Topics(Arc<[String]>),
}

/// Patterns of point ids, such as `mine-a.*`.
#[derive(Debug)]
pub(super) struct Points {
    patterns: Vec<String>,
    found: Mutex<Option<Found>>,
}

/// What the patterns reach.
#[derive(Debug)]
struct Found {
    table: Arc<PointTable>,
    /// By index in that table.
    allowed: Arc<[bool]>,
}

impl Rights {
    /// Of an anonymous client.
    #[must_use]
    pub const fn everything() -> Self {
        Self { publish: Publish::Anywhere, subscribe: true, points: None }
    }

    pub(super) const fn nothing() -> Self {
        Self { publish: Publish::Nowhere, subscribe: false, points: None }
    }
}

impl Publish {
    pub(super) fn allows(&self, topic: &[u8]) -> bool {
        match self {
            Self::Nowhere => false,
            Self::Anywhere => true,
            Self::Topics(filters) => std::str::from_utf8(topic)
                .is_ok_and(|topic| filters.iter().any(|filter| rumqttc::matches(topic, filter))),
        }
    }
}

impl Points {
    pub(super) fn new(patterns: Vec<String>) -> Self {
        Self { patterns, found: Mutex::new(None) }
    }

    /// By index: may samples of that point be published?
    pub(super) fn among(&self, table: &Arc<PointTable>) -> Arc<[bool]> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*found
            && Arc::ptr_eq(&known.table, table)
        {
            return known.allowed.clone();
        }
        let allowed: Arc<[bool]> = table
            .iter()
            .map(|(_, point)| self.patterns.iter().any(|pattern| matches(pattern.as_bytes(), point.id.as_bytes())))
            .collect();
        *found = Some(Found { table: table.clone(), allowed: allowed.clone() });
        allowed
    }
}

/// Samples on their way from one connection.
pub(super) struct Sieve {
    points: Option<Arc<Points>>,
    table: Box<dyn Fn() -> Arc<PointTable> + Send + Sync>,
    allowed: Arc<[bool]>,
}

impl Sieve {
    /// `table` gives the points as they are now.
    pub(super) fn new(rights: &Rights, table: impl Fn() -> Arc<PointTable> + Send + Sync + 'static) -> Self {
        Self { points: rights.points.clone(), table: Box::new(table), allowed: Arc::new([]) }
    }

    pub(super) fn allows(&mut self, point: PointIndex) -> bool {
        let Some(points) = &self.points else { return true };
        if self.allowed.len() <= point.at() {
            // The first sample, or a point that is new: indices only ever grow.
            self.allowed = points.among(&(self.table)());
        }
        self.allowed.get(point.at()).copied().unwrap_or(false)
    }

    /// For the log.
    pub(super) fn name(&self, point: PointIndex) -> String {
        (self.table)().get(point).map_or_else(|| point.to_string(), |about| about.id.to_string())
    }
}

/// `*` stands for any text, also for none.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where the last star stood, and how much of the text it has taken.
    let mut star = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == text.get(t) {
            p += 1;
            t += 1;
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            p = at + 1;
            t = taken + 1;
        } else {
            return false;
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_points_are_read_as_written() {
        for (pattern, text, expected) in [
            ("mine-a.*", "mine-a.t1", true),
            ("mine-a.*", "mine-a2.t1", false),
            ("mine-a.t1", "mine-a.t1", true),
            ("mine-a.t1", "mine-a.t11", false),
            ("*", "x.y", true),
            ("*.3201-*", "mine.3201-t0", true),
            ("*.3201-*", "mine.3202-3201", false),
            ("a*b*c", "aXbXbc", true),
            ("a*b*c", "aXbXb", false),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
        let stars = "*a".repeat(30);
        assert!(!matches(stars.as_bytes(), "b".repeat(2_000).as_bytes()));
    }

    #[test]
    fn topics_are_granted_by_filter() {
        let own = Publish::Topics(["mine-a/#".to_owned(), "+/status".to_owned()].into());
        for (topic, expected) in [("mine-a/t1", true), ("mine-a", true), ("b/status", true), ("mine-b/t1", false)] {
            assert_eq!(own.allows(topic.as_bytes()), expected, "{topic}");
        }
        assert!(Publish::Anywhere.allows(b"x") && !Publish::Nowhere.allows(b"x") && !own.allows(b"\xff"));
    }
}
