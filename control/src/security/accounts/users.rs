//! Users: made, changed, taken out.

use super::records::{Done, Refused, Role, User};
use super::{
    ADMIN, Accounts, FIRST, MAX_PASSWORD, MAX_USERS, MIN_PASSWORD, Run, State, StoredUser,
};
use crate::controller::{Expected, tag};
use crate::security::secret::{hash_password, is_password};

impl Accounts {
    /// All users.
    pub fn users(&self) -> Vec<User> {
        let state = self.lock();
        state
            .users
            .iter()
            .map(|(name, user)| view(name, user))
            .collect()
    }

    /// One user.
    pub fn user(&self, name: &str) -> Option<User> {
        self.lock().users.get(name).map(|user| view(name, user))
    }

    /// The `ETag` of a user: changes with role and password.
    pub fn user_tag(&self, name: &str) -> Option<String> {
        self.lock().users.get(name).map(tag_of)
    }

    /// Makes or changes a user; a new one needs a password, which the user has to change. The password that
    /// a user has already is no change. Gives what became of it, and the user as it is then, or would be.
    ///
    /// # Errors
    /// [`Refused`]; nothing has changed then.
    pub fn put(
        &self,
        name: &str,
        (role, password): (Role, Option<&str>),
        expected: &Expected,
        run: Run,
    ) -> Result<(Done, User), Refused> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if !(1..=64).contains(&name.len()) || !name.chars().all(plain) {
            return Err(Refused::Wrong {
                pointer: "",
                found: format!("{name:?} is not a name"),
                remedy: "use 1 to 64 letters, digits, '-', '_' or '.'".to_owned(),
            });
        }
        let before = self.lock().users.get(name).cloned();
        expect(expected, before.as_ref())?;
        let before = before.map(|user| user.password);
        let password = password.filter(|password| {
            let same = |hash| password.len() <= MAX_PASSWORD && is_password(password, hash);
            !before.as_deref().is_some_and(same)
        });
        let hash = password
            .map(|password| hashed(name, password, "/password"))
            .transpose()?;
        self.change(run, |state| {
            let known = state.users.get(name).cloned();
            expect(expected, known.as_ref())?;
            let user = match (known.clone(), hash) {
                (Some(user), None) => StoredUser { role, ..user },
                (_, Some(password)) => StoredUser {
                    role,
                    password,
                    must_change: true,
                },
                (None, None) => {
                    return Err(Refused::Wrong {
                        pointer: "/password",
                        found: "a new user without a password".to_owned(),
                        remedy: "write one, which the user will have to change".to_owned(),
                    });
                }
            };
            let shown = view(name, &user);
            let done = match &known {
                Some(known) if *known == user => Done::NoChange,
                _ if run == Run::Dry => Done::Valid,
                Some(_) => Done::Changed,
                None => Done::Created,
            };
            state.users.insert(name.to_owned(), user);
            if state.users.len() > MAX_USERS {
                return Err(Refused::Full("users"));
            }
            has_admin(state)?;
            Ok((done, shown))
        })
    }

    /// Changes one's own password, and ends all other logins of the user.
    ///
    /// # Errors
    /// [`Refused`]; nothing has changed then.
    pub fn set_password(&self, name: &str, old: &str, new: &str) -> Result<(), Refused> {
        let known = self
            .lock()
            .users
            .get(name)
            .map(|user| user.password.clone());
        let known = known.ok_or_else(|| Refused::Missing(format!("user {name:?}")))?;
        if old.len() > MAX_PASSWORD || !is_password(old, &known) {
            return Err(Refused::Wrong {
                pointer: "/old",
                found: "not the password".to_owned(),
                remedy: "write the one that is to be changed".to_owned(),
            });
        }
        if old == new {
            return Err(Refused::Wrong {
                pointer: "/new",
                found: "the old password".to_owned(),
                remedy: "write another one".to_owned(),
            });
        }
        let password = hashed(name, new, "/new")?;
        self.change(Run::Real, |state| {
            if let Some(user) = state.users.get_mut(name) {
                user.password = password;
                user.must_change = false;
            }
            Ok(())
        })?;
        if name == ADMIN
            && let Err(error) = self.disk().remove(FIRST)
        {
            tracing::warn!(%error, "the first password, which is of no use now, cannot be removed");
        }
        Ok(())
    }

    /// Takes a user out, with tokens and logins.
    ///
    /// # Errors
    /// [`Refused`]; nothing has changed then.
    pub fn remove(&self, name: &str, expected: &Expected, run: Run) -> Result<(), Refused> {
        self.change(run, |state| {
            let gone = state.users.remove(name);
            let gone = gone.ok_or_else(|| Refused::Missing(format!("user {name:?}")))?;
            expect(expected, Some(&gone))?;
            has_admin(state)?;
            state.tokens.retain(|_, token| token.user != name);
            Ok(())
        })
    }
}

fn expect(expected: &Expected, known: Option<&StoredUser>) -> Result<(), Refused> {
    let holds = expected.holds(known.map(tag_of).as_deref());
    holds.then_some(()).ok_or(Refused::Stale)
}

fn tag_of(user: &StoredUser) -> String {
    // Plain texts.
    tag(&serde_json::to_string(user).unwrap_or_default())
}

fn has_admin(state: &State) -> Result<(), Refused> {
    let mut users = state.users.values();
    let some = users.any(|user| user.role == Role::Admin);
    some.then_some(()).ok_or(Refused::LastAdmin)
}

fn hashed(name: &str, password: &str, pointer: &'static str) -> Result<String, Refused> {
    let wrong = |found: &str| Refused::Wrong {
        pointer,
        found: found.to_owned(),
        remedy: format!("write {MIN_PASSWORD} characters or more, up to {MAX_PASSWORD} bytes"),
    };
    if password.chars().count() < MIN_PASSWORD || password.len() > MAX_PASSWORD {
        return Err(wrong("the password is too short or too long"));
    }
    if password.to_lowercase().contains(&name.to_lowercase()) && name.len() >= 4 {
        return Err(wrong("the password has the user's name in it"));
    }
    Ok(hash_password(password))
}

pub(super) fn view(name: &str, user: &StoredUser) -> User {
    User {
        name: name.to_owned(),
        role: user.role,
        must_change_password: user.must_change,
    }
}
