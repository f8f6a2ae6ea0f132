//! DNS over UDP: a name server answers a question without an error.

use std::net::{IpAddr, SocketAddr};

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};

use super::udp::{Answer, Datagrams, garbage};
use super::{Failure, Reason, checker};
use crate::config::{Dns, Record};

pub(super) async fn check(
    datagrams: &mut Datagrams,
    address: SocketAddr,
    asked: &Dns,
) -> Result<(), Failure> {
    let id = checker::random() as u16;
    let question = question(asked)?;
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(question.clone());
    let bytes = packet.build_bytes_vec().map_err(checker::unprepared)?;
    let right = |answer: &[u8]| judge(id, &question, asked, answer);
    datagrams.exchange(address, &bytes, right).await
}

fn question(asked: &Dns) -> Result<Question<'_>, Failure> {
    let name = asked.query.trim_end_matches('.');
    let name = Name::new(name).map_err(checker::unprepared)?;
    let record = match asked.record {
        Record::A => TYPE::A,
        Record::Aaaa => TYPE::AAAA,
        Record::Cname => TYPE::CNAME,
        Record::Mx => TYPE::MX,
        Record::Ns => TYPE::NS,
        Record::Soa => TYPE::SOA,
        Record::Txt => TYPE::TXT,
    };
    let class = QCLASS::CLASS(CLASS::IN);
    Ok(Question::new(name, QTYPE::TYPE(record), class, false))
}

fn judge(id: u16, question: &Question<'_>, asked: &Dns, answer: &[u8]) -> Answer {
    if answer.get(..2) != Some(&id.to_be_bytes()) {
        return Answer::Another;
    }
    let answer = match Packet::parse(answer) {
        Ok(answer) => answer,
        Err(error) => return Answer::Wrong(garbage(error)),
    };
    if !answer.has_flags(PacketFlag::RESPONSE) {
        return Answer::Wrong(garbage("it sent the question back"));
    }
    let same = |its: &Question<'_>| its.qname == question.qname && its.qtype == question.qtype;
    if !answer.questions.iter().any(same) {
        return Answer::Wrong(garbage("it answers another question"));
    }
    let code = answer.rcode();
    if code != RCODE::NoError {
        return Answer::Wrong(Failure::new(Reason::Status, format_args!("{code:?}")));
    }
    let Some(wanted) = asked.answer else {
        return Answer::Right;
    };
    let mut addresses = answer
        .answers
        .iter()
        .filter_map(|record| match &record.rdata {
            RData::A(address) => Some(IpAddr::from(address.address.to_be_bytes())),
            RData::AAAA(address) => Some(IpAddr::from(address.address.to_be_bytes())),
            _ => None,
        });
    if addresses.any(|address| address == wanted) {
        return Answer::Right;
    }
    let detail = format!("{wanted} is not among its answers");
    Answer::Wrong(Failure::new(Reason::Content, detail))
}
