//! `/api/v1/users`

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::{accounts, with_password};
use super::caller::Caller;
use super::extract::{Body, Path, Query};
use super::pages::{Paging, behind_sorted};
use super::terms::{etag, expected, has, not_modified};
use super::trial::{Trial, Tried};
use super::{Api, Problem};
use crate::security::{Done, Refused, Role, User};

/// A page of them.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Users {
    /// By name.
    users: Vec<User>,
    /// `cursor` of the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// All users
#[utoipa::path(get, path = "/users", tag = "access", operation_id = "listUsers",
    params(Paging), responses((status = 200, body = Users)))]
pub(super) async fn list(
    State(api): State<Api>,
    Query(page): Query<Paging>,
) -> Result<Json<Users>, Problem> {
    let behind = |all: &[User], key: &str| behind_sorted(all, |user| &user.name, key);
    let all = accounts(&api)?.users();
    let (users, next) = page.page(all, |user| user.name.clone(), behind, |_| true)?;
    Ok(Json(Users { users, next }))
}

/// One user
#[utoipa::path(get, path = "/users/{name}", tag = "access", operation_id = "readUser",
    params(("name" = String, Path)),
    responses((status = 200, body = User, description = "Its `ETag` is for `If-Match`")))]
pub(super) async fn read(
    State(api): State<Api>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let accounts = accounts(&api)?;
    let known = accounts.user_tag(&name).zip(accounts.user(&name));
    let missing = || Refused::Missing(format!("user {name:?}"));
    let (tag, user) = known.ok_or_else(missing)?;
    if has(&headers, &tag) {
        return Ok(not_modified(&tag));
    }
    Ok((etag(&tag), Json(user)).into_response())
}

/// What a user is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedUser {
    /// What the user may do.
    role: Role,
    /// Needed for a new user, who then has to change it. The one that the user has already changes nothing.
    password: Option<String>,
}

/// A user was made or changed, or would be.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PutUser {
    /// What became of it.
    result: Done,
    /// As it is now; with `dry_run` as it would be.
    #[serde(flatten)]
    user: User,
}

/// Make or change a user
///
/// The same again changes nothing and answers `no_change`.
#[utoipa::path(put, path = "/users/{name}", tag = "access", operation_id = "putUser",
    params(("name" = String, Path), Trial), request_body = WantedUser,
    responses((status = 200, body = PutUser), (status = 201, body = PutUser)))]
pub(super) async fn put(
    State(api): State<Api>,
    Path(name): Path<String>,
    Extension(caller): Extension<Caller>,
    trial: Trial,
    headers: HeaderMap,
    Body(WantedUser { role, password }): Body<WantedUser>,
) -> Result<Response, Problem> {
    let accounts = accounts(&api)?;
    if password.is_some() && caller.token.is_some() && name == caller.user {
        let refused = Refused::Beyond {
            pointer: "/password",
            found: "the password of its own user".to_owned(),
            remedy: "log in".to_owned(),
        };
        return Err(refused.into());
    }
    let (expected, run) = (expected(&headers)?, trial.run());
    let (same, of) = (Arc::clone(&accounts), name.clone());
    let put = move || same.put(&of, (role, password.as_deref()), &expected, run);
    let (result, user) = with_password(put).await??;
    let status = match result {
        Done::Created => StatusCode::CREATED,
        _ => StatusCode::OK,
    };
    let tag = accounts.user_tag(&name).filter(|_| result != Done::Valid);
    let answer = Json(PutUser { result, user });
    Ok(match tag {
        Some(tag) => (status, etag(&tag), answer).into_response(),
        None => (status, answer).into_response(),
    })
}

/// Take a user out
///
/// With logins and tokens.
#[utoipa::path(delete, path = "/users/{name}", tag = "access", operation_id = "deleteUser",
    params(("name" = String, Path), Trial),
    responses((status = 204), (status = 200, body = Tried, description = "With `dry_run`")))]
pub(super) async fn remove(
    State(api): State<Api>,
    Path(name): Path<String>,
    trial: Trial,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    accounts(&api)?.remove(&name, &expected(&headers)?, trial.run())?;
    Ok(trial.gone())
}
