//! A measuring point (测点) and the table of all of them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Kind;

/// A point's number inside this gateway. Stable for ever: it is written into the journal, and a
/// retired point's number is never given to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PointIndex(pub u32);

impl PointIndex {
    #[must_use]
    pub const fn at(self) -> usize {
        self.0 as usize
    }
}

/// `site.point`, unique in the gateway, safe in a URL, a topic and a file name.
pub type PointId = Arc<str>;
/// A mine, plant, building or river reach: the unit of placement, no rule looks across it.
pub type SiteId = Arc<str>;

/// Lowest and highest value that the sensor can show, in the point's unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Range {
    pub low: f64,
    pub high: f64,
}

/// WGS 84, degrees.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coordinates {
    pub longitude: f64,
    pub latitude: f64,
}

/// In which direction a limit becomes stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stricter {
    /// Danger is above (methane): a lower limit is stricter.
    Lower,
    /// Danger is below (oxygen, hydrant pressure): a higher limit is stricter.
    Higher,
}

impl Stricter {
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Lower => "lower",
            Self::Higher => "higher",
        }
    }

    /// Is `candidate` looser than `legal`?
    #[must_use]
    pub fn looser(self, candidate: f64, legal: f64) -> bool {
        match self {
            Self::Lower => candidate > legal,
            Self::Higher => candidate < legal,
        }
    }

    /// Has `value` reached the limit?
    #[must_use]
    pub fn reached(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Lower => value >= limit,
            Self::Higher => value <= limit,
        }
    }
}

/// One named limit of a rule, with where its number comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    pub value: f64,
    pub unit: String,
    pub stricter: Stricter,
    /// The standard, plan or document that gives the number.
    pub basis: String,
    /// What the rule works with instead of `value`, if its author wants it stricter.
    #[serde(default)]
    pub set: Option<f64>,
    /// No exemption is looser than this.
    #[serde(default)]
    pub hard: Option<f64>,
}

/// Sensors for the same thing at the same place. Said once, it holds among all of them.
pub const REDUNDANT: &str = "redundant";
/// Sensors side by side. Holds both ways.
pub const NEIGHBOUR: &str = "neighbour";

/// Limits by name ("alarm", "power_cut").
pub type LimitSet = BTreeMap<String, Limit>;

/// What people and rules know of a point. How it is read from the field stands in its binding
/// (`config::Binding`), which the engine never sees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    pub id: PointId,
    pub site: SiteId,
    /// For people: "3201 采煤工作面 T1".
    pub name: String,
    pub kind: Kind,
    /// T0, T1, return airway, tank 3; rules choose by it.
    pub place: String,
    pub unit: String,
    pub range: Option<Range>,
    /// Smallest step, in the unit.
    pub resolution: f64,
    /// A sample is expected at least this often.
    pub period: Duration,
    /// Numbers that replace a rule's limit of the same name at this point, or of one rule only when the name is
    /// `rule.limit`; only stricter ones hold.
    pub limits: BTreeMap<String, f64>,
    pub coordinates: Option<Coordinates>,
    /// Static risk level of the place, 1 (highest) to 4; 0 when not assessed.
    pub static_risk: u8,
    /// Other points of the site by what they are to this one, by their local names: `redundant`, `upstream`,
    /// `feed`. Rules look at them; `redundant` and `neighbour` hold both ways.
    #[serde(default)]
    pub relations: BTreeMap<String, Vec<String>>,
    /// The sensor has to be calibrated this often (catalytic methane: 15 days, AQ 1029).
    #[serde(default)]
    pub calibrate_every: Option<Duration>,
    /// Retired points keep their history and take no samples.
    pub retired: bool,
}

impl Point {
    /// The part of the id after the site.
    #[must_use]
    pub fn local(&self) -> &str {
        self.id.get(self.site.len() + 1..).unwrap_or(&self.id)
    }
}

/// All points by number and by id. The index of a point is its place in the list.
#[derive(Clone, Debug, Default)]
pub struct PointTable {
    points: Vec<Point>,
    by_id: std::collections::HashMap<PointId, PointIndex, foldhash::fast::RandomState>,
}

impl PointTable {
    /// The list's order gives the indices.
    #[must_use]
    pub fn new(points: Vec<Point>) -> Self {
        let by_id = points.iter().zip(0_u32..).map(|(point, index)| (point.id.clone(), PointIndex(index))).collect();
        Self { points, by_id }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.points.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    #[must_use]
    pub fn get(&self, index: PointIndex) -> Option<&Point> {
        self.points.get(index.at())
    }

    #[must_use]
    pub fn find(&self, id: &str) -> Option<PointIndex> {
        self.by_id.get(id).copied()
    }

    pub fn iter(&self) -> impl Iterator<Item = (PointIndex, &Point)> {
        (0_u32..).map(PointIndex).zip(&self.points)
    }

    #[must_use]
    pub fn list(&self) -> &[Point] {
        &self.points
    }
}

impl fmt::Display for PointIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "point #{}", self.0)
    }
}
