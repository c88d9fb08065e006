//! Alarms of Davy's own: which of them one person may keep quiet for a while.
//!
//! In comes the rule's id; out goes whether it may be shelved. Most of them say that an alarm may not reach a person, or
//! that a person does not do what an alarm asks for: whoever could shelve those could switch off the watch over
//! themselves. What is not named here is one of these until somebody decides otherwise.

/// Doubts about the configuration, work on instruments that is due, and outlets that no person hears.
const SHELVABLE: [&str; 7] = [
    "davy-calibration-due",
    "davy-chatter",
    "davy-exemption-ends",
    "davy-influxdb",
    "davy-rule-draft",
    "davy-rules-frozen",
    "davy-site-ends",
];

/// Is it about Davy itself, and not about a point?
#[must_use]
pub fn is_own(rule: &str) -> bool {
    rule.starts_with("davy-")
}

/// May one person shelve an alarm of Davy's own?
#[must_use]
pub fn own_shelvable(rule: &str) -> bool {
    SHELVABLE.contains(&rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_says_that_a_person_may_not_hear_stays() {
        for rule in [
            "davy-case-answer",
            "davy-case-close",
            "davy-case-sign-off",
            "davy-case-supervised",
            "davy-case-update",
            "davy-console-closed",
            "davy-exemption-ended",
            "davy-handover",
            "davy-handover-unsigned",
            "davy-nobody-called",
            "davy-notify-failing",
            "davy-out-of-service",
            "davy-permit-overdue",
            "davy-post-check",
            "davy-presence",
            "davy-presence-missed",
            "davy-rule-fault",
            "davy-rule-file",
            "davy-rule-limit",
            "davy-siren-failing",
            "davy-siren-muted",
            "davy-slow-disk",
            "davy-source-down",
            "davy-what-is-invented-next-year",
        ] {
            assert!(is_own(rule) && !own_shelvable(rule), "{rule}");
        }
        assert!(SHELVABLE.iter().all(|rule| is_own(rule) && own_shelvable(rule)));
        assert!(!is_own("methane-face"));
    }
}
