//! `/api/v1/openapi.json`: made from the handlers, and from the table of [`parts`](super::parts).

use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::content::{Content, ContentBuilder};
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{OpenApi, Ref, RefOr, Required};
use utoipa::{IntoParams, OpenApi as _};

use super::parts::{INDEX, KINDS, Kind};
use super::terms::How;
use super::{Fault, Problem};
use crate::config::RawConfig;

const ABOUT: &str = "Everything that Sluice can be asked and told. Errors are problem details \
(RFC 9457); what is wrong with a body is in `errors`, with a JSON pointer and what would do.";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Sluice", description = ABOUT, license(name = "Apache-2.0", identifier = "Apache-2.0")),
    components(schemas(Problem, Fault, RawConfig)),
    tags(
        (name = "configuration", description = "The configuration as a whole, and its history"),
        (name = "candidate", description = "A configuration to work on before it is used"),
        (name = "parts", description = "Sections of the configuration, and single items of its lists"),
        (name = "state", description = "What runs, and how it is"),
        (name = "tools", description = "To find out what happens, and why"),
        (name = "access", description = "Users, tokens, certificate, audit log"),
    )
)]
struct Base;

/// The document without paths.
pub(super) fn base() -> OpenApi {
    Base::openapi()
}

/// Adds what all operations have in common, and those of the configuration's parts.
pub(super) fn complete(mut document: OpenApi) -> OpenApi {
    for kind in KINDS {
        let path = format!("/api/v1/config{}", kind.path);
        let mut methods = vec![HttpMethod::Get, HttpMethod::Put, HttpMethod::Patch];
        if kind.can_go() {
            methods.push(HttpMethod::Delete);
        }
        for method in methods {
            let operation = operation(kind, &method);
            document
                .paths
                .add_path_operation(&path, vec![method], operation);
        }
    }
    let problem = ResponseBuilder::new()
        .description("Problem details (RFC 9457)")
        .content("application/problem+json", of("Problem"))
        .build();
    for item in document.paths.paths.values_mut() {
        let operations = [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.delete,
            &mut item.patch,
        ];
        for operation in operations.into_iter().flatten() {
            let responses = &mut operation.responses.responses;
            responses.insert("default".to_owned(), RefOr::T(problem.clone()));
        }
    }
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("A token, or what `POST /api/v1/login` gave"))
        .build();
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    let needed = SecurityRequirement::new::<_, [&str; 0], &str>("bearer", []);
    document.security = Some(vec![needed, SecurityRequirement::default()]);
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    document
}

fn of(schema: &str) -> Content {
    let schema: RefOr<Schema> = match schema.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
        None => Ref::from_schema_name(schema).into(),
        Some(item) => {
            let items = Ref::from_schema_name(item);
            Schema::Array(ArrayBuilder::new().items(RefOr::Ref(items)).build()).into()
        }
    };
    ContentBuilder::new().schema(Some(schema)).build()
}

fn operation(kind: &Kind, method: &HttpMethod) -> Operation {
    let (verb, word) = match method {
        HttpMethod::Get => ("Read", "read"),
        HttpMethod::Put => ("Create or replace", "put"),
        HttpMethod::Patch => ("Change", "patch"),
        _ => ("Delete", "delete"),
    };
    let id = kind.path.replace(['{', '}'], "").replace('/', "_");
    let mut operation = OperationBuilder::new()
        .tag("parts")
        .summary(Some(format!("{verb} {}", kind.what)))
        .operation_id(Some(format!("{word}{id}")))
        .parameters(Some(names(kind)));
    if *method == HttpMethod::Get {
        let candidate = ParameterBuilder::new()
            .name("candidate")
            .parameter_in(ParameterIn::Query)
            .required(Required::False)
            .description(Some("Of the caller's candidate"))
            .schema(Some(ObjectBuilder::new().schema_type(Type::Boolean)))
            .build();
        let found = ResponseBuilder::new()
            .description("Its `ETag` is for `If-Match`; it changes with this part and nothing else")
            .content("application/json", of(kind.schema));
        return operation
            .parameter(candidate)
            .response("200", found)
            .build();
    }
    operation = operation.parameters(Some(How::into_params(|| Some(ParameterIn::Query))));
    if let HttpMethod::Put | HttpMethod::Patch = method {
        let kinds: &[&str] = match method {
            HttpMethod::Put => &["application/json"],
            _ => &["application/merge-patch+json", "application/json"],
        };
        let mut body = RequestBodyBuilder::new().required(Some(Required::True));
        for media in kinds {
            body = body.content(*media, of(kind.schema));
        }
        operation = operation.request_body(Some(body.build()));
    }
    let answers = [
        ("200", "In use; or `no_change`, or `valid` with `dry_run`"),
        ("201", "It was made"),
        (
            "202",
            "Taken, and some worker has not said yet that it uses it",
        ),
    ];
    for (status, text) in answers {
        let response = ResponseBuilder::new().description(text);
        let response = response.content("application/json", of("Committed"));
        operation = operation.response(status, response);
    }
    operation.build()
}

fn names(kind: &Kind) -> Vec<Parameter> {
    let parts = kind
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{'));
    let names = parts.map(|name| {
        let name = name.trim_end_matches('}');
        let schema = match name {
            INDEX => ObjectBuilder::new()
                .schema_type(Type::Integer)
                .minimum(Some(0)),
            _ => ObjectBuilder::new().schema_type(Type::String),
        };
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .schema(Some(schema))
            .build()
    });
    names.collect()
}

/// Serves the document.
pub(super) fn document(
    document: &OpenApi,
) -> impl Fn() -> std::future::Ready<Response> + Clone + use<> {
    // Serialising it cannot fail, and is done once.
    let text = document.to_pretty_json().unwrap_or_default();
    let text: &'static str = Box::leak(text.into_boxed_str());
    move || {
        let kind = [(header::CONTENT_TYPE, "application/json")];
        std::future::ready((kind, text).into_response())
    }
}
