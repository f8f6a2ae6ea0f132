//! Users, their sessions at the API, and tokens.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::SecurityError;
use super::secret::{hash_password, hash_token, is_password, random};
use crate::clock;
use crate::store::{Disk, replace};

const FILE: &str = "access.json";
/// Has the password of the first administrator until it is changed.
const FIRST: &str = "initial-password";
const ADMIN: &str = "admin";

/// Shortest password in characters.
pub const MIN_PASSWORD: usize = 12;
/// Longest password in bytes.
pub const MAX_PASSWORD: usize = 256;
/// How long a login lasts.
const LOGIN_MS: u64 = 12 * 3_600_000;
const MAX_USERS: usize = 256;
const MAX_TOKENS: usize = 1024;
/// Logins at once; the one that ends first makes room.
const MAX_LOGINS: usize = 1024;

/// What somebody may do. Each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Read everything but users, tokens and the audit log.
    Viewer,
    /// Change the configuration, end sessions.
    Operator,
    /// Users, tokens, certificate, audit log.
    Admin,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    users: BTreeMap<String, StoredUser>,
    tokens: BTreeMap<String, StoredToken>,
    /// By the hash of their secret; they end with the process.
    #[serde(skip)]
    logins: HashMap<String, StoredLogin>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct StoredUser {
    role: Role,
    password: String,
    must_change: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct StoredToken {
    name: String,
    user: String,
    role: Role,
    hash: String,
    created: u64,
    expires: u64,
}

#[derive(Debug)]
struct StoredLogin {
    user: String,
    expires: u64,
}

/// A user, without what is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct User {
    /// The name.
    pub name: String,
    /// What the user may do.
    pub role: Role,
    /// The password has to be changed before anything else.
    pub must_change_password: bool,
}

/// A token, without what is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Token {
    /// Names it, also when it is revoked.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// Whose it is. It ends with the user.
    pub user: String,
    /// What it may do, and never more than the user.
    pub role: Role,
    /// When it was made (RFC 3339, UTC).
    pub created: String,
    /// When it ends.
    pub expires: String,
}

/// A token, and for this once its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct NewToken {
    /// Goes behind `Authorization: Bearer`. Not shown again.
    #[serde(rename = "token")]
    pub secret: String,
    /// What is known of it later.
    #[serde(flatten)]
    pub token: Token,
}

/// A login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Login {
    /// Goes behind `Authorization: Bearer`.
    #[serde(rename = "token")]
    pub secret: String,
    /// When it ends (RFC 3339, UTC).
    pub expires: String,
    /// Who logged in.
    #[serde(flatten)]
    pub user: User,
}

/// Who sent a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user's name.
    pub user: String,
    /// The token, if it is one.
    pub token: Option<String>,
    /// What may be done.
    pub role: Role,
    /// The password has to be changed before anything else.
    pub must_change: bool,
}

/// User or password are wrong; nobody says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denied;

/// Why an account was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is none of this name.
    #[error("there is no {0}")]
    Missing(String),
    /// A value is wrong: JSON pointer, what was found, what would do.
    #[error("{found}; {remedy}")]
    Wrong {
        /// JSON pointer into the body.
        pointer: &'static str,
        /// What was found.
        found: String,
        /// What would do.
        remedy: String,
    },
    /// Nobody could administrate any more.
    #[error("this is the last administrator; make another one first")]
    LastAdmin,
    /// There are too many.
    #[error("there are too many {0}")]
    Full(&'static str),
    /// The disk refuses.
    #[error("the state directory cannot be written: {0}")]
    NotStored(String),
}

/// Users and tokens.
pub struct Accounts {
    state: Mutex<State>,
    disk: Mutex<Box<dyn Disk>>,
    /// Of nobody's password: a login of an unknown user takes as long as any other.
    nobody: String,
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accounts").finish_non_exhaustive()
    }
}

impl Accounts {
    /// Reads users and tokens. If there is no user, an administrator is made, whose password is in a
    /// file that only the owner of the process can read, and has to be changed at the first login.
    ///
    /// # Errors
    /// If the disk refuses, or the file is damaged.
    pub fn open(disk: Box<dyn Disk>) -> Result<Self, SecurityError> {
        let state: State = match disk.read(FILE) {
            Ok(content) => {
                serde_json::from_slice(&content).map_err(|why| SecurityError::Damaged {
                    file: FILE,
                    reason: why.to_string(),
                })?
            }
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => State::default(),
            Err(why) => return Err(why.into()),
        };
        let first = state.users.is_empty();
        let accounts = Self {
            state: Mutex::new(state),
            disk: Mutex::new(disk),
            nobody: hash_password(&random::<16>()),
        };
        if first {
            accounts.make_first()?;
        }
        Ok(accounts)
    }

    fn make_first(&self) -> Result<(), SecurityError> {
        let password = random::<12>();
        let user = StoredUser {
            role: Role::Admin,
            password: hash_password(&password),
            must_change: true,
        };
        self.lock().users.insert(ADMIN.to_owned(), user);
        // The password first: a user without one that is known would lock everybody out.
        replace(
            self.disk().as_mut(),
            FIRST,
            format!("{password}\n").as_bytes(),
        )?;
        self.save(&self.lock())
            .map_err(|why| std::io::Error::other(why.to_string()))?;
        tracing::warn!(
            "the first user is {ADMIN:?}; its password is in {FIRST:?} in the state directory, and \
             has to be changed"
        );
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn disk(&self) -> MutexGuard<'_, Box<dyn Disk>> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn save(&self, state: &State) -> Result<(), Refused> {
        // Plain texts and numbers.
        let content = serde_json::to_vec_pretty(state).unwrap_or_default();
        replace(self.disk().as_mut(), FILE, &content)
            .map_err(|why| Refused::NotStored(why.to_string()))
    }

    /// Checks a password; some 20 ms of work, for a thread that may take them.
    ///
    /// # Errors
    /// [`Denied`], after the same time.
    pub fn login(&self, name: &str, password: &str) -> Result<Login, Denied> {
        let known = self.lock().users.get(name).cloned();
        let hash = known.as_ref().map_or(&self.nobody, |user| &user.password);
        let right = password.len() <= MAX_PASSWORD && is_password(password, hash);
        let stored = known.filter(|_| right).ok_or(Denied)?;
        let secret = format!("login_{}", random::<32>());
        let now = clock::unix_ms();
        let expires = now + LOGIN_MS;
        let mut state = self.lock();
        // It may be another password by now.
        let same = |now: &StoredUser| now.password == stored.password;
        if !state.users.get(name).is_some_and(same) {
            return Err(Denied);
        }
        state.logins.retain(|_, login| login.expires > now);
        if state.logins.len() >= MAX_LOGINS
            && let Some(first) = state.logins.iter().min_by_key(|(_, login)| login.expires)
        {
            let first = first.0.clone();
            state.logins.remove(&first);
        }
        let user = name.to_owned();
        state
            .logins
            .insert(hash_token(&secret), StoredLogin { user, expires });
        Ok(Login {
            secret,
            expires: clock::text(expires),
            user: view(name, &stored),
        })
    }

    /// Ends a login.
    pub fn logout(&self, secret: &str) {
        self.lock().logins.remove(&hash_token(secret));
    }

    /// Whose secret this is: a login's or a token's.
    pub fn identify(&self, secret: &str) -> Option<Identity> {
        let hash = hash_token(secret);
        let state = self.lock();
        let now = clock::unix_ms();
        if let Some(login) = state.logins.get(&hash) {
            let user = state
                .users
                .get(&login.user)
                .filter(|_| login.expires > now)?;
            return Some(Identity {
                user: login.user.clone(),
                token: None,
                role: user.role,
                must_change: user.must_change,
            });
        }
        let mut tokens = state.tokens.values();
        let token = tokens.find(|token| token.hash == hash && token.expires > now)?;
        let user = state.users.get(&token.user)?;
        Some(Identity {
            user: token.user.clone(),
            token: Some(token.name.clone()),
            role: token.role.min(user.role),
            must_change: user.must_change,
        })
    }

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

    /// All tokens that have not ended.
    pub fn tokens(&self) -> Vec<Token> {
        let now = clock::unix_ms();
        let state = self.lock();
        let living = state.tokens.iter().filter(|(_, token)| token.expires > now);
        living.map(|(id, token)| token_view(id, token)).collect()
    }

    /// Makes a token for a user.
    ///
    /// # Errors
    /// [`Refused`]; nothing has changed then.
    pub fn make_token(
        &self,
        name: &str,
        user: &str,
        role: Role,
        seconds: u64,
    ) -> Result<NewToken, Refused> {
        let secret = format!("sluice_{}", random::<32>());
        let (id, now) = (random::<8>(), clock::unix_ms());
        let stored = StoredToken {
            name: name.to_owned(),
            user: user.to_owned(),
            role,
            hash: hash_token(&secret),
            created: now,
            expires: now + seconds * 1000,
        };
        let token = token_view(&id, &stored);
        self.change(|state| {
            if !state.users.contains_key(user) {
                return Err(Refused::Wrong {
                    pointer: "/user",
                    found: format!("there is no user {user:?}"),
                    remedy: "name one that there is".to_owned(),
                });
            }
            state.tokens.retain(|_, token| token.expires > now);
            if state.tokens.len() >= MAX_TOKENS {
                return Err(Refused::Full("tokens"));
            }
            state.tokens.insert(id, stored);
            Ok(())
        })?;
        Ok(NewToken { secret, token })
    }

    /// Ends a token.
    ///
    /// # Errors
    /// [`Refused`]; nothing has changed then.
    pub fn revoke(&self, id: &str) -> Result<(), Refused> {
        self.change(|state| {
            let gone = state.tokens.remove(id);
            gone.map(drop)
                .ok_or_else(|| Refused::Missing(format!("token {id:?}")))
        })
    }

    /// Changes users and tokens: all of it, on the disk as well, or nothing.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut State) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let mut state = self.lock();
        let (users, tokens) = (state.users.clone(), state.tokens.clone());
        let done = change(&mut state).and_then(|done| self.save(&state).map(|()| done));
        if done.is_err() {
            state.users = users;
            state.tokens = tokens;
        }
        done
    }
}

fn end_logins(state: &mut State, user: &str) {
    state.logins.retain(|_, login| login.user != user);
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

fn view(name: &str, user: &StoredUser) -> User {
    User {
        name: name.to_owned(),
        role: user.role,
        must_change_password: user.must_change,
    }
}

fn token_view(id: &str, token: &StoredToken) -> Token {
    Token {
        id: id.to_owned(),
        name: token.name.clone(),
        user: token.user.clone(),
        role: token.role,
        created: clock::text(token.created),
        expires: clock::text(token.expires),
    }
}
