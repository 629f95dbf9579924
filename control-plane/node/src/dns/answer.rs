//! What to do with one query: a pure function of its bytes.

use std::net::Ipv4Addr;

use hickory_proto::op::{Edns, Header, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, SOA};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

/// The top-level domain that is ours, and no one else's by the root's own rules.
const ZONE: &[u8] = b"internal";
/// Seconds: an application comes and goes with one apply.
const TTL: u32 = 5;
/// What we can take over UDP, as the field agreed on in 2020.
const UDP_PAYLOAD: u16 = 1232;

#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not a query, or not one that can be answered safely.
    Drop,
    Answer(Vec<u8>),
    /// Not ours: to be asked upstream as it is.
    Relay,
}

/// Never panics, whatever the bytes are.
pub fn verdict(packet: &[u8], gateway: Ipv4Addr, known: &dyn Fn(&str, &str) -> bool) -> Verdict {
    let Ok(header) = Header::from_bytes(packet) else { return Verdict::Drop };
    if header.message_type == MessageType::Response {
        // Whoever answers answers can be made to talk to itself for ever.
        return Verdict::Drop;
    }
    if header.op_code != OpCode::Query {
        return answered(&reply(&header.metadata, None, ResponseCode::NotImp));
    }
    let Some((_, question)) = question(packet) else {
        return answered(&reply(&header.metadata, None, ResponseCode::FormErr));
    };
    let labels: Vec<&[u8]> = question.name.iter().collect();
    if !labels.last().is_some_and(|label| label.eq_ignore_ascii_case(ZONE)) {
        return Verdict::Relay;
    }
    let Ok(query) = Message::from_vec(packet) else {
        return answered(&reply(&header.metadata, Some(&question), ResponseCode::FormErr));
    };
    let mut found = ours(&query.metadata, &labels, &question, gateway, known);
    if let Some(asked) = query.edns {
        if asked.version() > 0 {
            found.metadata.response_code = ResponseCode::BADVERS;
            found.answers.clear();
            found.authorities.clear();
        }
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_PAYLOAD).set_version(0);
        found.set_edns(edns);
    }
    answered(&found)
}

/// SERVFAIL for a query that no one upstream has answered.
pub fn failure(packet: &[u8]) -> Option<Vec<u8>> {
    let (header, question) = question(packet)?;
    reply(&header.metadata, Some(&question), ResponseCode::ServFail).to_vec().ok()
}

/// Header and question of a message with exactly one question, which is all that anybody sends.
pub fn question(packet: &[u8]) -> Option<(Header, Query)> {
    let mut decoder = BinDecoder::new(packet);
    let header = Header::read(&mut decoder).ok()?;
    if header.counts.queries != 1 {
        return None;
    }
    Some((header, Query::read(&mut decoder).ok()?))
}

/// The answer for a name under our domain; `labels` are those of the question.
fn ours(
    asked: &Metadata,
    labels: &[&[u8]],
    question: &Query,
    gateway: Ipv4Addr,
    known: &dyn Fn(&str, &str) -> bool,
) -> Message {
    let name = question.name.clone();
    let (kind, class) = (question.query_type, question.query_class);
    if class != DNSClass::IN || matches!(kind, RecordType::AXFR | RecordType::IXFR) {
        return reply(asked, Some(question), ResponseCode::Refused);
    }
    let exists = match labels {
        [app, namespace, _] => text(app).zip(text(namespace)).is_some_and(|(app, ns)| known(&ns, &app)),
        // The domain itself is there, or nothing under it would be.
        [_] => true,
        _ => false,
    };
    let code = if exists { ResponseCode::NoError } else { ResponseCode::NXDomain };
    let mut found = reply(asked, Some(question), code);
    found.metadata.authoritative = true;
    match kind {
        // "Any" may be answered by a part (RFC 8482).
        RecordType::A | RecordType::ANY if exists && labels.len() == 3 => {
            found.add_answer(Record::from_rdata(name, TTL, RData::A(A::from(gateway))));
        }
        RecordType::SOA if labels.len() == 1 => {
            found.add_answer(authority(&name));
        }
        _ => {
            found.add_authority(authority(&name));
        }
    }
    found
}

/// Says how long a "no" may be remembered (RFC 2308): no longer than a "yes".
fn authority(name: &Name) -> Record {
    let zone = name.trim_to(1);
    let contact = zone.prepend_label("hostmaster").unwrap_or_else(|_| zone.clone());
    let day = 86_400;
    let soa = SOA::new(zone.clone(), contact, 1, day, day, day, TTL);
    Record::from_rdata(zone, TTL, RData::SOA(soa))
}

fn text(label: &[u8]) -> Option<String> {
    std::str::from_utf8(label).ok().map(str::to_ascii_lowercase)
}

fn reply(asked: &Metadata, question: Option<&Query>, code: ResponseCode) -> Message {
    let mut message = Message::response(asked.id, asked.op_code);
    message.metadata = Metadata::response_from_request(asked);
    message.metadata.recursion_available = true;
    message.metadata.response_code = code;
    message.add_queries(question.cloned());
    message
}

fn answered(message: &Message) -> Verdict {
    message.to_vec().map_or(Verdict::Drop, Verdict::Answer)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 1);

    fn known(namespace: &str, application: &str) -> bool {
        (namespace, application) == ("shop", "web")
    }

    fn query(name: &str, kind: RecordType) -> Message {
        let mut message = Message::new(0xbeef, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        message
    }

    fn ask(message: &Message) -> Message {
        match verdict(&message.to_vec().unwrap(), GATEWAY, &known) {
            Verdict::Answer(bytes) => Message::from_vec(&bytes).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_application_is_at_the_gateway() {
        let asked = query("web.shop.internal.", RecordType::A);
        let found = ask(&asked);
        assert_eq!((found.metadata.id, found.metadata.response_code), (0xbeef, ResponseCode::NoError));
        assert!(found.metadata.authoritative && found.metadata.recursion_desired && found.metadata.recursion_available);
        assert_eq!(found.queries, asked.queries);
        let [record] = found.answers.as_slice() else { panic!("{found}") };
        assert_eq!((record.ttl, &record.data), (5, &RData::A(A::from(GATEWAY))));
        assert!(found.authorities.is_empty() && found.edns.is_none());
    }

    #[test]
    fn case_does_not_matter_and_is_kept() {
        let asked = query("wEb.ShOp.INTERNAL.", RecordType::A);
        let found = ask(&asked);
        assert_eq!(found.answers.len(), 1);
        assert_eq!(found.queries[0].name.to_ascii(), "wEb.ShOp.INTERNAL.");
        assert_eq!(found.answers[0].name.to_ascii(), "wEb.ShOp.INTERNAL.");
    }

    #[test]
    fn every_kind_of_name_has_its_answer() {
        use RecordType::{A, AAAA, ANY, AXFR, SOA, TXT};
        use ResponseCode::{NXDomain, NoError, Refused};
        for (name, kind, code, answers, authorities) in [
            ("web.shop.internal.", A, NoError, 1, 0),
            ("web.shop.internal.", ANY, NoError, 1, 0),
            ("web.shop.internal.", AAAA, NoError, 0, 1),
            ("web.shop.internal.", TXT, NoError, 0, 1),
            ("web.shop.internal.", AXFR, Refused, 0, 0),
            ("api.shop.internal.", A, NXDomain, 0, 1),
            ("api.shop.internal.", AAAA, NXDomain, 0, 1),
            ("web.other.internal.", A, NXDomain, 0, 1),
            ("shop.internal.", A, NXDomain, 0, 1),
            ("a.web.shop.internal.", A, NXDomain, 0, 1),
            ("example.com.shop.internal.", A, NXDomain, 0, 1),
            ("*.shop.internal.", A, NXDomain, 0, 1),
            ("internal.", A, NoError, 0, 1),
            ("internal.", SOA, NoError, 1, 0),
        ] {
            let found = ask(&query(name, kind));
            let seen = (found.metadata.response_code, found.answers.len(), found.authorities.len());
            assert_eq!(seen, (code, answers, authorities), "{name} {kind}");
            for record in &found.authorities {
                let RData::SOA(soa) = &record.data else { panic!("{record}") };
                assert_eq!((record.name.to_ascii().as_str(), record.ttl, soa.minimum), ("internal.", 5, 5));
            }
        }
    }

    #[test]
    fn other_names_are_relayed() {
        for name in [".", "example.com.", "internal.example.", "web.shop.internal.example.", "notinternal."] {
            let bytes = query(name, RecordType::A).to_vec().unwrap();
            assert_eq!(verdict(&bytes, GATEWAY, &known), Verdict::Relay, "{name}");
        }
    }

    #[test]
    fn who_speaks_edns_is_answered_so() {
        let mut asked = query("web.shop.internal.", RecordType::A);
        asked.set_edns(Edns::new());
        let found = ask(&asked);
        assert_eq!((found.answers.len(), found.edns.unwrap().max_payload()), (1, 1232));
        let mut newer = Edns::new();
        newer.set_version(1);
        asked.set_edns(newer);
        let found = ask(&asked);
        // BADVERS, which shares its number with BADSIG.
        assert_eq!((u16::from(found.metadata.response_code), found.answers.len()), (16, 0));
    }

    #[test]
    fn what_is_no_plain_query_is_refused_or_dropped() {
        let mut answer = query("web.shop.internal.", RecordType::A);
        answer.metadata.message_type = MessageType::Response;
        assert_eq!(verdict(&answer.to_vec().unwrap(), GATEWAY, &known), Verdict::Drop);
        assert_eq!(verdict(&[], GATEWAY, &known), Verdict::Drop);
        assert_eq!(verdict(&[0; 11], GATEWAY, &known), Verdict::Drop);

        let mut update = query("web.shop.internal.", RecordType::A);
        update.metadata.op_code = OpCode::Update;
        assert_eq!(ask(&update).metadata.response_code, ResponseCode::NotImp);
        let mut two = query("web.shop.internal.", RecordType::A);
        two.add_query(Query::query(Name::root(), RecordType::A));
        assert_eq!(ask(&two).metadata.response_code, ResponseCode::FormErr);
        let mut other = query("web.shop.internal.", RecordType::A);
        other.queries[0].set_query_class(DNSClass::CH);
        assert_eq!(ask(&other).metadata.response_code, ResponseCode::Refused);

        // The question is whole, a record after it is not.
        let mut cut = query("web.shop.internal.", RecordType::A).to_vec().unwrap();
        cut[11] = 1;
        let Verdict::Answer(bytes) = verdict(&cut, GATEWAY, &known) else { panic!() };
        assert_eq!(Message::from_vec(&bytes).unwrap().metadata.response_code, ResponseCode::FormErr);
        // A name that points at itself.
        let mut looped = query(".", RecordType::A).to_vec().unwrap();
        looped.splice(12..13, [0xc0, 12]);
        let Verdict::Answer(bytes) = verdict(&looped, GATEWAY, &known) else { panic!() };
        assert_eq!(bytes[3] & 0xf, 1);
    }

    #[test]
    fn a_failure_keeps_id_and_question() {
        let asked = query("example.com.", RecordType::AAAA);
        let found = Message::from_vec(&failure(&asked.to_vec().unwrap()).unwrap()).unwrap();
        assert_eq!((found.metadata.id, found.metadata.response_code), (0xbeef, ResponseCode::ServFail));
        assert_eq!(found.queries, asked.queries);
        assert_eq!(failure(&[1, 2, 3]), None);
    }

    fn checked(packet: &[u8]) {
        if let Verdict::Answer(bytes) = verdict(packet, GATEWAY, &|_, _| true) {
            let found = Message::from_vec(&bytes).unwrap();
            assert_eq!(found.metadata.message_type, MessageType::Response);
            assert_eq!(bytes[..2], packet[..2]);
            assert!(bytes.len() <= 512, "{}", bytes.len());
        }
        let _ = failure(packet);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(packet in proptest::collection::vec(any::<u8>(), 0..600)) {
            checked(&packet);
        }

        #[test]
        fn damaged_queries_never_panic(
            at in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6),
            cut in any::<proptest::sample::Index>(),
            edns in any::<bool>(),
        ) {
            let mut asked = query("web.shop.internal.", RecordType::A);
            if edns {
                asked.set_edns(Edns::new());
            }
            let mut packet = asked.to_vec().unwrap();
            for (index, byte) in at {
                let index = index.index(packet.len());
                packet[index] = byte;
            }
            packet.truncate(cut.index(packet.len()) + 1);
            checked(&packet);
        }
    }
}
