//! When a certificate ends.

use time::{Date, Month, PrimitiveDateTime, Time};
use tokio_rustls::rustls::pki_types::CertificateDer;
use yasna::tags::{TAG_GENERALIZEDTIME, TAG_UTCTIME};
use yasna::{ASN1Result, BERReader, Tag};

/// `notAfter` (RFC 5280, section 4.1.2.5) in seconds since 1970; `None` if that cannot be found out.
pub(super) fn expiry(certificate: &CertificateDer<'_>) -> Option<u64> {
    let (tag, text) = yasna::parse_der(certificate, not_after).ok()?;
    // Years of two digits are of 1950 to 2049.
    let (year, rest) = match tag {
        TAG_UTCTIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: i32 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        TAG_GENERALIZEDTIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let two = |at: usize| -> Option<u8> { rest.get(at..at + 2)?.parse().ok() };
    let date = Date::from_calendar_date(year, Month::try_from(two(0)?).ok()?, two(2)?).ok()?;
    let time = Time::from_hms(two(4)?, two(6)?, two(8)?).ok()?;
    let end = PrimitiveDateTime::new(date, time).assume_utc();
    u64::try_from(end.unix_timestamp()).ok()
}

/// Kind and text of the time.
fn not_after(reader: BERReader<'_, '_>) -> ASN1Result<(Tag, String)> {
    reader.read_sequence(|reader| {
        let found = reader.next().read_sequence(|reader| {
            // Version, which the first certificates do not have.
            reader
                .read_optional(|reader| reader.read_tagged(Tag::context(0), |it| it.read_der()))?;
            // Serial number, signature, issuer.
            for _ in 0..3 {
                reader.next().read_der()?;
            }
            let found = reader.next().read_sequence(|reader| {
                reader.next().read_der()?;
                let end = reader.next().read_tagged_der()?;
                let text = String::from_utf8_lossy(end.value()).into_owned();
                Ok((end.tag(), text))
            })?;
            while reader.read_optional(|reader| reader.read_der())?.is_some() {}
            Ok(found)
        })?;
        // Algorithm and signature.
        reader.next().read_der()?;
        reader.next().read_der()?;
        Ok(found)
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_found_in_either_form() {
        let key = KeyPair::generate().expect("a key");
        // RFC 5280: UTCTime up to 2049, GeneralizedTime from 2050 on.
        for (year, month, day, wanted) in [
            (2027, 3, 9, 1_804_550_400),
            (2049, 12, 31, 2_524_521_600),
            (2050, 1, 1, 2_524_608_000),
        ] {
            let mut wish = CertificateParams::default();
            wish.not_after = date_time_ymd(year, month, day);
            let made = wish.self_signed(&key).expect("it is made");
            assert_eq!(expiry(made.der()), Some(wanted), "{year}");
        }
        for garbage in [&b""[..], b"garbage", b"\x30\x00"] {
            assert_eq!(expiry(&CertificateDer::from(garbage)), None);
        }
    }
}
