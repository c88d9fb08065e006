//! Who is there for an alarm: people, areas, rosters, positions, and the policies by which they are called.
//!
//! In comes the checked configuration; it is part of the setup, so that who is called is decided by the journal
//! alone. Nothing here knows what time it is: who is on duty at a moment is worked out in [`crate::response`].

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Kind, Timestamp, fits};
use crate::alarm::{Level, Priority};

/// Who is above whom: an alarm that nobody answers goes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// At the screen of the site.
    Operator,
    /// Leader on duty of the site (带班领导).
    Leader,
    County,
    City,
    Province,
}

impl Tier {
    pub const ALL: [Self; 5] = [Self::Operator, Self::Leader, Self::County, Self::City, Self::Province];

    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Leader => "leader",
            Self::County => "county",
            Self::City => "city",
            Self::Province => "province",
        }
    }

    #[must_use]
    pub const fn zh(self) -> &'static str {
        match self {
            Self::Operator => "值班员",
            Self::Leader => "带班领导",
            Self::County => "县级值班",
            Self::City => "市级值班",
            Self::Province => "省级值班",
        }
    }

    #[must_use]
    pub const fn above(self) -> Option<Self> {
        match self {
            Self::Operator => Some(Self::Leader),
            Self::Leader => Some(Self::County),
            Self::County => Some(Self::City),
            Self::City => Some(Self::Province),
            Self::Province => None,
        }
    }

    /// Stands at the site itself: its calls end with the acknowledgement.
    #[must_use]
    pub const fn on_site(self) -> bool {
        match self {
            Self::Operator | Self::Leader => true,
            Self::County | Self::City | Self::Province => false,
        }
    }
}

/// What an alarm is about, for choosing who is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hazard {
    Gas,
    Fire,
    Water,
    Ground,
    Pressure,
    /// Fans, feeds, doors, pumps and the sensors' own state.
    Equipment,
    /// Conditions of the gateway itself.
    Gateway,
}

impl Hazard {
    pub const ALL: [(&'static str, Self); 7] = [
        ("gas", Self::Gas),
        ("fire", Self::Fire),
        ("water", Self::Water),
        ("ground", Self::Ground),
        ("pressure", Self::Pressure),
        ("equipment", Self::Equipment),
        ("gateway", Self::Gateway),
    ];

    /// Of a point's kind.
    #[must_use]
    pub const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Methane
            | Kind::Combustible
            | Kind::Co
            | Kind::Co2
            | Kind::H2s
            | Kind::O2
            | Kind::So2
            | Kind::No2
            | Kind::Nh3
            | Kind::Cl2
            | Kind::Benzene
            | Kind::Hcn
            | Kind::Hf
            | Kind::Hcl
            | Kind::Phosgene
            | Kind::OpenPath
            | Kind::MethanePath
            | Kind::DrainedMethane
            | Kind::Dust => Self::Gas,
            Kind::Smoke
            | Kind::Heat
            | Kind::ManualCall
            | Kind::Flame
            | Kind::Sprinkler
            | Kind::FireEvent
            | Kind::ResidualCurrent
            | Kind::Temperature => Self::Fire,
            Kind::WaterLevel
            | Kind::Rain
            | Kind::Inflow
            | Kind::BoreholeLevel
            | Kind::ReservoirLevel
            | Kind::Discharge
            | Kind::RainTotal => Self::Water,
            Kind::Displacement | Kind::Crack | Kind::Tilt | Kind::DryBeach | Kind::Freeboard | Kind::PhreaticDepth => {
                Self::Ground
            }
            Kind::Pressure | Kind::TankPressure | Kind::TankLevel | Kind::DrainagePressure => Self::Pressure,
            Kind::Wind
            | Kind::Flow
            | Kind::Battery
            | Kind::Switch
            | Kind::Fan
            | Kind::FanPressure
            | Kind::Duct
            | Kind::WindDirection
            | Kind::Door
            | Kind::Feed
            | Kind::Mains
            | Kind::Interlock
            | Kind::Valve
            | Kind::Pump
            | Kind::AutoMode
            | Kind::Fault
            | Kind::Signal
            | Kind::Humidity => Self::Equipment,
        }
    }
}

/// Somebody who can be called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Someone {
    /// 李伟
    pub name: String,
    pub phone: String,
    /// Recipients of `[notify.*]`: `sms.li`.
    pub reach: Vec<String>,
    /// Whom the console knows this person as.
    pub user: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AreaKind {
    Village,
    Grid,
    Site,
    County,
    City,
    Province,
}

impl AreaKind {
    pub const ALL: [(&'static str, Self); 6] = [
        ("village", Self::Village),
        ("grid", Self::Grid),
        ("site", Self::Site),
        ("county", Self::County),
        ("city", Self::City),
        ("province", Self::Province),
    ];

    #[must_use]
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(word, _)| word)
    }
}

/// Supervision class of a site; C and D have half the time for everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Class {
    A,
    B,
    C,
    D,
}

impl Class {
    pub const ALL: [(&'static str, Self); 4] = [("A", Self::A), ("B", Self::B), ("C", Self::C), ("D", Self::D)];

    #[must_use]
    pub const fn hurries(self) -> bool {
        match self {
            Self::A | Self::B => false,
            Self::C | Self::D => true,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Area {
    pub kind: AreaKind,
    /// Patterns.
    pub sites: Vec<String>,
    pub points: Vec<String>,
    pub class: Option<Class>,
}

impl Area {
    /// Holds nothing.
    #[must_use]
    pub const fn nowhere() -> Self {
        Self { kind: AreaKind::Site, sites: Vec::new(), points: Vec::new(), class: None }
    }

    /// Does it lie in here? `subject`: the point's id.
    #[must_use]
    pub fn holds(&self, site: &str, subject: &str) -> bool {
        self.sites.iter().any(|pattern| fits(pattern, site)) || self.points.iter().any(|pattern| fits(pattern, subject))
    }
}

/// Shifts of the day and who takes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roster {
    /// Local minutes at which the shifts begin, rising; each ends where the next begins.
    pub starts: Vec<u16>,
    /// The first local day of the cycle, as days since 1970-01-01.
    pub first_day: i64,
    /// A day after the other: who takes each of its shifts, in the order in which they are called.
    pub cycle: Vec<Vec<Vec<String>>>,
    /// Called after the crew.
    pub substitutes: Vec<String>,
    /// A hand-over that is not signed by then is an alarm; None: hand-overs are not signed here.
    pub handover_within: Option<Duration>,
}

/// Who is meant by a step, or stands at a position.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// Whoever is on duty at the positions of that level for the place.
    Tier(Tier),
    Position(String),
    Person(String),
    Team(String),
    Roster(String),
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tier(tier) => f.write_str(tier.word()),
            Self::Position(name) => write!(f, "position.{name}"),
            Self::Person(name) => write!(f, "person.{name}"),
            Self::Team(name) => write!(f, "team.{name}"),
            Self::Roster(name) => write!(f, "roster.{name}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub tier: Tier,
    /// Where; None: everywhere.
    pub area: Option<String>,
    /// In the order in which they are called; never a tier or another position.
    pub who: Vec<Who>,
    /// A console has to be open here; one that is missing for so long is an alarm.
    pub console: Option<Duration>,
    /// Questions a shift (查岗), and how long there is to answer one.
    pub checks: Option<PresenceChecks>,
    /// The local minute of the day at which it gets the list of open P4 alarms.
    #[serde(default)]
    pub daily: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceChecks {
    pub in_a_shift: u32,
    pub within: Duration,
}

/// Absence of a person; both ends in UTC, the second not included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leave {
    /// Given by Davy: `leave-` and a number; `person.li.leave[0]` for the configuration's.
    pub id: String,
    pub person: String,
    pub from: Timestamp,
    pub until: Timestamp,
    pub substitute: Option<String>,
    pub by: String,
    pub reason: String,
}

impl Leave {
    /// Whoever is away for longer is taken out of the roster.
    pub const LONGEST: Duration = Duration::from_secs(30 * 86_400);
}

/// Chooses a policy; the first route that fits does. What is not said fits everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub area: Option<String>,
    pub hazard: Option<Hazard>,
    pub kinds: Vec<Kind>,
    pub level: Option<Level>,
    pub priority: Option<Priority>,
    /// Local minutes of the day, the second not included; may span midnight.
    pub hours: Option<(u16, u16)>,
    pub exercise: bool,
    pub policy: String,
}

/// When a step is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum After {
    Time(Duration),
    /// At the end of the shift of whoever is meant.
    ShiftEnd,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyStep {
    pub after: After,
    pub who: Who,
    /// Told, without being asked for an answer.
    pub copy: bool,
    /// Channels (`sms`) or recipients (`sms.li`); empty: all that the person has.
    pub by: Vec<String>,
}

/// Who is called when about an alarm that nobody has acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    pub steps: Vec<PolicyStep>,
    /// A call is unanswered after this time.
    pub every: Duration,
    /// Unanswered calls after which the next on the list is called.
    pub calls: u32,
    /// By then somebody must have spoken with the site (叫应).
    pub answer: Option<Duration>,
    /// When everybody was called in vain the whole begins anew after this time.
    pub again: Duration,
    /// From a call that rang in vain to the next one; None: as the clock says.
    #[serde(default)]
    pub no_answer: Option<Duration>,
}

/// All of it. Without a position nobody is called, and recipients get what they want as if this were not here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duty {
    /// What the times of presence checks are drawn from; a secret.
    pub seed: String,
    pub people: BTreeMap<String, Someone>,
    pub teams: BTreeMap<String, Vec<String>>,
    pub areas: BTreeMap<String, Area>,
    pub rosters: BTreeMap<String, Roster>,
    pub positions: BTreeMap<String, Position>,
    pub routes: Vec<Route>,
    /// With the shipped ones: `P1` .. `P4` and `exercise`.
    pub policies: BTreeMap<String, Policy>,
    pub leave: Vec<Leave>,
    /// Patterns of sites of those recipients (`siren.yard`) that are not for every site.
    #[serde(default)]
    pub recipients: BTreeMap<String, Vec<String>>,
}

impl Duty {
    /// Is there nobody to call?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// Is that recipient (`sms.li`) the way to somebody, so that it hears only what it is called for?
    #[must_use]
    pub fn reaches(&self, recipient: &str) -> bool {
        !self.is_empty() && self.people.values().any(|one| one.reach.iter().any(|way| way == recipient))
    }
}

/// What a person does about duty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "snake_case")]
pub enum DutyAct {
    Leave {
        leave: Leave,
        /// False in journals from before anybody asked who is left: such a leave is taken as it is.
        #[serde(default)]
        weighed: bool,
    },
    LeaveEnded {
        id: String,
        by: String,
        at: Timestamp,
        reason: String,
    },
    /// Of journals from before both had to sign: done with that.
    HandedOver(Handover),
    /// One of the two signs: `person` is who goes or who comes.
    Signs {
        handover: Handover,
        person: String,
    },
    /// Of a signed-in user; an empty one: no console is open, the gateway has just started.
    Console {
        user: String,
        open: bool,
        /// Somebody has let it sound; false in journals from before it did.
        #[serde(default)]
        sound: bool,
        at: Timestamp,
    },
    /// What a console has shown.
    Shown(Shown),
}

/// Changes of alarms that a signed-in user's console has shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    pub user: String,
    /// Numbers of changes.
    pub changes: Vec<i64>,
    pub sounded: bool,
    pub at: Timestamp,
}

/// Who signed, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// Key of the person.
    pub person: String,
    /// As the gate knows them.
    pub by: String,
    pub at: Timestamp,
}

/// A shift handed over: whoever goes and whoever comes have signed the same list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    pub id: String,
    pub roster: String,
    /// Keys of persons.
    pub from: String,
    pub to: String,
    /// Who signed last, as the gate knows.
    pub by: String,
    pub at: Timestamp,
    /// SHA-256 of the list of what is open that was shown.
    pub list_hash: String,
    pub comment: String,
    /// In their order; none in records from before both had to sign.
    #[serde(default)]
    pub signed: Vec<Signature>,
}
