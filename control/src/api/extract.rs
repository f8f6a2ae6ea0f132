//! axum's extractors, whose refusals are problem details here.

use std::marker::PhantomData;

use axum::body::Bytes;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;

use super::Problem;
use super::config::{essence, text_of, unknown_format};
use super::guard::unreadable;
use crate::config::{explain_json, path_of};

/// The query.
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

/// Names within the path.
#[derive(Debug)]
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::from_request_parts(parts, state).await;
        query
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(|why: QueryRejection| Problem::bad_request(why.body_text()))
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = axum::extract::Path::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(path)| Self(path))
            .map_err(|why: PathRejection| Problem::bad_request(why.body_text()))
    }
}

/// A JSON body.
#[derive(Debug)]
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> Body<T> {
    /// Out of a request.
    pub(super) async fn read(request: Request) -> Result<Self, Problem> {
        let kind = text_of(request.headers(), header::CONTENT_TYPE).map(essence);
        match kind {
            Some("application/json") => {}
            other => {
                return Err(unknown_format(
                    other.unwrap_or("absent"),
                    "application/json",
                ));
            }
        }
        let body = Bytes::from_request(request, &()).await;
        let body = body.map_err(|why| unreadable(&why))?;
        Self::parse(&body)
    }

    fn parse(body: &[u8]) -> Result<Self, Problem> {
        let mut reader = serde_json::Deserializer::from_slice(body);
        let read = serde_path_to_error::deserialize(&mut reader);
        let Object(read): Object<T> = read.map_err(|why| {
            let path = path_of(why.path());
            let why = why.into_inner();
            match why.classify() {
                Category::Data => unfit(explain_json(path, &why)),
                _ => no_json(&why),
            }
        })?;
        reader.end().map_err(|why| no_json(&why))?;
        Ok(Self(read))
    }
}

fn no_json(why: &serde_json::Error) -> Problem {
    let title = "The body cannot be read";
    let problem = Problem::new(StatusCode::BAD_REQUEST, "bad-body", title);
    problem.detail(format!("the body is not JSON: {why}"))
}

/// JSON, and not what it is to be.
fn unfit((path, found, remedy): (crate::config::Path, String, String)) -> Problem {
    let title = "The body cannot be what it is to be";
    let detail = match (path.to_string().as_str(), remedy.as_str()) {
        ("", "") => found.clone(),
        ("", remedy) => format!("{found}; {remedy}"),
        (path, "") => format!("{path}: {found}"),
        (path, remedy) => format!("{path}: {found}; {remedy}"),
    };
    let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-body", title);
    problem.detail(detail).fault(path.pointer(), found, remedy)
}

/// What all bodies are. serde reads a struct from an array as well, by the order of its fields.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields)).map(Object)
            }
        }

        deserializer.deserialize_map(Fields(PhantomData))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        Self::read(request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "it is read, or refused")]
    struct Wanted {
        role: Role,
        #[serde(default)]
        seconds: Option<u64>,
        #[serde(default)]
        ports: Vec<String>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Role {
        Viewer,
        Admin,
    }

    #[test]
    fn what_is_wrong_with_a_body_is_told_with_a_pointer_and_in_our_words() {
        for (body, pointer, detail, remedy) in [
            ("{}", "/role", "`role` is missing", "write it"),
            (
                r#"{"role":"king"}"#,
                "/role",
                "`king` is not known",
                "write `viewer` or `admin`",
            ),
            (
                r#"{"role":"admin","rolle":1}"#,
                "/rolle",
                "there is no key `rolle`",
                "did you mean `role`?",
            ),
            (
                r#"{"role":"admin","seconds":"x"}"#,
                "/seconds",
                "found string \"x\"",
                "write a whole number from 0",
            ),
            (
                r#"{"role":"admin","seconds":-1}"#,
                "/seconds",
                "found integer `-1`",
                "write a whole number from 0",
            ),
            (
                r#"{"role":"admin","ports":["a",1]}"#,
                "/ports/1",
                "found integer `1`",
                "write a text in quotes",
            ),
            ("[0]", "", "found sequence", "write an object"),
        ] {
            let problem = Body::<Wanted>::parse(body.as_bytes()).expect_err(body);
            assert_eq!(problem.status, 422, "{body}: {problem:?}");
            let fault = &problem.errors[0];
            assert_eq!(
                (
                    fault.pointer.as_deref(),
                    fault.detail.as_str(),
                    fault.remedy.as_str()
                ),
                (Some(pointer), detail, remedy),
                "{body}"
            );
            assert!(!problem.detail.unwrap_or_default().contains(" at line "));
        }
        for body in ["", "{", "{}{}", "nonsense"] {
            let problem = Body::<Wanted>::parse(body.as_bytes()).expect_err(body);
            let wanted = if body == "{}{}" { 422 } else { 400 };
            assert_eq!(problem.status, wanted, "{body}: {problem:?}");
        }
        let good = r#"{"role":"viewer","seconds":1,"ports":["a"]}"#;
        assert!(Body::<Wanted>::parse(good.as_bytes()).is_ok());
        let twice = format!("{good} x");
        let problem = Body::<Wanted>::parse(twice.as_bytes()).expect_err("more behind it");
        assert_eq!(problem.status, 400);
    }
}
