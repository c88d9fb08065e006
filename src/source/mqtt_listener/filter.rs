//! What may be subscribed to: Davy's own output topics and nothing else.
//!
//! ```text
//!  davy/v1/{site}/alarm/{id}      davy/v1/{site}/point/{point}
//! ```
//! In comes a topic filter as written; out comes which sites, which of the two branches and which leaf it
//! stands for, so that matching compares at most two words. Davy is no broker: what devices publish is
//! for the rules and is never passed on.

/// Everything that Davy publishes is below this.
pub(super) const ROOT: &str = "davy/v1/";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Branch {
    Alarm,
    Point,
}

impl Branch {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Alarm => "alarm",
            Self::Point => "point",
        }
    }
}

/// A filter below [`ROOT`]; a `None` stands for any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    site: Option<Box<str>>,
    branch: Option<Box<str>>,
    leaf: Option<Box<str>>,
    /// Too short or too long for any of our topics: allowed, and matches nothing.
    possible: bool,
}

/// Why a filter is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// Not a filter by MQTT's rules, or not below `davy/v1/`.
    Topic,
    Shared,
}

impl Filter {
    pub(super) fn parse(text: &str) -> Result<Self, Unfit> {
        if text.starts_with("$share/") {
            return Err(Unfit::Shared);
        }
        let levels = text.strip_prefix(ROOT).ok_or(Unfit::Topic)?;
        if text.contains('\0') {
            return Err(Unfit::Topic);
        }
        let mut parts: [Option<Box<str>>; 3] = [None, None, None];
        let (mut count, mut open) = (0, false);
        for level in levels.split('/') {
            let wild = matches!(level, "+" | "#");
            if open || (!wild && level.contains(['+', '#'])) {
                return Err(Unfit::Topic);
            }
            if level == "#" {
                open = true;
                continue;
            }
            if !wild && let Some(part) = parts.get_mut(count) {
                *part = Some(level.into());
            }
            count += 1;
        }
        let [site, branch, leaf] = parts;
        Ok(Self { site, branch, leaf, possible: count == 3 || (open && count < 3) })
    }

    pub(super) fn reaches(&self, branch: Branch) -> bool {
        self.possible && self.branch.as_deref().is_none_or(|own| own == branch.word())
    }

    pub(super) fn matches(&self, site: &str, branch: Branch, leaf: &str) -> bool {
        self.reaches(branch)
            && self.site.as_deref().is_none_or(|own| own == site)
            && self.leaf.as_deref().is_none_or(|own| own == leaf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_reach_what_the_standard_says() {
        for (filter, alarm, point) in [
            ("davy/v1/#", true, true),
            ("davy/v1/+/+/+", true, true),
            ("davy/v1/mine/#", true, true),
            ("davy/v1/mine/alarm/#", true, false),
            ("davy/v1/+/point/t1", false, true),
            ("davy/v1/+/point/t2", false, false),
            ("davy/v1/mine/alarm/x1", true, false),
            ("davy/v1/mine/alarm/x1/#", true, false),
            ("davy/v1/tank/#", false, false),
            ("davy/v1/mine/alarm", false, false),
            ("davy/v1/+", false, false),
            ("davy/v1/mine/alarm/x1/y", false, false),
            ("davy/v1/mine/alarm/+/y/#", false, false),
        ] {
            let parsed = Filter::parse(filter).unwrap();
            assert_eq!(parsed.matches("mine", Branch::Alarm, "x1"), alarm, "{filter}");
            assert_eq!(parsed.matches("mine", Branch::Point, "t1"), point, "{filter}");
        }
    }

    #[test]
    fn other_topics_and_broken_filters_are_refused() {
        for filter in
            ["#", "+/v1/#", "davy/v1", "davy/+/x", "site/point", "davy/v1/a#", "davy/v1/#/x", "davy/v1/a+/b", ""]
        {
            assert_eq!(Filter::parse(filter), Err(Unfit::Topic), "{filter}");
        }
        assert_eq!(Filter::parse("$share/g/davy/v1/#"), Err(Unfit::Shared));
    }
}
