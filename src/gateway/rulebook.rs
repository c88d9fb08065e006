//! Rule files on the disk, and which version of each is in force.
//!
//! In come the files of the rules folder; out goes the list that the engine gets. A file that is broken
//! keeps its last sound version in force and raises `davy-rule-file`; mending or restoring it ends the alarm.
//! A folder that cannot be read, a file that is gone and one without a byte in it (a disk was full when it was saved)
//! are no order to stop watching: what was in force stays. An operator who means it leaves a comment in the file; a
//! file that moved is known by its rules' ids. Half of a file that is being written is not looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::alarm::{Alarm, Level, Priority, RuleId};
use crate::journal::{Condition, RuleFile, Setup};
use crate::model::Timestamp;
use crate::rule::{Language, Plan, RuleProblem, is_blank, read_file as read_rules};

/// A rule file larger than this is a mistake.
const MOST_BYTES: u64 = 1 << 20;

/// The condition that a file is broken, and how its subject begins.
const RULE: &str = "davy-rule-file";
const SUBJECT: &str = "rule file ";

const HOW_TO_END: &str = "To end them, leave nothing but a comment (// ended) in the file";

/// How the rules folder itself is named among its files.
const WHOLE_FOLDER: &str = ".";

/// Reads every `.rhai` file below `folder`, in path order. Files that cannot be read are problems.
pub fn read_folder(folder: &Path) -> (Vec<RuleFile>, Vec<RuleProblem>) {
    let (mut files, mut problems) = (Vec::new(), Vec::new());
    let mut folders = vec![folder.to_owned()];
    let problem = |path: &Path, what: String| RuleProblem::of(&path.display().to_string(), what);
    while let Some(next) = folders.pop() {
        let entries = match std::fs::read_dir(&next) {
            Ok(entries) => entries,
            Err(error) => {
                let below = next.strip_prefix(folder).unwrap_or(&next);
                let below = if below.as_os_str().is_empty() { Path::new(WHOLE_FOLDER) } else { below };
                problems.push(problem(below, format!("the folder cannot be read: {error}")));
                continue;
            }
        };
        for entry in entries {
            let path = match entry {
                Ok(entry) => entry.path(),
                Err(error) => {
                    problems.push(problem(Path::new(WHOLE_FOLDER), format!("the folder cannot be read: {error}")));
                    continue;
                }
            };
            // What editors and other systems leave beside a file.
            let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if path.is_dir() {
                folders.push(path);
            } else if !hidden && path.extension().is_some_and(|extension| extension == "rhai") {
                match read_file(folder, &path) {
                    Ok(file) => files.push(file),
                    Err(what) => problems.push(problem(path.strip_prefix(folder).unwrap_or(&path), what)),
                }
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    (files, problems)
}

fn read_file(folder: &Path, path: &PathBuf) -> Result<RuleFile, String> {
    let bytes = std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?.len();
    if bytes > MOST_BYTES {
        return Err(format!("holds {bytes} bytes, more than {MOST_BYTES}: not a rule file"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    // Some editors begin a file by it.
    let text = text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_owned);
    let relative = path.strip_prefix(folder).unwrap_or(path);
    Ok(RuleFile { path: relative.to_string_lossy().replace('\\', "/"), text })
}

/// Paths at which the two readings of the folder differ: they are being written.
#[must_use]
pub fn moving(
    (one, unread): &(Vec<RuleFile>, Vec<RuleProblem>),
    (other, still): &(Vec<RuleFile>, Vec<RuleProblem>),
) -> BTreeSet<String> {
    let problems = |of: &[RuleProblem], not: &[RuleProblem]| -> Vec<String> {
        of.iter().filter(|problem| !not.contains(problem)).map(|problem| problem.file.clone()).collect()
    };
    let mut moving = changed(one, other);
    moving.extend(problems(unread, still).into_iter().chain(problems(still, unread)));
    moving
}

/// What a look at the folder led to.
#[derive(Debug, Default)]
pub struct Verdict {
    /// The rules to be in force.
    pub rules: Vec<RuleFile>,
    /// Files whose new text is not in force, each with everything that is wrong.
    pub broken: BTreeMap<String, Vec<RuleProblem>>,
    /// Those of them that are so because a rule is missing.
    pub lost: BTreeSet<String>,
    /// Limits and units that do not fit between rules and points.
    pub refused: Vec<RuleProblem>,
    pub remarks: Vec<RuleProblem>,
}

/// Checks what was found against the points and the rest of `ground`, whose own rules do not matter; a broken file is
/// replaced by its version in `in_force`. A rule ends only where a sound file says so by leaving it out.
#[must_use]
pub fn weigh(found: Vec<RuleFile>, unreadable: Vec<RuleProblem>, in_force: &[RuleFile], ground: &Setup) -> Verdict {
    let language = Language::new();
    let mut kept: BTreeMap<String, Vec<RuleProblem>> = BTreeMap::new();
    for problem in unreadable {
        kept.entry(problem.file.clone()).or_default().push(problem);
    }
    let unread: Vec<String> = kept.keys().cloned().collect();
    let mut missing = BTreeSet::new();
    loop {
        let verdict = tried(&language, &found, &kept, in_force, ground);
        let before = kept.len();
        for problem in lost(&language, &found, &unread, &verdict.rules, in_force) {
            missing.insert(problem.file.clone());
            kept.entry(problem.file.clone()).or_insert_with(|| vec![problem]);
        }
        if kept.len() == before {
            return Verdict { lost: missing, ..verdict };
        }
    }
}

/// What follows from the files that were found when those in `kept` stay as they are in force.
fn tried(
    language: &Language,
    found: &[RuleFile],
    kept: &BTreeMap<String, Vec<RuleProblem>>,
    in_force: &[RuleFile],
    ground: &Setup,
) -> Verdict {
    let mut verdict = Verdict { broken: kept.clone(), ..Verdict::default() };
    let mut rules: Vec<RuleFile> = found.iter().filter(|file| !kept.contains_key(&file.path)).cloned().collect();
    let stays = |file: &&RuleFile| kept.keys().any(|path| stands_at(path, &file.path));
    for file in in_force.iter().filter(stays) {
        if !rules.iter().any(|known| known.path == file.path) {
            rules.push(file.clone());
        }
    }
    // A problem may lie between two files (one id in both): the one that changed gives way.
    let mut setup = ground.clone();
    loop {
        setup.rules = rules;
        let plan = Plan::new(language, &setup);
        rules = std::mem::take(&mut setup.rules);
        if plan.problems.is_empty() {
            verdict.refused = plan.refused;
            verdict.remarks = plan.remarks;
            break;
        }
        let problems: Vec<_> =
            plan.problems.into_iter().map(|problem| blamed(language, problem, &rules, in_force)).collect();
        let wrong: BTreeSet<String> = problems.iter().map(|problem| problem.file.clone()).collect();
        for problem in problems {
            verdict.broken.entry(problem.file.clone()).or_default().push(problem);
        }
        rules = rules
            .into_iter()
            .filter_map(|file| if wrong.contains(&file.path) { earlier(&file, in_force) } else { Some(file) })
            .collect();
    }
    for path in verdict.broken.keys() {
        if !rules.iter().any(|file| file.path == *path) {
            rules.extend(in_force.iter().find(|file| file.path == *path).cloned());
        }
    }
    rules.sort_by(|a, b| a.path.cmp(&b.path));
    verdict.rules = rules;
    verdict
}

/// Files in force whose rules would end though nobody said so, each with what happened: it is gone or empty and its
/// rules are in no other file that counts, or they went to one that does not count, or may have gone to one that cannot
/// be read.
fn lost(
    language: &Language,
    found: &[RuleFile],
    unread: &[String],
    rules: &[RuleFile],
    in_force: &[RuleFile],
) -> Vec<RuleProblem> {
    let there: BTreeSet<RuleId> =
        rules.iter().filter(|file| !in_force.contains(file)).flat_map(|file| ids(language, file)).collect();
    let mut lost = Vec::new();
    for file in in_force.iter().filter(|file| !rules.contains(file) && !is_blank(&file.text)) {
        let own = ids(language, file);
        let missing: Vec<&RuleId> = own.difference(&there).collect();
        // One that nobody can read any more has no ids, and what was in it is not known to be elsewhere.
        if missing.is_empty() && !own.is_empty() {
            continue;
        }
        let message = match found.iter().find(|known| known.path == file.path) {
            None => format!("is gone; its rules stay in force. {HOW_TO_END}"),
            Some(empty) if empty.text.trim().is_empty() => {
                format!("is empty, as a disk that is full leaves it; its rules stay in force. {HOW_TO_END}")
            }
            Some(_) => {
                let Some(id) = missing.first() else { continue };
                let refused = found.iter().filter(|other| other.path != file.path && !rules.contains(other));
                let other = refused.filter(|other| missing.iter().any(|id| may_define(language, other, id)));
                let other = other.map(|other| (&other.path, "not in force"));
                let unread = unread.iter().map(|path| (path, "not to be read"));
                let Some((other, how)) = other.chain(unread).next() else { continue };
                format!("no longer has {id:?}, but {other}, which may have it now, is {how}: this file stays as it was")
            }
        };
        lost.push(RuleProblem::of(&file.path, message));
    }
    lost
}

/// Does the file define the rule, as far as that can be said of one that is broken?
fn may_define(language: &Language, file: &RuleFile, id: &RuleId) -> bool {
    let ids = ids(language, file);
    let quoted = ['"', '`'].iter().any(|quote| file.text.contains(&format!("{quote}{id}{quote}")));
    let reckoned = || file.text.split("rule(").skip(1).any(|after| !after.trim_start().starts_with('"'));
    ids.contains(id) || quoted || (ids.is_empty() && reckoned())
}

/// Files in force that hold rules which `rules` no longer has.
#[must_use]
pub fn ending(rules: &[RuleFile], in_force: &[RuleFile]) -> BTreeMap<String, BTreeSet<RuleId>> {
    let language = Language::new();
    let others = |one: &[RuleFile], other: &[RuleFile]| -> Vec<(String, BTreeSet<RuleId>)> {
        let differing = one.iter().filter(|file| !other.contains(file));
        differing.map(|file| (file.path.clone(), ids(&language, file))).collect()
    };
    let there: BTreeSet<RuleId> = others(rules, in_force).into_iter().flat_map(|(_, ids)| ids).collect();
    let before = others(in_force, rules).into_iter();
    before.map(|(path, ids)| (path, &ids - &there)).filter(|(_, ending)| !ending.is_empty()).collect()
}

fn ids(language: &Language, file: &RuleFile) -> BTreeSet<RuleId> {
    let rules = read_rules(language, file).map(|(rules, _)| rules).unwrap_or_default();
    rules.into_iter().map(|rule| rule.id).collect()
}

/// A problem of a file that is as it was, because another one changed, is a problem of the other.
fn blamed(language: &Language, problem: RuleProblem, rules: &[RuleFile], in_force: &[RuleFile]) -> RuleProblem {
    let Some(told) = rules.iter().find(|file| file.path == problem.file && in_force.contains(file)) else {
        return problem;
    };
    let own = ids(language, told);
    let other = rules.iter().find(|file| !in_force.contains(file) && !ids(language, file).is_disjoint(&own));
    match other {
        Some(other) => {
            let message = format!("takes a rule of {}: {}", problem.file, problem.message);
            RuleProblem::of(&other.path, message)
        }
        None => problem,
    }
}

/// Paths of the files that are not the same in both lists.
#[must_use]
pub fn changed(rules: &[RuleFile], in_force: &[RuleFile]) -> BTreeSet<String> {
    let differing = |from: &[RuleFile], other: &[RuleFile]| -> Vec<String> {
        from.iter().filter(|file| !other.contains(file)).map(|file| file.path.clone()).collect()
    };
    differing(rules, in_force).into_iter().chain(differing(in_force, rules)).collect()
}

/// `rules` with another text of one file.
#[must_use]
pub fn with(rules: &[RuleFile], path: &str, text: &str) -> Vec<RuleFile> {
    let mut rules: Vec<RuleFile> = rules.iter().filter(|file| file.path != path).cloned().collect();
    rules.push(RuleFile { path: path.to_owned(), text: text.to_owned() });
    rules.sort_by(|a, b| a.path.cmp(&b.path));
    rules
}

/// Is the file at that path, or in that folder?
fn stands_at(path: &str, file: &str) -> bool {
    path == WHOLE_FOLDER || file.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The version in force of a broken file, unless that is the very text that is broken.
fn earlier(broken: &RuleFile, in_force: &[RuleFile]) -> Option<RuleFile> {
    in_force.iter().find(|file| file.path == broken.path && file.text != broken.text).cloned()
}

/// The files of which an alarm says that they are broken.
#[must_use]
pub fn reported(open: &[std::sync::Arc<Alarm>]) -> Vec<String> {
    let about_files = open.iter().filter(|alarm| &*alarm.rule == RULE);
    about_files.filter_map(|alarm| alarm.subject.strip_prefix(SUBJECT).map(str::to_owned)).collect()
}

/// The alarm that a file on the disk is not in force: broken, or waiting. `why` is empty when it is over.
#[must_use]
pub fn condition(path: &str, why: &str, at: Timestamp) -> Condition {
    Condition {
        at,
        rule: RULE.into(),
        subject: format!("{SUBJECT}{path}"),
        holds: !why.is_empty(),
        title: format!("规则文件未生效 / rule file does not take effect: {path}"),
        advice: "修正文件后自动生效；草案须经批准。此前沿用上一有效版本（如有） / mend the file, or have its draft approved; until then the last sound version, if there was one, is in force".into(),
        priority: Priority::P2,
        level: Level::Yellow,
        detail: why.to_owned(),
    }
}

/// What is wrong with a file, as its alarm says it.
#[must_use]
pub fn told(problems: &[RuleProblem]) -> String {
    problems.iter().take(5).map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// The condition that changes of rules wait for an open alarm of priority P1.
pub const FROZEN: &str = "davy-rules-frozen";

#[must_use]
pub fn frozen(detail: &str, at: Timestamp) -> Condition {
    Condition {
        at,
        rule: FROZEN.into(),
        subject: "rules".into(),
        holds: !detail.is_empty(),
        title: "一级报警未结束，规则改动暂不生效 / rules are frozen while a P1 alarm is open: changes wait".into(),
        advice: "报警结束后自动生效；确需立即生效，由批准人说明理由 / they take effect when it is over, or when an approver overrides with a reason".into(),
        priority: Priority::P3,
        level: Level::Yellow,
        detail: detail.to_owned(),
    }
}

/// The condition that an approved draft could not be put in force at its time.
pub const STUCK: &str = "davy-rule-draft";

#[must_use]
pub fn stuck(draft: &str, why: &str, at: Timestamp) -> Condition {
    Condition {
        at,
        rule: STUCK.into(),
        subject: draft.to_owned(),
        holds: !why.is_empty(),
        title: format!("已批准的规则草案未能生效 / an approved draft could not be put in force: {draft}"),
        advice: "排除原因，或撤回草案 / remove the cause, it is tried again by itself; or withdraw the draft".into(),
        priority: Priority::P2,
        level: Level::Yellow,
        detail: why.to_owned(),
    }
}

/// The alarm that limits or units of points do not fit the rules, or that all of them do.
#[must_use]
pub fn misfit(refused: &[RuleProblem], at: Timestamp) -> Condition {
    let detail: Vec<String> = refused.iter().take(5).map(ToString::to_string).collect();
    Condition {
        at,
        rule: "davy-rule-limit".into(),
        subject: "limits of points".into(),
        holds: !refused.is_empty(),
        title: "测点限值或单位与规则不符，未按测点限值判定 / limits or units of points do not fit the rules".into(),
        advice: "运行 davy check 查看全部问题并修正 / run davy check for all of them and mend them".into(),
        priority: Priority::P2,
        level: Level::Yellow,
        detail: detail.join("; "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ground() -> Setup {
        Setup::of(Vec::new())
    }

    fn file(path: &str, id: &str, raise: &str) -> RuleFile {
        let text = format!(
            "rule(\"{id}\", #{{ title: \"t\", advice: \"a\", watches: #{{ kind: \"methane\" }}, priority: \"P2\", level: \"blue\", raise: {raise} }});"
        );
        RuleFile { path: path.into(), text }
    }

    #[test]
    fn a_broken_file_keeps_its_last_sound_version_and_the_others_change() {
        let in_force = vec![file("a.rhai", "a", "|p| p.value > 1.0"), file("b.rhai", "b", "|p| p.value > 1.0")];
        let found = vec![file("a.rhai", "a", "|p| p.value >"), file("b.rhai", "b", "|p| p.value > 2.0")];
        let verdict = weigh(found.clone(), vec![], &in_force, &ground());
        assert_eq!(verdict.rules, [in_force[0].clone(), found[1].clone()]);
        assert_eq!(verdict.broken.keys().collect::<Vec<_>>(), ["a.rhai"]);
    }

    #[test]
    fn a_file_that_is_gone_or_without_a_byte_disarms_nothing_and_one_that_says_so_does() {
        let in_force = vec![file("a.rhai", "a", "|p| p.value > 1.0"), file("b.rhai", "b", "|p| p.value > 1.0")];
        let verdict = weigh(vec![in_force[1].clone()], vec![], &in_force, &ground());
        assert_eq!(verdict.rules, in_force);
        assert!(verdict.broken["a.rhai"][0].message.contains("its rules stay in force"));
        let empty = weigh(vec![], vec![], &in_force, &ground());
        assert_eq!((empty.rules, empty.broken.len()), (in_force.clone(), 2), "an unmounted share");

        let full_disk = RuleFile { path: "a.rhai".into(), text: "\n".into() };
        let verdict = weigh(vec![full_disk.clone(), in_force[1].clone()], vec![], &in_force, &ground());
        assert_eq!(verdict.rules, in_force);
        assert!(verdict.broken["a.rhai"][0].message.contains("its rules stay in force"));
        // They went into another file, and this one was left behind.
        let there = file("c.rhai", "a", "|p| p.value > 1.0");
        let found = vec![full_disk, in_force[1].clone(), there];
        let verdict = weigh(found.clone(), vec![], &in_force, &ground());
        assert_eq!((verdict.rules, verdict.broken.len()), (found, 0));

        let emptied = RuleFile { path: "a.rhai".into(), text: "// ended by the chief engineer\n".into() };
        let verdict = weigh(vec![emptied.clone(), in_force[1].clone()], vec![], &in_force, &ground());
        assert_eq!((verdict.rules.clone(), verdict.broken.len()), (vec![emptied, in_force[1].clone()], 0));
        let verdict = weigh(vec![in_force[1].clone()], vec![], &verdict.rules, &ground());
        assert_eq!((verdict.rules, verdict.broken.len()), (vec![in_force[1].clone()], 0));

        let renamed = file("c.rhai", "a", "|p| p.value > 1.0");
        let verdict = weigh(vec![in_force[1].clone(), renamed.clone()], vec![], &in_force, &ground());
        assert_eq!((verdict.rules, verdict.broken.len()), (vec![in_force[1].clone(), renamed], 0));
    }

    /// Its new place is broken, or taken: the old one counts, and both are told.
    #[test]
    fn a_rule_that_moved_to_a_file_that_does_not_count_stays_where_it_was() {
        let sound = "|p| p.value > 1.0";
        let in_force = vec![file("a.rhai", "a", sound), file("b.rhai", "b", sound), file("c.rhai", "c", sound)];
        let misspelt = file("d.rhai", "a", "|p| p.vlaue > 1.0");
        let renamed = vec![in_force[1].clone(), in_force[2].clone(), misspelt.clone()];
        let both = |one: &RuleFile, other: &RuleFile| format!("{}\n{}", one.text, other.text);
        let merged = RuleFile { path: "b.rhai".into(), text: both(&in_force[1], &misspelt) };
        let empty = RuleFile { path: "a.rhai".into(), text: String::new() };
        let emptied = vec![empty, merged.clone(), in_force[2].clone()];
        let other = RuleFile { path: "a.rhai".into(), text: file("a.rhai", "new", sound).text };
        let left_out = vec![other, merged, in_force[2].clone()];
        let taken = RuleFile {
            path: "b.rhai".into(),
            text: format!("{}\n{}", both(&in_force[1], &in_force[0]), in_force[2].text),
        };
        let taken = vec![taken, in_force[2].clone()];
        for (found, told) in [
            (renamed, ["a.rhai", "d.rhai"]),
            (emptied, ["a.rhai", "b.rhai"]),
            (left_out, ["a.rhai", "b.rhai"]),
            (taken, ["a.rhai", "b.rhai"]),
        ] {
            let verdict = weigh(found.clone(), vec![], &in_force, &ground());
            assert_eq!(verdict.rules, in_force, "{found:#?}");
            assert_eq!(verdict.broken.keys().collect::<Vec<_>>(), told);
            assert_eq!(verdict.lost, BTreeSet::from(["a.rhai".to_owned()]));
            assert_eq!(ending(&verdict.rules, &in_force), BTreeMap::new());
        }
        // It may stand in a file that nobody can read, such as one in another encoding.
        let left_out = vec![in_force[1].clone(), in_force[2].clone(), file("a.rhai", "new", sound)];
        let unreadable = vec![RuleProblem::of("e.rhai", "cannot be read: stream did not contain valid UTF-8")];
        let verdict = weigh(left_out.clone(), unreadable, &in_force, &ground());
        assert_eq!((verdict.rules, verdict.broken.len()), (in_force.clone(), 2));
        // Its name is reckoned, in a file that cannot be compiled.
        let reckoned = RuleFile { path: "d.rhai".into(), text: "for n in [\"a\"] { rule(n + \"\", #{ ".into() };
        let found = [left_out.clone(), vec![reckoned]].concat();
        assert_eq!(weigh(found, vec![], &in_force, &ground()).rules, in_force);
        let verdict = weigh(left_out.clone(), vec![], &in_force, &ground());
        assert_eq!((verdict.rules.len(), verdict.broken.len()), (3, 0), "somebody said so");
        let ended = BTreeMap::from([("a.rhai".to_owned(), BTreeSet::from([RuleId::from("a")]))]);
        assert_eq!(ending(&verdict.rules, &in_force), ended);
    }

    #[test]
    fn a_mark_at_the_beginning_of_a_file_is_no_part_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let a = file("a.rhai", "a", "|p| p.value > 1.0");
        std::fs::write(folder.path().join("a.rhai"), format!("\u{feff}{}", a.text)).unwrap();
        assert_eq!(read_folder(folder.path()).0, [a]);
        for (text, blank) in [
            ("// ended\n", true),
            ("/* ended\n by Li */ // so", true),
            ("/* ended", false),
            ("// ended\n;", false),
            ("// methane\rrule(1)", false),
        ] {
            assert_eq!(is_blank(text), blank, "{text:?}");
        }
    }

    #[test]
    fn a_file_that_is_being_written_is_known_by_two_readings() {
        let (a, b) = (file("a.rhai", "a", "|p| p.value > 1.0"), file("b.rhai", "b", "|p| p.value > 1.0"));
        let (half, unreadable) =
            (RuleFile { text: a.text[..40].into(), ..a.clone() }, RuleProblem::of("c.rhai", "gone"));
        let one = (vec![half, b.clone()], vec![]);
        let other = (vec![a, b], vec![unreadable]);
        assert_eq!(moving(&one, &other), BTreeSet::from(["a.rhai".to_owned(), "c.rhai".to_owned()]));
        assert_eq!(moving(&other, &other), BTreeSet::new());
    }

    #[test]
    fn a_broken_file_without_an_earlier_version_leaves_the_rest_working() {
        let found = vec![file("a.rhai", "a", "|p| p.value >"), file("b.rhai", "b", "|p| p.value > 2.0")];
        let verdict = weigh(found.clone(), vec![], &[], &ground());
        assert_eq!(verdict.rules, [found[1].clone()]);
        assert_eq!(verdict.broken.len(), 1);
    }

    #[test]
    fn a_folder_that_cannot_be_read_disarms_nothing() {
        let in_force = vec![file("a.rhai", "a", "|p| p.value > 1.0"), file("coal/b.rhai", "b", "|p| p.value > 1.0")];
        let folder = tempfile::tempdir().unwrap();
        let (found, unreadable) = read_folder(&folder.path().join("gone"));
        let verdict = weigh(found, unreadable, &in_force, &ground());
        assert_eq!(verdict.rules, in_force);
        let told: Vec<String> = verdict.broken.values().flatten().map(ToString::to_string).collect();
        assert!(told.len() == 1 && told[0].starts_with(".: the folder cannot be read"), "{told:?}");

        let unreadable = vec![RuleProblem::of("coal", "the folder cannot be read")];
        let verdict = weigh(vec![in_force[0].clone()], unreadable, &in_force, &ground());
        assert_eq!(verdict.rules, in_force);
    }

    #[test]
    fn a_new_file_that_steals_an_id_is_the_one_refused() {
        let in_force = vec![file("a.rhai", "x", "|p| p.value > 1.0")];
        let found = vec![in_force[0].clone(), file("b.rhai", "x", "|p| p.value > 5.0")];
        let verdict = weigh(found, vec![], &in_force, &ground());
        assert_eq!(verdict.rules, in_force);
        assert_eq!(verdict.broken.keys().collect::<Vec<_>>(), ["b.rhai"]);
    }

    /// In path order the thief stands before the one that it steals from.
    #[test]
    fn an_edit_that_steals_a_rule_is_refused_and_not_the_file_that_had_it() {
        let in_force = vec![file("a.rhai", "a", "|p| p.value > 1.0"), file("b.rhai", "b", "|p| p.value > 1.0")];
        let found = vec![file("a.rhai", "b", "|p| p.value > 9.0"), in_force[1].clone()];
        let verdict = weigh(found, vec![], &in_force, &ground());
        assert_eq!(verdict.rules, in_force);
        assert_eq!(verdict.broken.keys().collect::<Vec<_>>(), ["a.rhai"]);
        let told = verdict.broken["a.rhai"][0].to_string();
        assert!(told.contains("takes a rule of b.rhai"), "{told}");
    }
}
