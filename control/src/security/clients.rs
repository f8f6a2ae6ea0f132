//! Certificates of clients: which authorities vouch for them, and whom one names.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::{RootCertStore, server::NoClientAuth};
use utoipa::ToSchema;
use webpki::EndEntityCert;
use yasna::models::{ObjectIdentifier, TaggedDerValue};
use yasna::tags::TAG_SEQUENCE;
use yasna::{ASN1Result, BERReader};

use super::TlsError;

/// Which certificates of clients are taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Clients {
    /// Authorities that vouch for clients, in PEM form.
    pub authorities: String,
    /// Whether a connection without such a certificate is refused. Otherwise passwords and tokens
    /// do as well.
    #[serde(default)]
    pub required: bool,
    /// Lists of certificates that do not count any more, signed by their authorities (CRLs, RFC 5280), in PEM
    /// form. Of an authority without a list all certificates count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crls: Option<String>,
}

/// What checks the certificates of clients; without `clients` none is asked for.
pub(super) fn verifier(
    clients: Option<&Clients>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let Some(clients) = clients else {
        return Ok(Arc::new(NoClientAuth));
    };
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(clients.authorities.as_bytes()) {
        let authority = authority.map_err(|_| TlsError::NoAuthority)?;
        let unfit = |why| TlsError::Unfit(format!("an authority: {why}"));
        roots.add(authority).map_err(unfit)?;
    }
    if roots.is_empty() {
        return Err(TlsError::NoAuthority);
    }
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = match clients.required {
        true => builder,
        false => builder.allow_unauthenticated(),
    };
    // A list that has become old still says what it says; taking nobody any more would be worse.
    let builder = builder
        .with_crls(lists(clients.crls.as_deref())?)
        .allow_unknown_revocation_status();
    let unfit = |why| TlsError::Unfit(format!("the authorities: {why}"));
    builder.build().map(|verifier| verifier as _).map_err(unfit)
}

fn lists(pem: Option<&str>) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let Some(pem) = pem else {
        return Ok(Vec::new());
    };
    let lists = CertificateRevocationListDer::pem_slice_iter(pem.as_bytes());
    let lists: Result<Vec<_>, _> = lists.collect();
    lists
        .ok()
        .filter(|lists| !lists.is_empty())
        .ok_or(TlsError::NoList)
}

/// The names in a certificate that may be a user's: the DNS names and URIs that it is for or, where it
/// has neither, the common names of its subject. Not checked for being a user's.
pub fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else {
        return Vec::new();
    };
    let alternatives = certificate.valid_dns_names();
    let alternatives = alternatives.chain(certificate.valid_uri_names());
    let names: Vec<String> = alternatives.map(str::to_owned).collect();
    match names.is_empty() {
        true => common_names(certificate.subject()).unwrap_or_default(),
        false => names,
    }
}

/// Of a subject (RFC 5280, section 4.1.2.4), without the tag and length of its sequence.
fn common_names(subject: &[u8]) -> ASN1Result<Vec<String>> {
    let common_name = ObjectIdentifier::from_slice(&[2, 5, 4, 3]);
    let whole = TaggedDerValue::from_tag_and_bytes(TAG_SEQUENCE, subject.to_vec());
    let whole = yasna::construct_der(|writer| writer.write_tagged_der(&whole));
    let mut names = Vec::new();
    let mut attribute = |reader: BERReader<'_, '_>| {
        reader.read_sequence(|reader| {
            let kind = reader.next().read_oid()?;
            let value = reader.next().read_tagged_der()?;
            if let (true, Ok(name)) = (kind == common_name, std::str::from_utf8(value.value())) {
                names.push(name.to_owned());
            }
            Ok(())
        })
    };
    yasna::parse_der(&whole, |reader| {
        reader.read_sequence_of(|reader| reader.read_set_of(&mut attribute))
    })?;
    Ok(names)
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
        KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
        date_time_ymd,
    };
    use tokio_rustls::rustls::pki_types::UnixTime;

    use super::*;

    fn certificate(common: Option<&str>, alternatives: Vec<SanType>) -> CertificateDer<'static> {
        let mut wanted = CertificateParams::default();
        wanted.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(common) = common {
            wanted.distinguished_name.push(DnType::CommonName, common);
        }
        wanted.subject_alt_names = alternatives;
        let key = KeyPair::generate().expect("a key");
        wanted.self_signed(&key).expect("it is made").der().clone()
    }

    #[test]
    fn a_certificate_names_by_its_alternative_names_or_else_by_its_subject() {
        assert_eq!(names(&certificate(Some("olga"), Vec::new())), ["olga"]);
        let dns = SanType::DnsName("monitor.example.net".try_into().expect("a name"));
        let uri = SanType::URI("spiffe://example.net/olga".try_into().expect("a name"));
        let address = SanType::IpAddress("192.0.2.1".parse().expect("an address"));
        assert_eq!(
            names(&certificate(Some("admin"), vec![dns, uri])),
            ["monitor.example.net", "spiffe://example.net/olga"],
            "the subject does not count besides"
        );
        assert_eq!(names(&certificate(Some("olga"), vec![address])), ["olga"]);
        assert!(names(&certificate(None, Vec::new())).is_empty());
        assert!(names(&CertificateDer::from_slice(b"garbage")).is_empty());
    }

    #[test]
    fn authorities_that_are_none_are_refused() {
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let clients = |authorities: &str| Clients {
            authorities: authorities.to_owned(),
            required: false,
            crls: None,
        };
        assert!(verifier(None, &provider).is_ok());
        for wrong in [
            "",
            "garbage",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            assert!(
                verifier(Some(&clients(wrong)), &provider).is_err(),
                "{wrong}"
            );
        }
    }

    /// An authority: its certificate and what it signs with.
    fn authority(name: &str) -> (String, Issuer<'static, KeyPair>) {
        let mut wanted = CertificateParams::default();
        wanted.distinguished_name.push(DnType::CommonName, name);
        wanted.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        wanted.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let pem = wanted.self_signed(&key).expect("it is made").pem();
        (pem, Issuer::new(wanted, key))
    }

    fn signed(number: u64, by: &Issuer<'_, KeyPair>) -> CertificateDer<'static> {
        let mut wanted = CertificateParams::default();
        wanted.serial_number = Some(SerialNumber::from(number));
        let key = KeyPair::generate().expect("a key");
        wanted
            .signed_by(&key, by)
            .expect("it is made")
            .der()
            .clone()
    }

    fn list(number: u64, by: &Issuer<'_, KeyPair>) -> String {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(number),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2024, 2, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(by).expect("it is made").pem().expect("PEM")
    }

    #[test]
    fn a_certificate_that_was_revoked_opens_nothing() {
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let ((first, ours), (second, other)) = (authority("ours"), authority("other"));
        let taken = |crls: Option<String>, certificate: &CertificateDer<'_>| {
            let clients = Clients {
                authorities: format!("{first}{second}"),
                required: true,
                crls,
            };
            let verifier = verifier(Some(&clients), &provider).expect("it is right");
            let now = UnixTime::now();
            verifier.verify_client_cert(certificate, &[], now).is_ok()
        };
        let (seven, eight) = (signed(7, &ours), signed(8, &ours));
        assert!(taken(None, &seven) && taken(None, &eight));
        // It is old, and counts.
        assert!(!taken(Some(list(7, &ours)), &seven));
        assert!(taken(Some(list(7, &ours)), &eight));
        assert!(taken(Some(list(7, &ours)), &signed(7, &other)), "another's");
        let both = format!("{}{}", list(7, &ours), list(8, &ours));
        assert!(!taken(Some(both), &seven));
        let forged = list(7, &authority("ours").1);
        assert!(
            !taken(Some(forged), &seven),
            "a list that is not theirs is an error"
        );
        let clients = |crls: &str| Clients {
            authorities: first.clone(),
            required: true,
            crls: Some(crls.to_owned()),
        };
        let garbage = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
        for wrong in ["", "garbage", first.as_str(), garbage] {
            assert!(
                verifier(Some(&clients(wrong)), &provider).is_err(),
                "{wrong}"
            );
        }
    }
}
