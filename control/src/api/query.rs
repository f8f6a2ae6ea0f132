//! What a query may say: the parameters that the OpenAPI document has for an operation, of the kinds that
//! it has for them. Anything else is refused before a handler sees it, so that no slip of the pen makes a
//! trial (`dry_run`) the real thing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ipnet::IpNet;
use serde_json::Value;

use super::{Fault, Problem};
use crate::config::nearest;

/// What a parameter's value must be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Any,
    Switch,
    /// From, to; both included.
    Number(u64, u64),
    OneOf(Vec<String>),
}

/// By name, in the order of the document.
type Parameters = Vec<(String, Form)>;

/// What each operation takes: by path, as routes have it, and method.
#[derive(Debug, Default)]
pub(super) struct Known(HashMap<String, HashMap<Method, Parameters>>);

impl Known {
    /// All operations of an OpenAPI document.
    pub(super) fn of(document: &Value) -> Self {
        let mut known = HashMap::new();
        for (path, item) in document["paths"].as_object().into_iter().flatten() {
            let mut methods = HashMap::new();
            for (method, operation) in item.as_object().into_iter().flatten() {
                let Ok(method) = method.to_ascii_uppercase().parse::<Method>() else {
                    continue;
                };
                let parameters = operation["parameters"].as_array().into_iter().flatten();
                let parameters = parameters
                    .filter(|one| one["in"] == "query")
                    .filter_map(|one| {
                        let form = form(document, &one["schema"]);
                        Some((one["name"].as_str()?.to_owned(), form))
                    });
                methods.insert(method, parameters.collect());
            }
            known.insert(path.clone(), methods);
        }
        for alone in ["/metrics", "/api/v1/openapi.json"] {
            let get = HashMap::from([(Method::GET, Vec::new())]);
            known.insert(alone.to_owned(), get);
        }
        Self(known)
    }

    fn parameters(&self, path: &str, method: &Method) -> Option<&Parameters> {
        let method = match *method {
            Method::HEAD => &Method::GET,
            _ => method,
        };
        self.0.get(path)?.get(method)
    }
}

fn form(document: &Value, schema: &Value) -> Form {
    if let Some(place) = schema["$ref"].as_str() {
        let place = document.pointer(place.trim_start_matches('#'));
        return place.map_or(Form::Any, |schema| form(document, schema));
    }
    for key in ["oneOf", "anyOf"] {
        let others = schema[key].as_array().into_iter().flatten();
        let mut others = others.filter(|one| one["type"] != "null").peekable();
        if others.peek().is_some() {
            let forms: Vec<Form> = others.map(|one| form(document, one)).collect();
            return together(forms);
        }
    }
    if let Some(words) = schema["enum"].as_array() {
        let words = words.iter().filter_map(Value::as_str).map(str::to_owned);
        return Form::OneOf(words.collect());
    }
    if let Some(word) = schema["const"].as_str() {
        return Form::OneOf(vec![word.to_owned()]);
    }
    let is = |kind: &str| {
        let types = schema["type"].as_array();
        schema["type"] == kind || types.is_some_and(|all| all.iter().any(|one| one == kind))
    };
    match () {
        () if is("boolean") => Form::Switch,
        () if is("integer") => {
            let least = schema["minimum"].as_f64().unwrap_or(0.0);
            let most = schema["maximum"].as_f64();
            Form::Number(least as u64, most.map_or(u64::MAX, |most| most as u64))
        }
        () => Form::Any,
    }
}

/// Any of several forms, where all are words.
fn together(forms: Vec<Form>) -> Form {
    let mut words = Vec::new();
    for form in &forms {
        match form {
            Form::OneOf(more) => words.extend(more.iter().cloned()),
            other if forms.len() == 1 => return other.clone(),
            _ => return Form::Any,
        }
    }
    Form::OneOf(words)
}

/// The answer where there is nothing.
pub(super) async fn nothing(uri: Uri, known: Arc<Known>) -> Problem {
    let path = uri.path();
    let mut said = format!("there is no {path}");
    if let Some(near) = nearest(path, known.0.keys().map(String::as_str)) {
        said += &format!("; did you mean {near}?");
    }
    Problem::new(StatusCode::NOT_FOUND, "not-found", "There is nothing here").detail(said)
}

/// The answer where there is something that cannot be asked for so.
pub(super) async fn other_method(request: Request, known: Arc<Known>) -> Response {
    let path = request.extensions().get::<MatchedPath>();
    let known = path.and_then(|path| known.0.get(path.as_str()));
    let mut methods: Vec<&str> = known
        .into_iter()
        .flatten()
        .map(|(it, _)| it.as_str())
        .collect();
    methods.sort_unstable();
    let title = "This resource does not know this method";
    let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", title);
    if methods.is_empty() {
        return problem.into_response();
    }
    let methods = methods.join(", ");
    let (method, path) = (request.method(), request.uri().path());
    let problem = problem.detail(format!("{path} takes {methods}, and not {method}"));
    ([(header::ALLOW, methods)], problem).into_response()
}

/// Refuses requests whose query says what their operation does not know.
pub(super) async fn check(
    State(known): State<Arc<Known>>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.extensions().get::<MatchedPath>();
    let parameters = path.and_then(|path| known.parameters(path.as_str(), request.method()));
    if let (Some(parameters), Some(query)) = (parameters, request.uri().query()) {
        let faults = faults(parameters, query);
        if !faults.is_empty() {
            return Problem::bad_query(faults).into_response();
        }
    }
    next.run(request).await
}

fn faults(parameters: &Parameters, query: &str) -> Vec<Fault> {
    let uri = format!("/?{query}").parse().unwrap_or_default();
    // What is no query at all its handler refuses.
    let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri);
    let pairs = pairs.map(|axum::extract::Query(pairs)| pairs);
    let pairs = pairs.unwrap_or_default();
    let mut faults = Vec::new();
    for (at, (key, value)) in pairs.iter().enumerate() {
        let wrong = match parameters.iter().find(|(name, _)| name == key) {
            None => Some(unknown(key, parameters)),
            Some(_) if pairs[..at].iter().any(|(other, _)| other == key) => {
                Some((format!("{key} is given twice"), "give it once".to_owned()))
            }
            Some((_, form)) => misfit(key, value, form),
        };
        if let Some((found, remedy)) = wrong {
            faults.push(Fault::of_query(key, found, remedy));
        }
    }
    faults
}

fn unknown(key: &str, parameters: &Parameters) -> (String, String) {
    let names = || parameters.iter().map(|(name, _)| name.as_str());
    let remedy = match nearest(key, names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if parameters.is_empty() => "this takes none".to_owned(),
        None => format!("known are {}", names().collect::<Vec<_>>().join(", ")),
    };
    (format!("there is no parameter `{key}`"), remedy)
}

/// What was found and what would do, if a value is not of its form.
fn misfit(key: &str, value: &str, form: &Form) -> Option<(String, String)> {
    match form {
        Form::Switch if !["true", "false"].contains(&value) => Some((
            format!("{key}={value} is neither true nor false"),
            "write true or false".to_owned(),
        )),
        Form::Number(least, most) => {
            let remedy = match *most {
                u64::MAX if *least == 0 => "write a whole number".to_owned(),
                u64::MAX => format!("write a number from {least}"),
                most => format!("write a number from {least} to {most}"),
            };
            match value.parse::<u64>() {
                Ok(number) if (*least..=*most).contains(&number) => None,
                Err(_) if !is_number(value) => {
                    Some((format!("{key}={value} is no number"), remedy))
                }
                _ => Some((format!("{key}={value} is out of range"), remedy)),
            }
        }
        Form::OneOf(words) if !words.iter().any(|word| word == value) => Some((
            format!("{key}={value} is not known"),
            format!("write {}", either(words)),
        )),
        _ => None,
    }
}

/// Whether it is a whole number, of whatever size.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit())
}

/// `a, b or c`
pub(super) fn either(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [some @ .., last] => format!("{} or {last}", some.join(", ")),
    }
}

/// The network that a parameter names; an address is one of its own.
pub(super) fn network(key: &str, text: Option<&str>) -> Result<Option<IpNet>, Problem> {
    let Some(text) = text else {
        return Ok(None);
    };
    let network = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    match network {
        Ok(network) => Ok(Some(network)),
        Err(_) => {
            let found = format!("{key}={text} is not an address or network");
            let remedy = "write one like 192.0.2.7 or 10.0.0.0/8";
            Err(Problem::bad_parameter(key, found, remedy))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_value_must_be_is_read_from_the_document() {
        let document = json!({ "components": { "schemas": {
            "Level": { "type": "string", "enum": ["warn", "info"] },
            "By": { "oneOf": [{ "const": "a" }, { "type": "string", "enum": ["b"] }] },
        } } });
        let of = |schema: Value| form(&document, &schema);
        let level = json!({ "$ref": "#/components/schemas/Level" });
        let words = |words: &[&str]| Form::OneOf(words.iter().map(|&w| w.to_owned()).collect());
        assert_eq!(of(level.clone()), words(&["warn", "info"]));
        let optional = json!({ "oneOf": [{ "type": "null" }, level] });
        assert_eq!(of(optional), words(&["warn", "info"]));
        let by = json!({ "$ref": "#/components/schemas/By" });
        assert_eq!(of(by), words(&["a", "b"]));
        assert_eq!(of(json!({ "type": ["boolean", "null"] })), Form::Switch);
        let number = json!({ "type": ["integer", "null"], "minimum": 1, "maximum": 9 });
        assert_eq!(of(number), Form::Number(1, 9));
        assert_eq!(of(json!({ "type": "string" })), Form::Any);
    }
}
