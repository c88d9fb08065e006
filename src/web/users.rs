//! `[user."li-wei"]`: the people who may ask, what each of them may do, and who a request is from.
//!
//! In come tables of the configuration; out go [`User`]s with names and tokens of their own, or every problem.
//! A request then carries a [`Person`]: whoever does something gives it the role that it needs and the name that
//! the request claims, and gets the name that goes into the record. Without users a request is from whoever it says,
//! as far as the one token or the loopback address lets it in.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::Deserialize;
use serde_json::{Value, json};

use super::alarms::plain;
use super::config::{Token, token};
use super::error::Error;
use crate::config::{Key, Problems};

/// What a person may do. Reading is open to everybody who is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Viewer,
    /// Acknowledge, work permits, exercises, orders to devices.
    Operator,
    /// Write drafts of rules.
    RuleEditor,
    /// Approve, activate, roll back and override.
    RuleApprover,
    /// Let a point off a legal limit.
    SafetyApprover,
    /// Every role but the safety approver's.
    Admin,
}

impl Role {
    pub const ALL: [Self; 6] =
        [Self::Viewer, Self::Operator, Self::RuleEditor, Self::RuleApprover, Self::SafetyApprover, Self::Admin];

    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::RuleEditor => "rule-editor",
            Self::RuleApprover => "rule-approver",
            Self::SafetyApprover => "safety-approver",
            Self::Admin => "admin",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawUser {
    name: String,
    token_file: Option<PathBuf>,
    token_env: Option<String>,
    roles: Vec<String>,
}

/// A person. Printing one does not show the token.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// As in the configuration: `li-wei`.
    pub key: String,
    /// As in records: `李伟`.
    pub name: String,
    pub roles: Vec<Role>,
    pub(super) token: Token,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("key", &self.key).field("roles", &self.roles).finish_non_exhaustive()
    }
}

impl User {
    #[must_use]
    pub fn may(&self, role: Role) -> bool {
        let admin = role != Role::SafetyApprover && self.roles.contains(&Role::Admin);
        role == Role::Viewer || admin || self.roles.contains(&role)
    }
}

impl RawUser {
    pub fn check(self, key: &str, at: &Key, problems: &mut Problems) -> Option<User> {
        let before = problems.len();
        let plain = !key.is_empty()
            && key.len() <= 64
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !plain {
            problems
                .add(at.clone(), "a user's key is 1 to 64 letters, digits, '-', '_' or '.', such as [user.\"li-wei\"]");
        }
        let name = self.name.trim().to_owned();
        if name.is_empty() || name.chars().count() > 64 || name.chars().any(char::is_control) {
            problems.add(at.field("name"), "1 to 64 characters: the name that goes into records");
        }
        if ["file", "davy"].contains(&name.as_str()) {
            problems.add(at.field("name"), format!("{name:?} stands in records for what no person did"));
        }
        if self.roles.is_empty() {
            problems.add(at.field("roles"), "say what this person may do, such as [\"viewer\"]");
        }
        let mut roles = Vec::new();
        for (place, role) in self.roles.iter().enumerate() {
            let known = Role::ALL.map(|role| (role.word(), role));
            roles.extend(problems.known(at.field("roles").index(place), role, "role", known));
        }
        let token = match token(self.token_file.as_deref(), self.token_env.as_deref(), at, problems) {
            Some(Some(token)) => Some(token),
            Some(None) => {
                problems.add(at.field("token_file"), "is missing: `davy user new` makes a token and its file");
                None
            }
            None => None,
        };
        let user = User { key: key.to_owned(), name, roles, token: token? };
        (problems.len() == before).then_some(user)
    }
}

/// Two people are two people: neither names nor tokens are shared.
pub fn check_users(users: &[User], problems: &mut Problems) {
    for (n, user) in users.iter().enumerate() {
        let at = Key::of("user").field(&user.key);
        for other in &users[..n] {
            if other.token == user.token {
                problems
                    .add(at.clone(), format!("has the same token as user.{}; give each person their own", other.key));
            }
            let called = |user: &User| [user.key.to_lowercase(), user.name.to_lowercase()];
            if called(other).iter().any(|name| called(user).contains(name)) {
                problems.add(at.field("name"), format!("user.{} is called so already", other.key));
            }
        }
    }
}

/// Reads `[user.*]`.
pub fn read_users(table: toml::Table, problems: &mut Problems) -> Vec<User> {
    let mut users = Vec::new();
    for (key, value) in table.into_iter().collect::<BTreeMap<_, _>>() {
        let at = Key::of("user").field(&key);
        let raw = problems.read::<RawUser>(&at, value);
        users.extend(raw.and_then(|raw| raw.check(&key, &at, problems)));
    }
    check_users(&users, problems);
    users
}

/// Who a request is from, as far as the gate knows.
#[derive(Clone, Debug)]
pub(super) struct Person(pub(super) Option<Arc<User>>);

impl Person {
    /// Whoever may only look changes nothing, whatever it is: each change asks for its own role besides.
    pub(super) fn may_change(&self, changes: bool) -> Result<(), Error> {
        match &self.0 {
            Some(user) if changes && user.roles.iter().all(|role| *role == Role::Viewer) => {
                Err(Error::not_allowed(format!("{} may look and change nothing", user.name)))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The same for something that any of the roles allows.
    pub(super) fn acts_as(&self, roles: &[Role], claimed: &str) -> Result<String, Error> {
        let held = self.0.as_ref().and_then(|user| roles.iter().find(|role| user.may(**role)));
        self.acts(*held.or(roles.first()).unwrap_or(&Role::Admin), claimed)
    }

    /// The name for the record of something that needs `role`. `claimed` is what the body says in `by`; a known
    /// person may leave it out, and may not be somebody else.
    pub(super) fn acts(&self, role: Role, claimed: &str) -> Result<String, Error> {
        let claimed = plain("by", claimed, 64)?;
        let Some(user) = &self.0 else {
            return if claimed.is_empty() { Err(Error::bad("by: say who does it")) } else { Ok(claimed) };
        };
        if !user.may(role) {
            return Err(Error::not_allowed(format!("{} has not the role {}", user.name, role.word())));
        }
        if claimed.is_empty() || claimed == user.name || claimed == user.key {
            return Ok(user.name.clone());
        }
        Err(Error::not_allowed(format!("by: the token is that of {}, not of {claimed:?}", user.name)))
    }
}

/// `/api/v1/person`: who the token belongs to, and what they may do; `null` where nobody is known by name.
pub(super) async fn show(person: Person) -> Json<Value> {
    let view = |user: &Arc<User>| {
        let may: Vec<&str> = Role::ALL.into_iter().filter(|role| user.may(*role)).map(Role::word).collect();
        json!({ "user": user.key, "name": user.name, "roles": may })
    };
    Json(json!({ "person": person.0.as_ref().map(view) }))
}

/// Put there by the gate, which every request passes.
impl<S: Sync> FromRequestParts<S> for Person {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Error::unauthorized)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<User>, String) {
        let mut problems = Problems::in_file("davy.toml");
        let users = read_users(toml::from_str(text).unwrap(), &mut problems);
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        (users, told.join("\n"))
    }

    fn secrets() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in ["li", "wang"] {
            std::fs::write(folder.path().join(name), format!("{name}-correct-horse-battery\n")).unwrap();
        }
        std::fs::write(folder.path().join("short"), "short").unwrap();
        folder
    }

    #[test]
    fn people_have_names_tokens_and_roles_of_their_own() {
        let folder = secrets();
        let at = |name: &str| folder.path().join(name);
        let (users, told) = read(&format!(
            "[li-wei]\nname = \"李伟\"\ntoken_file = {:?}\nroles = [\"viewer\", \"rule-editor\"]\n\
             [wang]\nname = \"王芳\"\ntoken_file = {:?}\nroles = [\"admin\"]",
            at("li"),
            at("wang")
        ));
        assert_eq!((users.len(), told.as_str()), (2, ""));
        assert!(!format!("{users:?}").contains("horse"));
        let may = |user: usize| Role::ALL.map(|role| users[user].may(role));
        assert_eq!(may(0), [true, false, true, false, false, false]);
        assert_eq!(may(1), [true, true, true, true, false, true], "an admin lets nobody off the law");

        let li = Person(Some(Arc::new(users[0].clone())));
        for claimed in ["", "李伟", "li-wei", " 李伟 "] {
            assert_eq!(li.acts(Role::RuleEditor, claimed).unwrap(), "李伟");
        }
        assert!(li.acts(Role::RuleEditor, "王芳").is_err());
        assert!(li.acts(Role::RuleApprover, "").is_err());
        let anybody = Person(None);
        assert_eq!(anybody.acts(Role::RuleApprover, "wang").unwrap(), "wang");
        assert!(anybody.acts(Role::Viewer, " ").is_err());
    }

    #[test]
    fn every_mistake_is_told_with_its_key() {
        let folder = secrets();
        let at = |name: &str| folder.path().join(name);
        let (li, short) = (at("li"), at("short"));
        for (text, expected) in [
            (
                format!("[a]\nname = \"A\"\ntoken_file = {li:?}\nroles = [\"oprator\"]"),
                "user.a.roles[0]: \"oprator\" is not a role; did you mean \"operator\"?",
            ),
            (format!("[a]\nname = \"A\"\ntoken_file = {li:?}\nroles = []"), "user.a.roles: say what"),
            (format!("[a]\nname = \"\"\ntoken_file = {li:?}\nroles = [\"viewer\"]"), "user.a.name: 1 to 64"),
            (format!("[a]\nname = \"file\"\ntoken_file = {li:?}\nroles = [\"viewer\"]"), "no person did"),
            (
                format!("[a]\nname = \"A\"\ntoken_file = {short:?}\nroles = [\"viewer\"]"),
                "user.a.token_file: the token must be",
            ),
            ("[a]\nname = \"A\"\nroles = [\"viewer\"]".into(), "user.a.token_file: is missing"),
            (format!("[\"a b\"]\nname = \"A\"\ntoken_file = {li:?}\nroles = [\"viewer\"]"), "a user's key is"),
            (
                format!(
                    "[a]\nname = \"A\"\ntoken_file = {li:?}\nroles = [\"viewer\"]\n[b]\nname = \"a\"\ntoken_file = {li:?}\nroles = [\"viewer\"]"
                ),
                "user.b: has the same token as user.a",
            ),
        ] {
            let (_, told) = read(&text);
            assert!(told.contains(expected), "{text}: {told}");
        }
    }
}
