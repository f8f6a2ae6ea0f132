//! Users: made, changed, taken out.

use super::records::{Refused, Role, User};
use super::{
    ADMIN, Accounts, FIRST, MAX_PASSWORD, MAX_USERS, MIN_PASSWORD, State, StoredUser, end_logins,
};
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

    /// Makes or changes a user; a new one needs a password, which the user has to change. True if it
    /// was made.
    ///
    /// # Errors
    /// [`Refused`]; nothing has changed then.
    pub fn put(&self, name: &str, role: Role, password: Option<&str>) -> Result<bool, Refused> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if !(1..=64).contains(&name.len()) || !name.chars().all(plain) {
            return Err(Refused::Wrong {
                pointer: "",
                found: format!("{name:?} is not a name"),
                remedy: "use 1 to 64 letters, digits, '-', '_' or '.'".to_owned(),
            });
        }
        let hash = password
            .map(|password| hashed(name, password, "/password"))
            .transpose()?;
        self.change(|state| {
            let known = state.users.get(name).cloned();
            let made = known.is_none();
            let user = match (known, hash) {
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
            state.users.insert(name.to_owned(), user);
            if state.users.len() > MAX_USERS {
                return Err(Refused::Full("users"));
            }
            has_admin(state)?;
            if password.is_some() {
                end_logins(state, name);
            }
            Ok(made)
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
        self.change(|state| {
            end_logins(state, name);
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
    pub fn remove(&self, name: &str) -> Result<(), Refused> {
        self.change(|state| {
            let gone = state.users.remove(name);
            gone.ok_or_else(|| Refused::Missing(format!("user {name:?}")))?;
            has_admin(state)?;
            end_logins(state, name);
            state.tokens.retain(|_, token| token.user != name);
            Ok(())
        })
    }
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
