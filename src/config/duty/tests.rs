use super::*;

fn read_text(text: &str) -> (Duty, Vec<String>) {
    let mut file: toml::Table = toml::from_str(text).unwrap();
    let mut problems = Problems::in_file("davy.toml");
    let recipients = ["sms.li".to_owned(), "mail.li".to_owned()];
    let users = ["li".to_owned()];
    let calendar = Calendar::default();
    let around = Around { calendar: &calendar, recipients: &recipients, users: &users };
    let duty = read(&mut file, &around, &mut problems);
    (duty, problems.iter().map(ToString::to_string).collect())
}

#[test]
fn without_people_there_is_nobody_to_call() {
    let (duty, problems) = read_text("");
    assert!(duty.is_empty() && problems.is_empty());
    assert_eq!(duty, Duty::default());
}

/// A few lines are enough for the minutes of the field's defaults.
#[test]
fn a_site_with_a_few_lines_has_the_shipped_minutes() {
    let (duty, problems) = read_text(
        "[person.li]\nname = \"李伟\"\nreach = [\"sms.li\"]\n[position.operator]\nwho = [\"person.li\"]\n\
         [position.county]\nwho = [\"person.li\"]\n",
    );
    assert_eq!(problems, Vec::<String>::new());
    let minutes = |policy: &str, tier: Tier, copy: bool| {
        let steps = &duty.policies[policy].steps;
        let found = steps.iter().find(|step| step.who == Who::Tier(tier) && step.copy == copy);
        found.map(|step| match step.after {
            After::Time(after) => after.as_secs() / 60,
            After::ShiftEnd => 999,
        })
    };
    for (policy, operator, leader, copy, county, city, province) in [
        ("P1", Some(0), Some(3), Some(0), Some(5), Some(15), Some(30)),
        ("P2", Some(0), Some(10), Some(0), Some(15), Some(60), None),
        ("P3", Some(0), Some(30), None, Some(60), None, None),
        ("P4", Some(999), None, None, None, None, None),
    ] {
        assert_eq!(minutes(policy, Tier::Operator, false), operator, "{policy}");
        assert_eq!(minutes(policy, Tier::Leader, false), leader, "{policy}");
        assert_eq!(minutes(policy, Tier::County, true), copy, "{policy}");
        assert_eq!(minutes(policy, Tier::County, false), county, "{policy}");
        assert_eq!(minutes(policy, Tier::City, false), city, "{policy}");
        assert_eq!(minutes(policy, Tier::Province, false), province, "{policy}");
    }
    // Two calls are the time that the operator has to acknowledge: 1, 3 and 10 minutes.
    for (policy, seconds) in [("P1", 60), ("P2", 180), ("P3", 600)] {
        let policy = &duty.policies[policy];
        assert_eq!(policy.every.as_secs() * u64::from(policy.calls), seconds);
    }
    assert_eq!(duty.people["li"].user.as_deref(), Some("li"), "the user of the same name");
    assert!(duty.reaches("sms.li") && !duty.reaches("mail.li"));
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let (_, problems) = read_text(
        "[person.li]\nname = \"李伟\"\nreach = [\"sms.lee\"]\nleave = [{ from = \"2026-13-01\", to = \"2026-12-05\" }]\n\
         [team.t]\nmembers = [\"wang\"]\n\
         [area.a]\nkind = \"county\"\n\
         [roster.r]\nshifts = [\"0-8\", \"9-24\"]\ncycle = [[\"li\"]]\n\
         [position.operator]\nwho = [\"roster.q\"]\narea = \"b\"\n\
         [position.gate]\nwho = [\"person.li\"]\n\
         [policy.p]\nstep = [{ who = \"county\", after = \"0s\", copy = true }]\n\
         [[route]]\nhazard = \"gaz\"\npolicy = \"nigth\"\nhours = \"22\"\n",
    );
    let all = problems.join("\n");
    for told in [
        "person.li.reach[0]: \"sms.lee\" is not a recipient of [notify]; did you mean \"sms.li\"?",
        "person.li.leave[0].from: \"2026-13-01\" is not a day",
        "team.t.members[0]: \"wang\" is not a person",
        "area.a.sites: say what lies in it",
        "roster.r.shifts: must fill the day without gap or overlap",
        "roster.r.cycle[0]: has 1 crews for 2 shifts",
        "position.operator.area: \"b\" is not a area",
        "position.operator.who[0]: \"q\" is not a roster",
        "position.gate.level: \"gate\" is not a level",
        "policy.p.step: nobody is called",
        "route[0].hazard: \"gaz\" is not a hazard; did you mean \"gas\"?",
        "route[0].policy: \"nigth\" is not a policy",
        "route[0].hours: is not a time of the day",
    ] {
        assert!(all.contains(told), "{told}\n{all}");
    }
}
