//! Tokens: made, listed, revoked.

use super::records::{NewToken, Refused, Role, Token};
use super::{Accounts, MAX_TOKENS, StoredToken};
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
