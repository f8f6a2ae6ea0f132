//! `/api/v1/tls`: the certificate of the API, and those of its clients.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::Body;
use super::trial::{Trial, Tried};
use super::{Api, Problem};
use crate::security::{Certificate, Clients, Tls, TlsError};

impl From<TlsError> for Problem {
    fn from(why: TlsError) -> Self {
        let pointer = match why {
            TlsError::NoCertificate => "/certificate",
            TlsError::NoKey => "/key",
            TlsError::NoAuthority => "/authorities",
            TlsError::NoList => "/crls",
            TlsError::Unfit(_) => "",
            TlsError::NotMade(_) | TlsError::NotStored(_) => {
                let status = StatusCode::INSUFFICIENT_STORAGE;
                let problem =
                    Self::new(status, "not-stored", "It cannot be kept, and was not done");
                return problem.detail(why);
            }
        };
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        let problem = Self::new(
            status,
            "invalid-certificate",
            "The certificate cannot be used",
        );
        let remedy =
            "send certificates in PEM form, and the key where one belongs to them".to_owned();
        problem.fault(pointer.to_owned(), why.to_string(), remedy)
    }
}

fn tls(api: &Api) -> Result<Arc<Tls>, Problem> {
    api.security.tls.clone().ok_or_else(|| {
        let problem = Problem::new(StatusCode::CONFLICT, "no-tls", "The API is not under TLS");
        problem.detail("write tls = true in [api], and start with --state-dir")
    })
}

/// The certificate
#[utoipa::path(get, path = "/tls", tag = "access", operation_id = "readCertificate",
    responses((status = 200, body = Certificate)))]
pub(super) async fn certificate(State(api): State<Api>) -> Result<Json<Certificate>, Problem> {
    Ok(Json(tls(&api)?.certificate()))
}

/// A certificate and its key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedCertificate {
    /// The certificate and those that vouch for it, in PEM form.
    certificate: String,
    /// Its private key in PEM form. Never shown again.
    key: String,
}

/// Replace the certificate
///
/// For all connections that come from now on. With `dry_run` the answer has what would be in use.
#[utoipa::path(put, path = "/tls", tag = "access", operation_id = "replaceCertificate",
    params(Trial), request_body = WantedCertificate,
    responses((status = 200, body = Certificate)))]
pub(super) async fn replace_certificate(
    State(api): State<Api>,
    trial: Trial,
    Body(wanted): Body<WantedCertificate>,
) -> Result<Json<Certificate>, Problem> {
    let (tls, run) = (tls(&api)?, trial.run());
    Ok(Json(tls.replace(&wanted.certificate, &wanted.key, run)?))
}

/// Whether clients are asked for certificates.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Asked {
    /// Which are taken; absent if none is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    clients: Option<Clients>,
}

/// Certificates of clients
#[utoipa::path(get, path = "/tls/clients", tag = "access", operation_id = "readClientCertificates",
    responses((status = 200, body = Asked)))]
pub(super) async fn clients(State(api): State<Api>) -> Result<Json<Asked>, Problem> {
    let clients = tls(&api)?.clients();
    Ok(Json(Asked { clients }))
}

/// Ask clients for certificates
///
/// Whoever shows one that an authority of these vouches for is the user that it names: by a DNS name
/// or URI that it is for, or by the common name of its subject if there is neither. For connections
/// from now on.
#[utoipa::path(put, path = "/tls/clients", tag = "access",
    operation_id = "askClientCertificates", params(Trial), request_body = Clients,
    responses((status = 200, body = Asked)))]
pub(super) async fn ask_clients(
    State(api): State<Api>,
    trial: Trial,
    Body(wanted): Body<Clients>,
) -> Result<Json<Asked>, Problem> {
    let tls = tls(&api)?;
    tls.ask_clients(Some(wanted.clone()), trial.run())?;
    let clients = Some(wanted);
    Ok(Json(Asked { clients }))
}

/// Ask clients for no certificates
#[utoipa::path(delete, path = "/tls/clients", tag = "access",
    operation_id = "ignoreClientCertificates", params(Trial),
    responses((status = 204), (status = 200, body = Tried, description = "With `dry_run`")))]
pub(super) async fn ignore_clients(
    State(api): State<Api>,
    trial: Trial,
) -> Result<Response, Problem> {
    tls(&api)?.ask_clients(None, trial.run())?;
    Ok(trial.gone())
}
