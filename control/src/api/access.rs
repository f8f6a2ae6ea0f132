//! Logging in; tokens.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use utoipa::ToSchema;

use super::caller::Caller;
use super::door::{bearer, client, guessed_wrong, too_many, unauthorized};
use super::extract::{Body, Path, Query};
use super::pages::{Paging, behind_sorted};
use super::recorder::Notes;
use super::trial::{Trial, Tried};
use super::{Api, Problem};
use crate::clock;
use crate::security::{
    self, Accounts, Grant, Login, NewToken, Refused, Role, Run, Scope, Token, User,
};

/// Passwords that are checked at once: each takes 19 MiB and a core for 20 ms.
static CHECKS: Semaphore = Semaphore::const_new(2);

impl From<Refused> for Problem {
    fn from(why: Refused) -> Self {
        let detail = why.to_string();
        let (status, kind, title) = match why {
            Refused::Wrong {
                pointer,
                found,
                remedy,
            } => {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                let problem = Self::new(status, "invalid-account", "It cannot be so");
                return problem
                    .detail(&detail)
                    .fault(pointer.to_owned(), found, remedy);
            }
            Refused::Beyond {
                pointer,
                found,
                remedy,
            } => {
                let title = "A token makes nothing that it is not";
                let problem = Self::new(StatusCode::FORBIDDEN, "beyond-token", title);
                return problem
                    .detail(&detail)
                    .fault(pointer.to_owned(), found, remedy);
            }
            Refused::Missing(_) => (StatusCode::NOT_FOUND, "no-such-account", "It is not there"),
            Refused::Stale => {
                let status = StatusCode::PRECONDITION_FAILED;
                (
                    status,
                    "changed-meanwhile",
                    "It is not what you think it is",
                )
            }
            Refused::LastAdmin => (StatusCode::CONFLICT, "last-administrator", "It is needed"),
            Refused::Full(_) => (StatusCode::CONFLICT, "full", "There is no room"),
            Refused::NotStored(_) => {
                let status = StatusCode::INSUFFICIENT_STORAGE;
                (status, "not-stored", "It cannot be kept, and was not done")
            }
        };
        Self::new(status, kind, title).detail(detail)
    }
}

pub(super) fn accounts(api: &Api) -> Result<Arc<Accounts>, Problem> {
    api.security.accounts.clone().ok_or_else(|| {
        let status = StatusCode::CONFLICT;
        let problem = Problem::new(status, "no-users", "Nobody is asked who they are");
        problem.detail("write auth = \"users\" in [api], and start with --state-dir")
    })
}

/// Does what takes a password, away from the thread that serves.
pub(super) async fn with_password<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let failed = || {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Problem::new(status, "internal", "An error in Sluice; please report it")
    };
    let _place = CHECKS.acquire().await.map_err(|_| failed())?;
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| failed())
}

/// User and password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    user: String,
    password: String,
}

/// Log in
///
/// Gives a secret for `Authorization: Bearer`, good for twelve hours.
#[utoipa::path(post, path = "/login", tag = "access", operation_id = "login",
    request_body = Credentials, security(()), responses((status = 200, body = Login)))]
pub(super) async fn login(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
    let accounts = accounts(&api)?;
    let client = client(&request);
    let notes = Notes::of(request.extensions());
    let Body(Credentials { user, password }) = Body::read(request).await?;
    // What is no user's name may be a password in the wrong place.
    if accounts.user(&user).is_some() {
        notes.refused(&user);
    }
    if let Err(wait) = api.security.limits.may_guess(client, Instant::now()) {
        return Ok(too_many(wait, "Locked out after too many wrong guesses"));
    }
    let name = user.clone();
    match with_password(move || accounts.login(&user, &password)).await? {
        Ok(login) => {
            api.security.limits.guessed_right(client);
            notes.let_in(&name);
            Ok(Json(login).into_response())
        }
        Err(_) => {
            guessed_wrong(&api, client, Instant::now());
            Ok(unauthorized("user or password are wrong"))
        }
    }
}

/// Log out
#[utoipa::path(post, path = "/logout", tag = "access", operation_id = "logout",
    responses((status = 204)))]
pub(super) async fn logout(
    State(api): State<Api>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    if let Some(secret) = bearer(&headers) {
        accounts(&api)?.logout(secret);
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Who asks.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Me {
    /// Whether users are asked for at all.
    users: bool,
    /// The user, if so; the role is what counts for this request.
    #[serde(flatten)]
    user: User,
    /// The token, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<ShownToken>,
}

/// The token that a request shows.
#[derive(Debug, Serialize, ToSchema)]
struct ShownToken {
    /// What it is for.
    name: String,
    /// What it is held to; absent: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<Scope>,
    /// When it ends (RFC 3339, UTC).
    expires: String,
}

/// Who am I?
#[utoipa::path(get, path = "/whoami", tag = "access", operation_id = "whoami",
    responses((status = 200, body = Me)))]
pub(super) async fn who_am_i(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
) -> Json<Me> {
    let accounts = api.security.accounts.as_ref();
    let local = User {
        name: caller.name,
        role: Role::Admin,
        must_change_password: false,
    };
    let known = accounts.and_then(|accounts| accounts.user(&caller.user));
    let known = known.map(|user| User {
        role: caller.role,
        ..user
    });
    Json(Me {
        users: accounts.is_some(),
        user: known.unwrap_or(local),
        token: caller.token.map(|token| ShownToken {
            name: token.name,
            scope: token.scope,
            expires: clock::text(token.expires),
        }),
    })
}

/// The old password and the new one.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Passwords {
    /// The one in use.
    old: String,
    /// Twelve characters or more.
    new: String,
}

/// Change one's own password
///
/// Ends all logins of the user.
#[utoipa::path(put, path = "/password", tag = "access", operation_id = "setPassword",
    request_body = Passwords, responses((status = 204)))]
pub(super) async fn set_password(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Body(Passwords { old, new }): Body<Passwords>,
) -> Result<Response, Problem> {
    let accounts = accounts(&api)?;
    if let Some(client) = caller.address
        && let Err(wait) = api.security.limits.may_guess(client, Instant::now())
    {
        return Ok(too_many(wait, "Locked out after too many wrong guesses"));
    }
    let user = caller.user.clone();
    let done = with_password(move || accounts.set_password(&user, &old, &new)).await?;
    if let (
        Err(Refused::Wrong {
            pointer: "/old", ..
        }),
        Some(client),
    ) = (&done, caller.address)
    {
        guessed_wrong(&api, client, Instant::now());
    }
    done?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A page of them.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Tokens {
    /// Those that have not ended, by id.
    tokens: Vec<Token>,
    /// `cursor` of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// All tokens
#[utoipa::path(get, path = "/tokens", tag = "access", operation_id = "listTokens",
    params(Paging), responses((status = 200, body = Tokens)))]
pub(super) async fn tokens(
    State(api): State<Api>,
    Query(page): Query<Paging>,
) -> Result<Json<Tokens>, Problem> {
    let behind = |all: &[Token], key: &str| behind_sorted(all, |token| &token.id, key);
    let all = accounts(&api)?.tokens();
    let (tokens, next) = page.page(all, |token| token.id.clone(), behind, |_| true)?;
    Ok(Json(Tokens { tokens, next }))
}

/// What a token is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedToken {
    /// What it is for.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    /// Whose it is; the caller's by default.
    user: Option<String>,
    /// What it may do, and never more than the user.
    role: Role,
    /// What it is held to of that; by default nothing. It may ask who it is in any case.
    #[schema(min_items = 1)]
    scope: Option<Vec<Grant>>,
    /// How long it is good: up to ten years.
    #[schema(minimum = 60, maximum = 315_360_000)]
    seconds: u64,
}

/// Make a token
///
/// Its secret is in the answer, and never shown again. A token that is made with another one can do no more
/// than that, and for no longer.
#[utoipa::path(post, path = "/tokens", tag = "access", operation_id = "makeToken",
    params(Trial), request_body = WantedToken,
    responses((status = 201, body = NewToken),
        (status = 200, body = Tried, description = "With `dry_run`: it can be made")))]
pub(super) async fn make_token(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    trial: Trial,
    Body(wanted): Body<WantedToken>,
) -> Result<Response, Problem> {
    let accounts = accounts(&api)?;
    let wrong = |pointer, found: String, remedy: &str| Refused::Wrong {
        pointer,
        found,
        remedy: remedy.to_owned(),
    };
    if !(1..=64).contains(&wanted.name.chars().count()) || wanted.name.contains(char::is_control) {
        let found = format!("{:?} is not a name", wanted.name);
        return Err(wrong("/name", found, "write 1 to 64 characters").into());
    }
    if !(60..=315_360_000).contains(&wanted.seconds) {
        let found = format!("{} is out of range", wanted.seconds);
        return Err(wrong("/seconds", found, "write 60 to 315360000").into());
    }
    let scope = match wanted.scope.map(Scope::new) {
        Some(None) => {
            let remedy = "name what it may do, or leave `scope` out";
            return Err(wrong("/scope", "a scope of nothing".to_owned(), remedy).into());
        }
        given => given.flatten(),
    };
    let run = trial.run();
    let wanted = security::WantedToken {
        name: wanted.name,
        user: wanted.user.unwrap_or_else(|| caller.user.clone()),
        role: wanted.role,
        scope,
        seconds: wanted.seconds,
    };
    let token = accounts.make_token(wanted, (&caller.user, caller.token.as_ref()), run)?;
    match run {
        Run::Real => Ok((StatusCode::CREATED, Json(token)).into_response()),
        Run::Dry => Ok(Tried::valid()),
    }
}

/// Revoke a token
#[utoipa::path(delete, path = "/tokens/{id}", tag = "access", operation_id = "revokeToken",
    params(("id" = String, Path), Trial),
    responses((status = 204), (status = 200, body = Tried, description = "With `dry_run`")))]
pub(super) async fn revoke_token(
    State(api): State<Api>,
    Path(id): Path<String>,
    trial: Trial,
) -> Result<Response, Problem> {
    accounts(&api)?.revoke(&id, trial.run())?;
    Ok(trial.gone())
}
