//! Logging in; users, tokens, the audit log.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use utoipa::{IntoParams, ToSchema};

use super::caller::Caller;
use super::door::{bearer, client, guessed_wrong, too_many, unauthorized};
use super::extract::{Body, Path, Query};
use super::{Api, Problem};
use crate::security::{Accounts, Login, NewToken, Record, Refused, Role, Token, User};

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
            Refused::Missing(_) => (StatusCode::NOT_FOUND, "no-such-account", "It is not there"),
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

fn accounts(api: &Api) -> Result<Arc<Accounts>, Problem> {
    api.security.accounts.clone().ok_or_else(|| {
        let status = StatusCode::CONFLICT;
        let problem = Problem::new(status, "no-users", "Nobody is asked who they are");
        problem.detail("write auth = \"users\" in [api], and start with --state-dir")
    })
}

/// Does what takes a password, away from the thread that serves.
async fn with_password<T: Send + 'static>(
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
    let Body(Credentials { user, password }) = Body::read(request).await?;
    if let Err(wait) = api.security.limits.may_guess(client, Instant::now()) {
        return Ok(too_many(wait, "Locked out after too many wrong guesses"));
    }
    let name = user.clone();
    match with_password(move || accounts.login(&user, &password)).await? {
        Ok(login) => {
            api.security.limits.guessed_right(client);
            api.security.audit.write(Record {
                time: crate::clock::now(),
                user: name,
                client: client.to_string(),
                method: "LOGIN".to_owned(),
                path: "/api/v1/login".to_owned(),
                status: 200,
            });
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
    /// The user, if so.
    #[serde(flatten)]
    user: User,
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
    Json(Me {
        users: accounts.is_some(),
        user: accounts
            .and_then(|accounts| accounts.user(&caller.user))
            .unwrap_or(local),
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
) -> Result<StatusCode, Problem> {
    let accounts = accounts(&api)?;
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
    Ok(StatusCode::NO_CONTENT)
}

/// All users.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Users {
    /// By name.
    users: Vec<User>,
}

/// All users
#[utoipa::path(get, path = "/users", tag = "access", operation_id = "listUsers",
    responses((status = 200, body = Users)))]
pub(super) async fn users(State(api): State<Api>) -> Result<Json<Users>, Problem> {
    let users = accounts(&api)?.users();
    Ok(Json(Users { users }))
}

/// One user
#[utoipa::path(get, path = "/users/{name}", tag = "access", operation_id = "readUser",
    params(("name" = String, Path)), responses((status = 200, body = User)))]
pub(super) async fn user(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<User>, Problem> {
    let user = accounts(&api)?.user(&name);
    let missing = || Refused::Missing(format!("user {name:?}"));
    Ok(Json(user.ok_or_else(missing)?))
}

/// What a user is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedUser {
    /// What the user may do.
    role: Role,
    /// Needed for a new user, who then has to change it.
    password: Option<String>,
}

/// Make or change a user
#[utoipa::path(put, path = "/users/{name}", tag = "access", operation_id = "putUser",
    params(("name" = String, Path)), request_body = WantedUser,
    responses((status = 200, body = User), (status = 201, body = User)))]
pub(super) async fn put_user(
    State(api): State<Api>,
    Path(name): Path<String>,
    Body(WantedUser { role, password }): Body<WantedUser>,
) -> Result<Response, Problem> {
    let accounts = accounts(&api)?;
    let (same, user) = (Arc::clone(&accounts), name.clone());
    let made = with_password(move || same.put(&user, role, password.as_deref())).await??;
    let status = if made {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(accounts.user(&name))).into_response())
}

/// Take a user out
///
/// With logins and tokens.
#[utoipa::path(delete, path = "/users/{name}", tag = "access", operation_id = "deleteUser",
    params(("name" = String, Path)), responses((status = 204)))]
pub(super) async fn delete_user(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    accounts(&api)?.remove(&name)?;
    Ok(StatusCode::NO_CONTENT)
}

/// All tokens.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Tokens {
    /// Those that have not ended.
    tokens: Vec<Token>,
}

/// All tokens
#[utoipa::path(get, path = "/tokens", tag = "access", operation_id = "listTokens",
    responses((status = 200, body = Tokens)))]
pub(super) async fn tokens(State(api): State<Api>) -> Result<Json<Tokens>, Problem> {
    let tokens = accounts(&api)?.tokens();
    Ok(Json(Tokens { tokens }))
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
    /// How long it is good: up to ten years.
    #[schema(minimum = 60, maximum = 315_360_000)]
    seconds: u64,
}

/// Make a token
///
/// Its secret is in the answer, and never shown again.
#[utoipa::path(post, path = "/tokens", tag = "access", operation_id = "makeToken",
    request_body = WantedToken, responses((status = 201, body = NewToken)))]
pub(super) async fn make_token(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Body(wanted): Body<WantedToken>,
) -> Result<(StatusCode, Json<NewToken>), Problem> {
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
    let user = wanted.user.unwrap_or(caller.user);
    let token = accounts.make_token(&wanted.name, &user, wanted.role, wanted.seconds)?;
    Ok((StatusCode::CREATED, Json(token)))
}

/// Revoke a token
#[utoipa::path(delete, path = "/tokens/{id}", tag = "access", operation_id = "revokeToken",
    params(("id" = String, Path)), responses((status = 204)))]
pub(super) async fn revoke_token(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    accounts(&api)?.revoke(&id)?;
    Ok(StatusCode::NO_CONTENT)
}

/// How many records.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct Latest {
    /// 1 to 1000; 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// The audit log.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Records {
    /// Latest first.
    records: Vec<Record>,
}

/// Who did what
///
/// Every change, every login, and everything that was refused.
#[utoipa::path(get, path = "/audit", tag = "access", operation_id = "readAudit",
    params(Latest), responses((status = 200, body = Records)))]
pub(super) async fn audit(
    State(api): State<Api>,
    Query(latest): Query<Latest>,
) -> Result<Json<Records>, Problem> {
    let limit = super::events::limit(latest.limit)?;
    let records = api.security.audit.latest(limit);
    Ok(Json(Records { records }))
}
