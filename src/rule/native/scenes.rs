//! Random closures and random sights of a point, on which the ways to judge are compared: for the property test and
//! the fuzz target. Both draw from bytes.

#![allow(clippy::unwrap_used, reason = "what is drawn is sound; where it is not, the draw is wrong")]

use std::rc::Rc;
use std::time::Duration;

use arbitrary::Unstructured;

use crate::engine::{Health, Past, Wants};
use crate::journal::RuleFile;
use crate::model::{PermitKind, Point, PointIndex, Quality, Range, SiteState, Stricter, Timestamp};
use crate::rule::ask::{Recall, Site};
use crate::rule::functions::{Function, Shape};
use crate::rule::seen::{Around, Member, Standing};
use crate::rule::{Glance, Judge, Judged, Language, Program, Quiet, Reading, outlook, read_file, trial};

const SPANS: [&str; 2] = ["1m", "10m"];

/// Selectors of a closure; a scene says how many points each of them names.
const GROUPS: [&str; 4] =
    ["p.point(\"fan\")", "p.related(\"redundant\")", "p.related(\"feed\")", "p.all(\"co\", \"\")"];
const ARITHMETIC: [&str; 6] = ["+", "-", "*", "/", "%", "**"];

/// Choices out of bytes; where they have run out, the first of each.
struct Draw<'a>(Unstructured<'a>);

impl Draw<'_> {
    fn below(&mut self, end: usize) -> usize {
        self.0.int_in_range(0..=end - 1).unwrap_or_default()
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// Place in the list of weights.
    fn weighted(&mut self, weights: &[usize]) -> usize {
        let mut left = self.below(weights.iter().sum());
        weights.iter().position(|weight| left.checked_sub(*weight).map(|rest| left = rest).is_none()).unwrap_or(0)
    }

    fn chance(&mut self, of_twenty: usize) -> bool {
        self.below(20) < of_twenty
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        let share = f64::from(self.0.arbitrary::<u32>().unwrap_or_default()) / f64::from(u32::MAX);
        low + (high - low) * share
    }

    fn bits(&mut self) -> u16 {
        self.0.arbitrary().unwrap_or_default()
    }

    fn awkward(&mut self) -> f64 {
        match self.weighted(&[4, 1, 1]) {
            0 => self.between(-5.0, 5.0),
            1 => self.one(&[0.0, -0.0, 1.0, 0.1 + 0.2, f64::MAX, f64::MIN_POSITIVE, f64::NAN, f64::INFINITY]),
            _ => f64::from_bits(self.0.arbitrary().unwrap_or_default()),
        }
    }

    /// A number that other points, or the clock, have to say.
    fn around(&mut self, depth: u32) -> String {
        let group = self.one(&GROUPS);
        match self.weighted(&[3, 1, 1, 1]) {
            0 => {
                let asks = ["value", "age", "max", "min", "mean", "median", "sum", "spread", "known", "size"];
                format!("{group}.{}", self.one(&asks))
            }
            1 => format!("{group}.{}(\"{}\")", self.one(&["mean", "count", "rate"]), self.one(&SPANS)),
            2 => {
                let count = self.one(&["over", "under"]);
                let limit = if depth == 0 { "1.0".to_owned() } else { self.number(depth - 1) };
                format!("{group}.{count}({limit})")
            }
            _ => "p.hour".to_owned(),
        }
    }

    /// Something true or false that they have to say.
    fn around_verdict(&mut self, depth: u32) -> String {
        const BEARINGS: [&str; 5] = [
            "(p.site == \"stopped\")",
            "(p.site != \"producing\")",
            "(p.site == \"asleep\")",
            "p.season(\"flood\")",
            "p.season(\"dry\")",
        ];
        let group = self.one(&GROUPS);
        match self.weighted(&[3, 1, 1, 2]) {
            0 => {
                let (k, word) = (1 + self.below(4), self.one(&[">=", ">", "<=", "<"]));
                let limit = if depth == 0 { "1".to_owned() } else { self.number(depth - 1) };
                format!("{group}.vote({k}, \"{word}\", {limit})")
            }
            1 => format!("({group}.quality == \"{}\")", self.one(&["good", "uncertain", "bad", "no such word"])),
            2 => format!("{group}.has(\"over_range\")"),
            _ => self.one(&BEARINGS).to_owned(),
        }
    }

    /// A level of a function: known before a sample comes.
    fn level(&mut self) -> String {
        const LEAVES: [&str; 10] =
            ["p.limit.alarm", "p.limit.low", "0.0", "1.0", "2", "-1", "0.30000000000000004", "1e300", "5e-324", "-3.5"];
        let leaf = self.one(&LEAVES);
        match self.weighted(&[4, 1, 1, 1]) {
            0 => leaf.to_owned(),
            1 => format!("({leaf} {} ({} * 1.0))", self.one(&ARITHMETIC), self.one(&LEAVES)),
            2 => format!("{}({leaf}, 0.5)", self.one(&["min", "max"])),
            _ => format!("abs(-({leaf} * 1.0))"),
        }
    }

    /// A call of any function in the catalogue; `question`: of those that say true or false.
    fn call(&mut self, question: bool) -> String {
        let functions: Vec<Function> = Function::ALL.into_iter().filter(|one| one.is_question() == question).collect();
        let (function, span) = (self.one(&functions), self.one(&SPANS));
        match (function.name(), function.shape()) {
            (name, Shape::Span) => format!("p.{name}(\"{span}\")"),
            (name, Shape::Level) => format!("p.{name}({})", self.level()),
            (name, Shape::LevelSpan) => format!("p.{name}({}, \"{span}\")", self.level()),
            (name, Shape::Comparison) => {
                format!("p.{name}(\"{}\", {})", self.one(&[">", ">=", "<", "<="]), self.level())
            }
            (name, Shape::Levels) => {
                let slack = self.one(&["0.0", "0.05", "1", "abs(p.limit.low)"]);
                format!("p.{name}({}, {slack})", self.level())
            }
        }
    }

    fn constant(&mut self) -> String {
        const WRITTEN: [&str; 10] =
            ["0.0", "1.0", "0.1", "1e-17", "1e300", "0.30000000000000004", "5e-324", "2", "0", "100"];
        if self.chance(10) { format!("{:?}", self.between(-1000.0, 1000.0)) } else { self.one(&WRITTEN).to_owned() }
    }

    /// A number of the language as text; `depth` bounds its size.
    fn number(&mut self, depth: u32) -> String {
        const ASKED: [&str; 14] = [
            "p.value",
            "p.age",
            "p.period",
            "p.limit.alarm",
            "p.limit.low",
            "p.flat_for",
            "p.stood_for",
            "p.clock",
            "p.fall_for",
            "p.fall_to",
            "p.twin_for",
            "p.resolution",
            "p.range_low",
            "p.range_high",
        ];
        let form = if depth == 0 { 0 } else { self.weighted(&[2, 3, 1, 1, 1, 1, 1]) };
        if form == 0 {
            return match self.weighted(&[3, 4, 2, 2]) {
                0 => self.one(&ASKED).to_owned(),
                1 => self.call(false),
                2 => self.constant(),
                _ => self.around(depth),
            };
        }
        let a = self.number(depth - 1);
        match form {
            1 => format!("({a} {} {})", self.one(&ARITHMETIC), self.number(depth - 1)),
            2 => format!("{}({a}, {})", self.one(&["min", "max"]), self.number(depth - 1)),
            3 => format!("abs({a})"),
            4 => format!("({a}).abs()"),
            5 => format!("-({a})"),
            _ => format!("(if {} {{ {a} }} else {{ {} }})", self.verdict(depth - 1), self.number(depth - 1)),
        }
    }

    /// Something true or false.
    fn verdict(&mut self, depth: u32) -> String {
        const ASKED: [&str; 10] = [
            "true",
            "false",
            "p.has(\"over_range\")",
            "p.has(\"line_break\")",
            "(p.quality == \"uncertain\")",
            "(p.quality != \"good\")",
            "(\"bad\" == p.quality)",
            "(p.quality == \"no such word\")",
            "(p.permit == \"\")",
            "(p.permit != \"calibration\")",
        ];
        let weights: &[usize] = if depth == 0 { &[3, 1, 1, 1] } else { &[4, 1, 1, 2, 2, 2, 1, 1] };
        match self.weighted(weights) {
            0 => {
                let a = self.number(depth.min(2));
                format!("({a} {} {})", self.one(&["==", "!=", ">", ">=", "<", "<="]), self.number(depth.min(2)))
            }
            1 => self.one(&ASKED).to_owned(),
            2 => self.call(true),
            3 => self.around_verdict(depth.min(2)),
            4 => format!("({} && {})", self.verdict(depth - 1), self.verdict(depth - 1)),
            5 => {
                let (a, b, c) = (self.verdict(depth - 1), self.verdict(depth - 1), self.verdict(depth - 1));
                format!("({a} || {b} || {c})")
            }
            6 => format!("!{}", self.verdict(depth - 1)),
            _ => {
                let (a, b, c) = (self.verdict(depth - 1), self.verdict(depth - 1), self.verdict(depth - 1));
                format!("(if {a} {{ {b} }} else {{ {c} }})")
            }
        }
    }

    /// A closure's body, with or without `let`.
    fn body(&mut self) -> String {
        match self.weighted(&[3, 1, 1, 1]) {
            0 => self.verdict(3),
            1 => format!("{{ let x = {}; let y = !x; ({}) && (y || x) }}", self.verdict(1), self.verdict(1)),
            2 => {
                let (group, a) = (self.one(&GROUPS), self.verdict(2));
                format!("{{ let g = {group}; let n = g.max; ({a}) || g.vote(2, \">=\", n) || g.quality == \"bad\" }}")
            }
            _ => format!("{{ let x = {}; let y = x; {} && (y >= x + 0.0) }}", self.number(2), self.verdict(2)),
        }
    }

    fn standing(&mut self) -> Standing {
        match self.weighted(&[4, 2, 1, 1]) {
            0 => Standing::Usable(self.one(&[-1.0, 0.0, 0.3, 0.1 + 0.2, 1.0, 1.5])),
            1 => Standing::Usable(self.between(-1e9, 1e9)),
            2 => Standing::Broken,
            _ => Standing::Awaited,
        }
    }

    fn surroundings(&mut self) -> Surroundings {
        Surroundings {
            seen: self.chance(19),
            points: (0..10).map(|_| (self.standing(), self.bits(), self.between(0.0, 100.0))).collect(),
            named: GROUPS.iter().map(|_| (self.one(&[1, 1, 2, 3, 4, 5, 1, 0]), self.chance(10))).collect(),
            seasons: (0..2).map(|_| self.chance(18).then(|| self.chance(10))).collect(),
            site: self.one(&SiteState::ALL),
            hour: self.between(0.0, 23.999),
            own: self.standing(),
            holding: self.chance(10),
        }
    }

    fn scene(&mut self) -> Scene {
        let (a, b, c) = (self.awkward(), self.awkward(), self.awkward());
        let permit = self.chance(10).then(|| self.one(&PermitKind::ALL));
        Scene {
            value: self.chance(16).then(|| self.awkward()),
            health: Health {
                quality: Quality::from_bits(self.bits()),
                flat_s: a,
                stood_s: b,
                clock_s: c,
                fall_s: a,
                fall_to: b,
                twin_s: c,
                permit,
            },
            age_s: self.awkward(),
            limits: [self.awkward(), self.awkward()],
            range: self.chance(10).then(|| Range { low: self.awkward(), high: self.awkward() }),
            samples: (0..self.below(14))
                .map(|_| {
                    let overtaken = if self.chance(16) { 0 } else { 1 + self.below(8) };
                    (self.below(90) as u64, overtaken as u64, self.awkward())
                })
                .collect(),
            stricter: self.one(&[None, Some(Stricter::Lower), Some(Stricter::Higher)]),
            surroundings: self.surroundings(),
        }
    }
}

/// A closure, and what it is asked at.
pub fn drawn(bytes: &[u8]) -> (String, Vec<Scene>) {
    let mut draw = Draw(Unstructured::new(bytes));
    let code = draw.body();
    let scenes = (0..1 + draw.below(8)).map(|_| draw.scene()).collect();
    (code, scenes)
}

/// A closure alone.
#[cfg(test)]
pub fn drawn_closure(bytes: &[u8]) -> String {
    Draw(Unstructured::new(bytes)).body()
}

/// Panics where the ways to judge differ on what is drawn from the bytes.
pub fn same_every_way(bytes: &[u8]) {
    let (code, scenes) = drawn(bytes);
    let language = Language::new();
    let program = program(&language, &code);
    for scene in &scenes {
        let said = every_way(&program, &language, scene);
        let why = program.native.as_ref().err();
        // What is answered without asking is what Rhai says too.
        let silent = matches!(said.tree, Judged::Says(false) | Judged::Unknown);
        assert!(!said.quiet || silent, "{code} is not quiet on {scene:?}");
        assert_eq!(said.native, said.tree, "{code} ({why:?}) natively and by the tree, on {scene:?}");
        assert_eq!(said.machine, said.tree, "{code} by Rhai's machine and by the tree, on {scene:?}");
    }
}

#[derive(Clone, Debug)]
pub struct Scene {
    pub value: Option<f64>,
    pub health: Health,
    pub age_s: f64,
    pub limits: [f64; 2],
    pub range: Option<Range>,
    /// Pause before it, how far it was overtaken, value.
    pub samples: Vec<(u64, u64, f64)>,
    pub stricter: Option<Stricter>,
    pub surroundings: Surroundings,
}

/// Ten points around it, and how many each selector names, from the first on.
#[derive(Clone, Debug)]
pub struct Surroundings {
    pub seen: bool,
    pub points: Vec<(Standing, u16, f64)>,
    pub named: Vec<(usize, bool)>,
    pub seasons: Vec<Option<bool>>,
    pub site: SiteState,
    pub hour: f64,
    pub own: Standing,
    pub holding: bool,
}

/// What the program looks at.
fn outlook(program: &Program, surroundings: &Surroundings, wants: &Wants) -> outlook::Outlook {
    let mut outlook = outlook::Outlook::default();
    for group in 0..program.beyond.groups.len() {
        let (count, own_votes) = surroundings.named[group % GROUPS.len()];
        let points = (0_u32..).map(PointIndex).skip(group).take(count).collect();
        outlook.groups.push(outlook::Members { points, own_votes });
    }
    for asked in &program.beyond.windows {
        let alone = (outlook.groups[asked.group].points.len() == 1).then(|| outlook.groups[asked.group].points[0]);
        let span = crate::model::parse_duration(&asked.span).unwrap();
        let place = wants.windows.iter().position(|(known, _)| *known == span).unwrap();
        outlook.windows.push(alone.map(|point| outlook::PlacedWindow { point, place, over: asked.over }));
    }
    let seasons = &surroundings.seasons[..program.beyond.seasons.len()];
    outlook.seasons = seasons.iter().map(|season| season.map(|_| 0)).collect();
    outlook
}

/// What the engine would have seen for the program.
fn look(outlook: &outlook::Outlook, surroundings: &Surroundings, past: &Past) -> Option<Rc<Around>> {
    let mut around = Around {
        seasons: surroundings.seasons[..outlook.seasons.len()].to_vec(),
        site: surroundings.site,
        hour: surroundings.hour,
        own: surroundings.own,
        holding: surroundings.holding,
        ..Around::default()
    };
    around.look(outlook, |point| {
        let (standing, bits, age_s) = surroundings.points[point.at()];
        Some(Member { standing, quality: Quality::from_bits(bits), age_s, past })
    });
    surroundings.seen.then(|| Rc::new(around))
}

pub fn program(language: &Language, code: &str) -> Program {
    let text = format!(
        "rule(\"r\", #{{ title: \"t\", advice: \"a\", watches: #{{}}, priority: \"P2\", level: \"orange\", raise: |p| {code} }});"
    );
    let (rules, ast) = read_file(language, &RuleFile { path: "x.rhai".into(), text }).unwrap();
    Program::new(&rules[0].raise, &ast, ["alarm".to_owned(), "low".to_owned()].iter()).unwrap()
}

/// What each way to judge says of one scene.
pub struct Said {
    pub native: Judged,
    /// By Rhai, walking the syntax tree.
    pub tree: Judged,
    /// By Rhai's machine.
    pub machine: Judged,
    /// Answered as false without being asked.
    pub quiet: bool,
}

pub fn every_way(program: &Program, language: &Language, scene: &Scene) -> Said {
    let mut point: Point = trial::read_point(&["t1", "methane", "T1", "%VOL"]).unwrap();
    point.range = scene.range;
    let limits: Rc<[_]> = Rc::from([("alarm".into(), scene.limits[0]), ("low".into(), scene.limits[1])]);
    let site = Site { limits: &limits, stricter: scene.stricter, hole: Some(Duration::from_secs(60)) };
    let mut wants = Wants::default();
    let recalls: Rc<[Recall]> = program.asks.iter().map(|ask| ask.place(&site, &mut wants).0).collect();
    for span in [60, 600] {
        Function::ALL.into_iter().for_each(|function| {
            if let Function::Over(over) = function {
                wants.window(Duration::from_secs(span), over);
            }
        });
    }
    let mut past = Past::new(&wants);
    let mut at = Timestamp::from_secs(1_800_000_000);
    for (pause, overtaken, value) in &scene.samples {
        at = at + Duration::from_secs(*pause);
        past.insert(at - Duration::from_secs(*overtaken), *value);
    }
    let outlook = outlook(program, &scene.surroundings, &wants);
    let around = look(&outlook, &scene.surroundings, &past);
    let reading = Reading {
        value: scene.value,
        health: scene.health,
        age_s: scene.age_s,
        point: &point,
        limits: &limits,
        recalls: &recalls,
        around: around.as_ref(),
    };
    let mut judge = Judge::new(language);
    let lowered = program.native.as_ref().ok();
    let quiet = lowered.and_then(|native| Quiet::of(native, &limits, &recalls, Some(&outlook), &point));
    let sensor = || (scene.health, scene.age_s);
    let glance = scene.value.map(|value| Glance {
        value,
        quality: scene.health.quality,
        hull: past.hull(),
        pace: past.pace(),
        sensor: &sensor,
    });
    let quiet = quiet.zip(glance).is_some_and(|(quiet, glance)| quiet.holds(&glance));
    let native = judge.judge(program, &reading, &mut past);
    let tree = judge.interpret(program, &reading, &mut past);
    Said { native, tree, machine: judge.by_machine(program, &reading, &mut past), quiet }
}
