//! Tokens: made, listed, revoked.

use super::records::{Bearer, NewToken, Refused, Token, WantedToken};
use super::{Accounts, MAX_TOKENS, Run, StoredToken};
use crate::clock;
use crate::security::secret::{hash_token, random};

impl Accounts {
    /// All tokens that have not ended.
    pub fn tokens(&self) -> Vec<Token> {
        let now = clock::unix_ms();
        let state = self.lock();
        let living = state.tokens.iter().filter(|(_, token)| token.expires > now);
        living.map(|(id, token)| token_view(id, token)).collect()
    }

    /// Makes a token for a user. `by`: the user, and the token, of whoever asks for it.
    ///
    /// # Errors
    /// [`Refused`], also what would be more than the token that it is made with; nothing has changed then.
    pub fn make_token(
        &self,
        wanted: WantedToken,
        by: (&str, Option<&Bearer>),
        run: Run,
    ) -> Result<NewToken, Refused> {
        let secret = format!("sluice_{}", random::<32>());
        let (id, now) = (random::<8>(), clock::unix_ms());
        let stored = StoredToken {
            name: wanted.name,
            user: wanted.user,
            role: wanted.role,
            scope: wanted.scope,
            hash: hash_token(&secret),
            created: now,
            expires: now + wanted.seconds * 1000,
        };
        if let (own, Some(bearer)) = by {
            within(&stored, own, bearer)?;
        }
        let token = token_view(&id, &stored);
        self.change(run, |state| {
            let user = &stored.user;
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
    pub fn revoke(&self, id: &str, run: Run) -> Result<(), Refused> {
        self.change(run, |state| {
            let gone = state.tokens.remove(id);
            gone.map(drop)
                .ok_or_else(|| Refused::Missing(format!("token {id:?}")))
        })
    }
}

/// A token that is made with another one is no more than that.
fn within(wanted: &StoredToken, own: &str, bearer: &Bearer) -> Result<(), Refused> {
    let beyond = |pointer, found: String, remedy: String| {
        Err(Refused::Beyond {
            pointer,
            found,
            remedy,
        })
    };
    if wanted.role > bearer.role {
        let role = format!("{:?}", bearer.role).to_lowercase();
        let found = "a role beyond its own".to_owned();
        return beyond("/role", found, format!("write {role:?}, or log in"));
    }
    if wanted.expires > bearer.expires {
        let found = "a token that would outlive it".to_owned();
        let ends = clock::text(bearer.expires);
        return beyond(
            "/seconds",
            found,
            format!("let it end by {ends}, or log in"),
        );
    }
    let Some(scope) = &bearer.scope else {
        return Ok(());
    };
    if wanted.user != own {
        let found = format!("a token of {:?}", wanted.user);
        return beyond("/user", found, format!("write {own:?}, or log in"));
    }
    let Some(asked) = &wanted.scope else {
        let found = "a token without a scope".to_owned();
        return beyond("/scope", found, format!("name what it needs of {scope}"));
    };
    match asked.beyond(scope) {
        Some(grant) => beyond(
            "/scope",
            grant.to_string(),
            format!("name what it needs of {scope}"),
        ),
        None => Ok(()),
    }
}

fn token_view(id: &str, token: &StoredToken) -> Token {
    Token {
        id: id.to_owned(),
        name: token.name.clone(),
        user: token.user.clone(),
        role: token.role,
        scope: token.scope.clone(),
        created: clock::text(token.created),
        expires: clock::text(token.expires),
    }
}
