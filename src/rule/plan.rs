//! Rules laid over the point table: who watches what, with which limits and windows.

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use rhai::ImmutableString;

use super::ask::{Recall, Site};
use super::limits::{self, Effective};
use super::outlook::{self, Outlooks};
use super::{Glance, Judges, Language, Layers, Ordered, Program, Quiet, Regard, Rule, draft};
use crate::alarm::Policy;
use crate::engine::{Needs, Wants};
use crate::journal::Setup;
use crate::model::{Kind, Point, PointIndex, SiteId, Stricter};

/// A time without usable samples of more periods than this is a hole: a count of time in `clear` begins anew.
const HOLE_PERIODS: u32 = 3;
/// More memory than this is worth a remark.
const MUCH_MEMORY: usize = 256 << 20;

/// Something wrong in a rule file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleProblem {
    /// Empty when the problem stands in no rule file but with the points.
    pub file: String,
    /// 0 when the problem is of the whole file.
    pub line: usize,
    /// 0 when the problem is of the whole line.
    pub column: usize,
    pub message: String,
}

impl RuleProblem {
    /// Of a whole file, or with the points when `file` is empty.
    #[must_use]
    pub fn of(file: &str, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: 0, column: 0, message: message.into() }
    }

    pub(super) fn at(file: &str, at: rhai::Position, message: String) -> Self {
        let (line, column) = (at.line().unwrap_or(0), at.position().unwrap_or(0));
        Self { file: file.to_owned(), line, column, message }
    }

    /// Of a rule as a whole.
    pub(super) fn with(rule: &Rule, message: String) -> Self {
        Self { line: rule.line, ..Self::of(&rule.file, message) }
    }
}

impl fmt::Display for RuleProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&*self.file, self.line, self.column) {
            ("", ..) => write!(f, "{}", self.message),
            (file, 0, _) => write!(f, "{file}: {}", self.message),
            (file, line, 0) => write!(f, "{file}:{line}: {}", self.message),
            (file, line, column) => write!(f, "{file}:{line}:{column}: {}", self.message),
        }
    }
}

/// A rule with its programs.
#[derive(Clone, Debug)]
pub struct Compiled {
    pub rule: Rule,
    pub raise: Program,
    pub clear: Option<Program>,
    pub policy: Policy,
}

impl Compiled {
    /// Does it ask for anything beyond the point that it watches?
    #[must_use]
    pub fn looks(&self) -> bool {
        self.raise.beyond.any() || self.clear.as_ref().is_some_and(|clear| clear.beyond.any())
    }

    fn interpret(&mut self) {
        for program in std::iter::once(&mut self.raise).chain(&mut self.clear) {
            program.native = Err("nothing is lowered here".into());
        }
    }
}

/// One rule at one point.
#[derive(Clone, Debug, PartialEq)]
pub struct Watch {
    /// Place in [`Plan::rules`].
    pub rule: usize,
    pub limits: Rc<[(ImmutableString, f64)]>,
    /// Calls of `raise`, then of `clear`.
    pub recalls: Rc<[Recall]>,
    /// Limit, direction and unit that stand in when the rule fails; also what messages show.
    pub plain: Option<(f64, Stricter)>,
    /// The exemption that a limit rests on, and until when.
    pub exempt: Option<Rc<str>>,
    /// What its closures look at beyond the point.
    pub outlooks: Option<Box<Outlooks>>,
}

/// Places of the watches that something asks, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Occasion {
    /// Of the first 64, as bits, and the others.
    first: u64,
    others: Box<[u32]>,
    /// Where one of these holds, the rules at these places do not say true, as bits.
    quiets: Box<[(Quiet, u64)]>,
    /// Rules about a silence. A sample ends one; where there is no alarm, there is nothing to end.
    silences: u64,
    /// Rules that may say true somewhere and are not about a silence, and how many they are.
    telling: u64,
    all_tell: u32,
}

impl Occasion {
    /// Nobody is answered for.
    fn of_all(places: &[u32]) -> Self {
        let first = places.iter().filter(|place| **place < 64).fold(0, |bits, place| bits | 1 << place);
        let others = places.iter().copied().filter(|place| *place >= 64).collect();
        Self { first, others, telling: first, all_tell: first.count_ones(), ..Self::default() }
    }

    /// Those that need not be asked where their alarms are at rest, as bits. `None`: there is no usable value.
    #[must_use]
    #[inline]
    pub fn answered(&self, glance: Option<&Glance<'_>>) -> u64 {
        let Some(glance) = glance else { return self.silences };
        let quiets = self.quiets.iter().filter(|(quiet, _)| quiet.holds(glance));
        quiets.fold(self.silences, |bits, (_, places)| bits | places)
    }

    /// How many rules have been judged when these, as bits, were not asked.
    #[must_use]
    pub const fn judged(&self, skipped: u64) -> u32 {
        // Mostly all of them: counting bits takes a while where the processor is not asked to.
        let tell = self.telling & skipped;
        if tell == self.telling { self.all_tell } else { tell.count_ones() }
    }

    /// Is anybody asked when these are not?
    #[must_use]
    pub fn asks(&self, skipped: u64) -> bool {
        self.first & !skipped != 0 || !self.others.is_empty()
    }

    /// Those that are asked when these, as bits, need not be.
    pub fn places(&self, skipped: u64) -> impl Iterator<Item = usize> + '_ {
        let mut left = self.first & !skipped;
        let first = std::iter::from_fn(move || {
            let place = left.trailing_zeros();
            left &= left.wrapping_sub(1);
            (place < 64).then_some(place as usize)
        });
        first.chain(self.others.iter().map(|place| *place as usize))
    }
}

/// The watches of a point by what asks them: most of them have nothing to say to most of what happens. The first two
/// come with a sample.
#[derive(Clone, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Occasions {
    /// A sample is here: rules about it, and those about a silence that it may end.
    pub sample: Occasion,
    /// The sensor itself is in question.
    pub health: Occasion,
    /// What lies around may have changed: rules that look beyond the point.
    pub around: Occasion,
    /// A sample came that younger ones had overtaken.
    pub overtaken: Occasion,
    /// Time has passed.
    pub tick: Occasion,
}

/// What watches one point. In this order what each sample needs stands at the beginning.
#[derive(Clone, Debug, Default, PartialEq)]
#[repr(C)]
pub struct PointPlan {
    pub watches: Vec<Watch>,
    /// Smallest step of the sensor's readings, and how often they come.
    pub resolution: f64,
    pub period: Duration,
    /// What of the sensor's health its rules ask for.
    pub needs: Needs,
    /// Is there a rule about the sensor itself?
    pub health: bool,
    /// Does one of these look beyond the point?
    pub health_looks: bool,
    /// Is there a rule about silence?
    pub silence: bool,
    /// Does another rule ask for it too?
    pub shows_health: bool,
    /// One of its rules looks beyond the point.
    pub looks: bool,
    pub occasions: Occasions,
    /// What its rules look back on.
    pub wants: Wants,
    /// The part of it that rules at other points ask for; it stands first there.
    pub lent: Wants,
}

impl PointPlan {
    /// Something of each line of memory that a sample needs.
    #[must_use]
    pub fn touch(&self) -> u64 {
        let Occasions { sample, health, .. } = &self.occasions;
        self.watches.len() as u64 ^ self.resolution.to_bits() ^ sample.first ^ u64::from(health.all_tell)
    }
}

/// Everything that the engine judges by, compiled from one setup.
#[derive(Debug, Default)]
pub struct Plan {
    pub rules: Vec<Compiled>,
    /// By point index. Points with the same rules and limits share one: thousands of sensors have a few hundred
    /// plans, which stay in the processor's cache.
    pub points: Vec<Rc<PointPlan>>,
    /// Points whose rules look at the point of that index and are judged when it speaks; not in its plan, so that
    /// points which are only looked at share theirs.
    pub onlookers: Vec<Vec<PointIndex>>,
    /// Points whose rules look beyond them and are judged when the site's state or season changes.
    pub lookers: Vec<PointIndex>,
    /// Seasons that rules ask for, by site.
    pub seasons: Vec<(SiteId, String)>,
    /// What is wrong in a file: none of its rules counts.
    pub problems: Vec<RuleProblem>,
    /// What does not fit between a rule and a point: a looser limit (the rule's own stands), another unit
    /// (the rule does not watch the point).
    pub refused: Vec<RuleProblem>,
    /// Not wrong, but worth a look: a rule that watches no point.
    pub remarks: Vec<RuleProblem>,
}

impl Plan {
    /// Compiles what can be compiled; the rest is in `problems`. Limits are those of the setup alone.
    #[must_use]
    pub fn new(language: &Language, setup: &Setup) -> Self {
        let ordered = Ordered { at: setup.at, ..Ordered::default() };
        Self::over(language, setup, &Layers::of(setup, ordered))
    }

    /// The same with limits that people have set; `layers` are laid over the same setup.
    #[must_use]
    pub fn over(language: &Language, setup: &Setup, layers: &Layers) -> Self {
        let mut plan = Self::default();
        for file in &setup.rules {
            match draft::read_file(language, file) {
                Ok((rules, ast)) => plan.compile(rules, &ast),
                Err(mut problems) => plan.problems.append(&mut problems),
            }
        }
        if language.interprets {
            plan.rules.iter_mut().for_each(Compiled::interpret);
        }
        plan.points = setup.points.iter().map(|_| Rc::default()).collect();
        plan.onlookers = vec![Vec::new(); setup.points.len()];
        let mut lines = Vec::new();
        let mut watched = vec![false; plan.rules.len()];
        let by_kind = plan.by_kind();
        for (point, at) in setup.points.iter().zip(0_u32..).filter(|(point, _)| !point.retired) {
            for place in by_kind.get(&point.kind).into_iter().flatten() {
                if watches(&plan.rules[*place].rule, point) {
                    watched[*place] = true;
                    plan.watch(*place, point, PointIndex(at), layers, &mut lines);
                }
            }
        }
        for (place, watched) in watched.into_iter().enumerate() {
            if !watched {
                let rule = &plan.rules[place].rule;
                let message = format!("rule {:?} watches no point", rule.id);
                plan.remarks.push(RuleProblem::with(rule, message));
            }
        }
        outlook::resolve(&mut plan, setup);
        for (point, at) in setup.points.iter().zip(0_u32..) {
            plan.fold(PointIndex(at), point, &mut lines);
        }
        plan.note_memory(&setup.points);
        if plan.problems.is_empty() {
            plan.strange_limits(&setup.points, &mut lines);
            plan.strange_layers(setup, layers, &mut lines);
        }
        plan.refused = lines;
        plan.note_unwatched(setup);
        plan.note_misspelt(&setup.points);
        for (point, at) in setup.points.iter().zip(0_u32..) {
            plan.note_occasions(PointIndex(at), point);
        }
        plan.share();
        plan
    }

    /// Places of the rules that may watch a point of each kind, in their order.
    fn by_kind(&self) -> HashMap<Kind, Vec<usize>> {
        let may = |kind: Kind| {
            let of_kind = |compiled: &Compiled| {
                compiled.rule.watches.kinds.is_empty() || compiled.rule.watches.kinds.contains(&kind)
            };
            (0..self.rules.len()).filter(|place| of_kind(&self.rules[*place])).collect()
        };
        Kind::ALL.iter().map(|kind| (*kind, may(*kind))).collect()
    }

    /// Which watches of the point are asked when. To be called again when its limits change.
    pub fn note_occasions(&mut self, at: PointIndex, point: &Point) {
        let Some(plan) = self.points.get_mut(at.at()).map(Rc::make_mut) else { return };
        (plan.resolution, plan.period) = (point.resolution, point.period);
        let (rules, watches) = (&self.rules, &plan.watches);
        let of = |asked: &dyn Fn(Judges, bool) -> bool| -> Box<[u32]> {
            let fits = |watch: &Watch| asked(rules[watch.rule].rule.judges, watch.outlooks.is_some());
            (0_u32..).zip(watches).filter(|(_, watch)| fits(watch)).map(|(place, _)| place).collect()
        };
        let occasion = |asked: &dyn Fn(Judges, bool) -> bool| occasion(rules, watches, point, &of(asked));
        let looks = |watch: &Watch| watch.outlooks.is_some() && rules[watch.rule].rule.judges == Judges::Health;
        plan.health_looks = watches.iter().any(looks);
        plan.occasions = Occasions {
            sample: occasion(&|judges, looks| judges == Judges::Silence || judges == Judges::Samples && !looks),
            around: occasion(&|judges, looks| judges == Judges::Samples && looks),
            overtaken: Occasion::of_all(&of(&|judges, _| judges == Judges::Samples)),
            tick: Occasion::of_all(&of(&|judges, _| judges != Judges::Health)),
            health: occasion(&|judges, _| judges == Judges::Health),
        };
    }

    /// One plan for all points that are watched alike. No two that see others are alike, but the numbers of their
    /// rules are.
    fn share(&mut self) {
        let limits = |watch: &Watch| watch.limits.iter().map(|(_, value)| value.to_bits()).collect::<Vec<_>>();
        let mut numbers: HashMap<(usize, Vec<u64>), Vec<Watch>> = HashMap::new();
        let alone = |plan: &PointPlan| {
            plan.watches.iter().all(|watch| watch.outlooks.as_ref().is_none_or(|all| all.is_empty()))
        };
        for plan in self.points.iter_mut().filter(|plan| !alone(plan)) {
            for watch in &mut Rc::make_mut(plan).watches {
                let alike = numbers.entry((watch.rule, limits(watch))).or_default();
                match alike.iter().find(|other| other.limits == watch.limits && other.recalls == watch.recalls) {
                    Some(other) => (watch.limits, watch.recalls) = (other.limits.clone(), other.recalls.clone()),
                    None => alike.push(Watch { outlooks: None, ..watch.clone() }),
                }
            }
        }
        let mut known: HashMap<Vec<u64>, Vec<Rc<PointPlan>>> = HashMap::new();
        for plan in self.points.iter_mut().filter(|plan| alone(plan)) {
            let key = plan.watches.iter().flat_map(|watch| std::iter::once(watch.rule as u64).chain(limits(watch)));
            let made_for = [plan.resolution.to_bits(), u64::try_from(plan.period.as_micros()).unwrap_or(u64::MAX)];
            let alike = known.entry(key.chain(made_for).collect()).or_default();
            match alike.iter().find(|other| *other == plan) {
                Some(other) => *plan = other.clone(),
                None => alike.push(plan.clone()),
            }
        }
    }

    /// A limit of a point that no rule at it has would never count: most likely it is misspelt.
    fn strange_limits(&self, points: &[Point], problems: &mut Vec<RuleProblem>) {
        for (point, plan) in points.iter().zip(&self.points).filter(|(point, _)| !point.retired) {
            if point.limits.is_empty() {
                continue;
            }
            let rules = || plan.watches.iter().map(|watch| &self.rules[watch.rule].rule);
            let mut known: Vec<&str> = rules().flat_map(|rule| rule.limits.keys()).map(|name| &**name).collect();
            known.sort_unstable();
            known.dedup();
            let of_one = |name: &str| {
                let of = |rule: &Rule| name.strip_prefix(&*rule.id).and_then(|rest| rest.strip_prefix('.'));
                rules().any(|rule| of(rule).is_some_and(|limit| rule.limits.contains_key(limit)))
            };
            for name in point.limits.keys().filter(|name| !known.contains(&&***name) && !of_one(name)) {
                let there = if known.is_empty() { "none of them has limits".to_owned() } else { known.join(", ") };
                let message = format!(
                    "point {}: limit {name} is not a limit of any rule that watches it; known are: {there}",
                    point.id
                );
                problems.push(RuleProblem::of("", message));
            }
        }
    }

    /// A limit of the configuration that rules nowhere: misspelt, or at the wrong points.
    fn strange_layers(&self, setup: &Setup, layers: &Layers, problems: &mut Vec<RuleProblem>) {
        for limit in &setup.limits {
            let reached = layers.reach(&limit.scope, &setup.points);
            if let Err(why) = self.watched(limit, &reached) {
                let message = format!("{}: {why}", limit.id);
                problems.push(RuleProblem::of("", message));
            }
        }
    }

    /// A point that only the rules for every kind watch has no limit of its own: a place spelt wrongly.
    fn note_unwatched(&mut self, setup: &Setup) {
        let alive = setup.points.iter().zip(&self.points).filter(|(point, _)| !point.retired);
        let mut untold = alive.filter(|(_, plan)| !plan.health).map(|(point, _)| &point.id);
        if let Some(first) = untold.next() {
            // A bad value asks no other rule, and is no silence: without such a rule nobody hears of it.
            let message = format!(
                "{} points, {first} first, have no rule with judges: \"health\": a line break or a sensor fault \
                 there raises nothing; rules/instrument has such rules",
                1 + untold.count()
            );
            self.remarks.push(RuleProblem::of("", message));
        }
        let mut places: HashMap<Kind, Vec<&str>> = HashMap::new();
        for rule in self.rules.iter().map(|compiled| &compiled.rule) {
            for kind in &rule.watches.kinds {
                places.entry(*kind).or_default().extend(rule.watches.places.iter().map(String::as_str));
            }
        }
        for places in places.values_mut() {
            places.sort_unstable();
            places.dedup();
        }
        for (point, plan) in setup.points.iter().zip(&self.points) {
            if point.retired {
                continue;
            }
            let for_its_kind = |rule: &&Rule| rule.watches.kinds.contains(&point.kind);
            let at_it = || plan.watches.iter().map(|watch| &self.rules[watch.rule].rule).filter(for_its_kind);
            let by_place = |rule: &Rule| !rule.watches.places.is_empty();
            let places = places.get(&point.kind).map_or(&[][..], Vec::as_slice);
            if at_it().next().is_some() && !places.is_empty() && !at_it().any(by_place) {
                let message = format!(
                    "point {}: no rule that goes by place watches {} at {:?}; such rules know {}",
                    point.id,
                    point.kind,
                    point.place,
                    places.join(", ")
                );
                self.remarks.push(RuleProblem::of("", message));
            }
            if at_it().next().is_none() {
                let message = format!(
                    "point {}: no rule for {} at {:?} watches it: check its kind and place",
                    point.id, point.kind, point.place
                );
                self.remarks.push(RuleProblem::of("", message));
            }
        }
    }

    /// Sites that there are not, and places that only their spelling keeps from a point.
    fn note_misspelt(&mut self, points: &[Point]) {
        let alive = || points.iter().filter(|point| !point.retired);
        let plain = |word: &str| word.to_lowercase().replace([' ', '-', '_'], "");
        for rule in self.rules.iter().map(|compiled| &compiled.rule) {
            let mut told = |message: String| self.remarks.push(RuleProblem::with(rule, message));
            for site in rule.watches.sites.iter().filter(|site| alive().all(|point| *point.site != ***site)) {
                let known: std::collections::BTreeSet<&str> = alive().map(|point| &*point.site).collect();
                let known = known.into_iter().collect::<Vec<_>>().join(", ");
                told(format!("rule {:?}: there is no site {site:?}; sites are {known}", rule.id));
            }
            let of_kind = |point: &&Point| rule.watches.kinds.is_empty() || rule.watches.kinds.contains(&point.kind);
            for place in &rule.watches.places {
                if alive().filter(of_kind).any(|point| point.place == *place) {
                    continue;
                }
                let nearly =
                    |point: &&Point| plain(&point.place) == plain(place) && !rule.watches.places.contains(&point.place);
                if let Some(point) = alive().filter(of_kind).find(nearly) {
                    told(format!(
                        "rule {:?}: place {place:?} is at no point, but point {} is at {:?}: write both alike",
                        rule.id, point.id, point.place
                    ));
                }
            }
        }
    }

    fn compile(&mut self, rules: Vec<Rule>, ast: &rhai::AST) {
        for rule in rules {
            let mut wrong = Vec::new();
            if let Some(other) = self.rules.iter().find(|other| other.rule.id == rule.id) {
                wrong.push(format!("rule {:?} is already defined in {}:{}", rule.id, other.rule.file, other.rule.line));
            }
            let raise = Program::new(&rule.raise, ast, rule.limits.keys())
                .map_err(|error| wrong.push(format!("rule {:?}: raise {error}", rule.id)));
            let clear = rule.clear.as_ref().map(|clear| {
                Program::new(clear, ast, rule.limits.keys())
                    .map_err(|error| wrong.push(format!("rule {:?}: clear {error}", rule.id)))
            });
            match (raise, clear.transpose()) {
                (Ok(raise), Ok(mut clear)) if wrong.is_empty() => {
                    if let Some(clear) = &mut clear {
                        clear.first_ask = raise.asks.len();
                    }
                    let policy = Policy {
                        raise_after: rule.raise_after,
                        clear_after: rule.clear_after,
                        latch: rule.latch,
                        realarm: rule.realarm,
                    };
                    self.rules.push(Compiled { rule, raise, clear, policy });
                }
                _ => self.problems.extend(wrong.into_iter().map(|message| RuleProblem::with(&rule, message))),
            }
        }
    }

    fn watch(&mut self, place: usize, point: &Point, at: PointIndex, layers: &Layers, problems: &mut Vec<RuleProblem>) {
        let Compiled { rule, raise, clear, .. } = &self.rules[place];
        let told = |message: String| RuleProblem::with(rule, message);
        if let Some((name, limit)) = rule.limits.iter().find(|(_, limit)| limit.unit != point.unit) {
            problems.push(told(format!(
                "rule {:?}: limit {name} is in {:?} but point {} measures {:?}; give the point that unit or exclude it",
                rule.id, limit.unit, point.id, point.unit
            )));
            return;
        }
        let Effective { limits, plain, exempt, refused } = limits::effective(rule, at, point, layers);
        for line in refused.into_iter().map(told) {
            // A limit for many points is refused at all of them in the same words.
            if !problems.contains(&line) {
                problems.push(line);
            }
        }
        let plan = Rc::make_mut(&mut self.points[at.at()]);
        let needs = clear.iter().fold(raise.needs, |needs, clear| needs.and(clear.needs));
        plan.needs = plan.needs.and(needs);
        plan.health |= rule.judges == Judges::Health;
        plan.silence |= rule.judges == Judges::Silence;
        plan.shows_health |= rule.judges != Judges::Health && needs.any();
        plan.watches.push(Watch {
            rule: place,
            limits: limits.into(),
            recalls: Rc::default(),
            plain,
            exempt,
            outlooks: None,
        });
    }

    /// Places what the rules of a point ask for by the limits that are in force there. To be called again when
    /// these change; the point's past is then to be arranged by the new wants.
    pub fn fold(&mut self, at: PointIndex, point: &Point, problems: &mut Vec<RuleProblem>) {
        let Some(plan) = self.points.get_mut(at.at()).map(Rc::make_mut) else { return };
        // First, so that where others look does not change with the limits of this point.
        let mut wants = plan.lent.clone();
        for watch in &mut plan.watches {
            let Compiled { rule, raise, clear, .. } = &self.rules[watch.rule];
            let mut recalls = Vec::new();
            for (program, hole) in [(Some(raise), None), (clear.as_ref(), Some(point.period * HOLE_PERIODS))] {
                let site = Site { limits: &watch.limits, stricter: rule.direction(), hole };
                for ask in program.iter().flat_map(|program| &program.asks) {
                    let (recall, sound) = ask.place(&site, &mut wants);
                    recalls.push(recall);
                    for what in sound.err().into_iter().chain(ask.too_long(point.period)) {
                        let message = format!("rule {:?} at point {}: {what}", rule.id, point.id);
                        problems.push(RuleProblem::with(rule, message));
                    }
                }
            }
            watch.recalls = recalls.into();
        }
        plan.wants = wants;
    }

    /// Bytes at worst that all points' pasts take, each with a sample every period.
    #[must_use]
    pub fn memory(&self, points: &[Point]) -> usize {
        self.points.iter().zip(points).map(|(plan, point)| plan.wants.bytes(point.period)).sum()
    }

    fn note_memory(&mut self, points: &[Point]) {
        let bytes = self.memory(points);
        if bytes > MUCH_MEMORY {
            let most = self.points.iter().zip(points).max_by_key(|(plan, point)| plan.wants.bytes(point.period));
            let most = most.map_or("", |(_, point)| &*point.id);
            let message = format!(
                "what rules look back on may take {} MiB of memory, most of it for points such as {most}: shorten \
                 their spans, or give the points their true period",
                bytes >> 20
            );
            self.remarks.push(RuleProblem::of("", message));
        }
    }
}

/// Which of the watches have to be asked, and where not.
fn occasion(rules: &[Compiled], watches: &[Watch], point: &Point, places: &[u32]) -> Occasion {
    let mut occasion = Occasion::of_all(places);
    let mut quiets: Vec<(Quiet, u64)> = Vec::new();
    for place in places.iter().filter(|place| **place < 64) {
        let watch = &watches[*place as usize];
        let Compiled { rule, raise, .. } = &rules[watch.rule];
        if rule.judges == Judges::Silence {
            occasion.silences |= 1 << place;
            continue;
        }
        let Ok(native) = &raise.native else { continue };
        let outlook = watch.outlooks.as_deref().map(|outlooks| &outlooks.raise);
        if let Some(quiet) = Quiet::of(native, &watch.limits, &watch.recalls, outlook, point) {
            if quiet == Quiet::default() {
                occasion.telling &= !(1 << place);
            }
            quiets.push((quiet, 1 << place));
        }
    }
    // Those that are quiet where most others are come first, and take as many along as are quiet with them. Those that
    // look back only take along what is quiet wherever they are: one trend is not to wake all the others.
    let others: Vec<usize> =
        quiets.iter().map(|(one, _)| quiets.iter().filter(|(other, _)| one.meets(other)).count()).collect();
    let mut order: Vec<usize> = (0..quiets.len()).collect();
    order.sort_by_key(|place| std::cmp::Reverse(others[*place]));
    let mut together: Vec<(Quiet, u64)> = Vec::new();
    for (quiet, bits) in order.into_iter().map(|place| &quiets[place]) {
        let joined = together.iter_mut().find_map(|(known, all)| {
            let both = known.and(quiet)?;
            let alike = known.regard() == quiet.regard() && quiet.regard() != Regard::Past;
            (alike || both == *known).then_some((both, known, all))
        });
        match joined {
            Some((both, known, all)) => (*known, *all) = (both, *all | bits),
            None => together.push((quiet.clone(), *bits)),
        }
    }
    let telling = occasion.telling & !occasion.silences;
    Occasion { quiets: together.into(), telling, all_tell: telling.count_ones(), ..occasion }
}

/// Does the rule choose the point?
#[must_use]
pub fn watches(rule: &Rule, point: &Point) -> bool {
    let any = |list: &[String], word: &str| list.is_empty() || list.iter().any(|known| known == word);
    (rule.watches.kinds.is_empty() || rule.watches.kinds.contains(&point.kind))
        && any(&rule.watches.places, &point.place)
        && any(&rule.watches.sites, &point.site)
}
