//! Users, their sessions at the API, and tokens.

mod records;
mod scope;
mod tokens;
mod users;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

pub use records::{
    Bearer, Denied, Done, Identity, Login, NewToken, Refused, Role, Token, User, WantedToken,
};
pub use scope::{Access, Area, Grant, Scope};

use super::SecurityError;
use super::secret::{hash_password, hash_token, is_password, random};
use crate::clock;
use crate::store::{Disk, replace};
use users::view;

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

/// Whether a change is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Run {
    /// It is.
    #[default]
    Real,
    /// It is checked, and not made.
    Dry,
}

impl Run {
    /// By what a query says.
    pub fn dry(dry: bool) -> Self {
        if dry { Self::Dry } else { Self::Real }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    users: BTreeMap<String, StoredUser>,
    tokens: BTreeMap<String, StoredToken>,
    /// By the hash of their secret; they end with the process.
    #[serde(skip)]
    logins: HashMap<String, StoredLogin>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Those of before there were scopes have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<Scope>,
    hash: String,
    created: u64,
    expires: u64,
}

#[derive(Debug)]
struct StoredLogin {
    user: String,
    expires: u64,
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
            token: Some(Bearer {
                name: token.name.clone(),
                role: token.role,
                scope: token.scope.clone(),
                expires: token.expires,
            }),
            role: token.role.min(user.role),
            must_change: user.must_change,
        })
    }

    /// Who a certificate is of that an authority vouches for: the first of its names that is a user's.
    /// No password is involved, so none has to be changed.
    pub fn named(&self, names: &[String]) -> Option<Identity> {
        let state = self.lock();
        let known = names
            .iter()
            .find_map(|name| state.users.get_key_value(name));
        known.map(|(name, user)| Identity {
            user: name.clone(),
            token: None,
            role: user.role,
            must_change: false,
        })
    }

    /// Changes users and tokens: all of it, on the disk as well, or nothing. As a trial nothing in any
    /// case: what is wrong with it is found out.
    fn change<T>(
        &self,
        run: Run,
        change: impl FnOnce(&mut State) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let mut state = self.lock();
        let (users, tokens) = (state.users.clone(), state.tokens.clone());
        let done = change(&mut state).and_then(|done| match run {
            Run::Real => self.save(&state).map(|()| done),
            Run::Dry => Ok(done),
        });
        if done.is_err() || run == Run::Dry {
            state.users = users;
            state.tokens = tokens;
        } else {
            // Who is not there any more, or has another password by now, has to log in again.
            let State {
                users: now, logins, ..
            } = &mut *state;
            let same = |login: &StoredLogin| {
                let password = |of: &BTreeMap<String, StoredUser>| {
                    of.get(&login.user).map(|user| user.password.clone())
                };
                password(now).is_some_and(|now| Some(now) == password(&users))
            };
            logins.retain(|_, login| same(login));
        }
        done
    }
}
