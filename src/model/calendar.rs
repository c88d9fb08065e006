//! Wall clocks, seasons and local days: what rules mean by "hour" and "flood season".
//!
//! In come moments in UTC; out come the date and hour at the site. Plain arithmetic with a fixed offset: the
//! clocks of plants are not put forward in summer.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Timestamp, fits};

/// A clock's reading on the wall: what devices send, without a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wall {
    /// All four digits.
    pub year: i16,
    pub month: u8,
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
}

/// Seconds by which a clock is ahead of UTC; the standards say Beijing time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Zone(pub i32);

impl Default for Zone {
    fn default() -> Self {
        Self::BEIJING
    }
}

impl Zone {
    pub const BEIJING: Self = Self(8 * 3600);

    /// `+08:00`, `-03:30`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (sign, rest) = match text.split_at_checked(1)? {
            ("+", rest) => (1, rest),
            ("-", rest) => (-1, rest),
            _ => return None,
        };
        let (hours, minutes) = rest.split_once(':')?;
        let digits = |text: &str, most: i32| {
            let plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|number: &i32| plain && *number <= most)
        };
        Some(Self(sign * (digits(hours, 14)? * 3600 + digits(minutes, 59)? * 60)))
    }

    /// `None` for a date or time that does not exist.
    #[must_use]
    pub fn moment(self, wall: Wall) -> Option<Timestamp> {
        let small = |number: u8| i8::try_from(number).ok();
        let date = jiff::civil::Date::new(wall.year, small(wall.month)?, small(wall.day)?).ok()?;
        let time = jiff::civil::Time::new(small(wall.hour)?, small(wall.minute)?, small(wall.second)?, 0).ok()?;
        let utc = date.to_datetime(time).to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
        Some(Timestamp::from_secs(utc.as_second() - i64::from(self.0)))
    }

    /// The wall clock at a moment; its fraction of a second is dropped.
    #[must_use]
    pub fn wall(self, moment: Timestamp) -> Wall {
        let micros = moment.micros().saturating_add(i64::from(self.0) * 1_000_000);
        let stamp = jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let at = jiff::tz::TimeZone::UTC.to_datetime(stamp);
        let small = |number: i8| u8::try_from(number).unwrap_or(0);
        Wall {
            year: at.year(),
            month: small(at.month()),
            day: small(at.day()),
            hour: small(at.hour()),
            minute: small(at.minute()),
            second: small(at.second()),
        }
    }
}

/// A day of every year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MonthDay {
    pub month: u8,
    pub day: u8,
}

impl MonthDay {
    /// `05-15`; `02-29` is a day of leap years.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (month, day) = text.split_once('-')?;
        let number =
            |text: &str| (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok());
        let (month, day) = (number(month)??, number(day)??);
        let longest = jiff::civil::Date::new(2024, i8::try_from(month).ok()?, 1).ok()?.days_in_month();
        (day >= 1 && i8::try_from(day).ok()? <= longest).then_some(Self { month, day })
    }
}

impl std::fmt::Display for MonthDay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02}-{:02}", self.month, self.day)
    }
}

/// A part of the year that a rule or a limit may ask for (汛期, flood season).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Season {
    pub name: String,
    /// Sites that have it, as patterns; empty: all. Rivers have their own.
    pub sites: Vec<String>,
    /// Both days count; `from` after `to` spans the turn of the year.
    pub from: MonthDay,
    pub to: MonthDay,
}

/// Local time and the seasons of the sites. A name may stand several times: with other dates at other sites,
/// or for two parts of one year.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calendar {
    pub zone: Zone,
    pub seasons: Vec<Season>,
    /// A site is not producing for so long at most; then its rules count in full again.
    #[serde(default = "thirty_days")]
    pub longest_stop: Duration,
}

const fn thirty_days() -> Duration {
    Duration::from_hours(30 * 24)
}

impl Default for Calendar {
    fn default() -> Self {
        Self { zone: Zone::default(), seasons: Vec::new(), longest_stop: thirty_days() }
    }
}

impl Calendar {
    /// Is it that season at the site?
    #[must_use]
    pub fn in_season(&self, name: &str, site: &str, at: Timestamp) -> bool {
        let wall = self.zone.wall(at);
        let today = MonthDay { month: wall.month, day: wall.day };
        self.seasons.iter().any(|season| {
            let here = season.sites.is_empty() || season.sites.iter().any(|pattern| fits(pattern, site));
            let inside = if season.from <= season.to {
                season.from <= today && today <= season.to
            } else {
                season.from <= today || today <= season.to
            };
            season.name == name && here && inside
        })
    }

    /// Number of the local day; seasons change only with it.
    #[must_use]
    pub const fn day(&self, at: Timestamp) -> i64 {
        self.local_micros(at).div_euclid(86_400_000_000)
    }

    /// Hour of the local day with its fraction: 0.0 up to 24.0.
    #[must_use]
    pub fn hour(&self, at: Timestamp) -> f64 {
        self.local_micros(at).rem_euclid(86_400_000_000) as f64 / 3_600e6
    }

    const fn local_micros(&self, at: Timestamp) -> i64 {
        at.micros().saturating_add(self.zone.0 as i64 * 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn a_season_begins_and_ends_with_the_local_day_and_may_span_the_turn_of_the_year() {
        let day = |text| MonthDay::parse(text).unwrap();
        let season = |name: &str, sites: &[&str], from, to| Season {
            name: name.into(),
            sites: sites.iter().map(|site| (*site).to_owned()).collect(),
            from: day(from),
            to: day(to),
        };
        let calendar = Calendar {
            zone: Zone::BEIJING,
            seasons: vec![
                season("flood", &["river-*"], "05-15", "09-30"),
                season("flood", &["hill"], "06-01", "08-31"),
                season("dry", &[], "11-01", "03-31"),
            ],
            ..Calendar::default()
        };
        for (name, site, moment, inside) in [
            ("flood", "river-1", "2026-05-14T15:59:59Z", false),
            ("flood", "river-1", "2026-05-14T16:00:00Z", true),
            ("flood", "river-1", "2026-09-30T15:59:59Z", true),
            ("flood", "river-1", "2026-09-30T16:00:00Z", false),
            ("flood", "hill", "2026-05-20T00:00:00Z", false),
            ("flood", "lake", "2026-07-01T00:00:00Z", false),
            ("dry", "lake", "2026-12-31T12:00:00Z", true),
            ("dry", "lake", "2026-04-01T12:00:00Z", false),
        ] {
            assert_eq!(calendar.in_season(name, site, at(moment)), inside, "{name} {site} {moment}");
        }
        assert!((calendar.hour(at("2026-05-14T15:30:00Z")) - 23.5).abs() < 1e-12);
        assert_eq!(calendar.day(at("2026-05-14T16:00:00Z")), calendar.day(at("2026-05-14T15:59:59Z")) + 1);
    }

    #[test]
    fn days_and_offsets_read_as_written() {
        assert_eq!(MonthDay::parse("02-29"), Some(MonthDay { month: 2, day: 29 }));
        for wrong in ["02-30", "13-01", "00-10", "5-15", "05-0", "05", "05-15-01", "0\u{661}-15"] {
            assert_eq!(MonthDay::parse(wrong), None, "{wrong}");
        }
        assert_eq!((Zone::parse("+08:00"), Zone::parse("-03:30")), (Some(Zone(28_800)), Some(Zone(-12_600))));
        for wrong in ["", "8", "08:00", "+8:00", "+08", "+08:60", "+15:00", "+0800", "+é:00", "+-8:00", "路08:00"] {
            assert_eq!(Zone::parse(wrong), None, "{wrong}");
        }
    }
}
