//! The lane of a request: in its own header and, for what carries OpenTelemetry baggage on, as a member of that.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::headers;

const LANE: HeaderName = HeaderName::from_static("x-sampan-lane");
const BAGGAGE: HeaderName = HeaderName::from_static("baggage");
const MEMBER: &[u8] = b"sampan.lane";

/// The lane that a request names. The header wins over baggage; several that differ name none.
pub(crate) fn claimed(headers: &HeaderMap) -> Option<String> {
    let mut named: Vec<&[u8]> = headers.get_all(LANE).iter().map(|v| v.as_bytes().trim_ascii()).collect();
    if named.is_empty() {
        named = headers.get_all(BAGGAGE).iter().flat_map(members).filter_map(lane_of).collect();
    }
    let (first, rest) = named.split_first()?;
    let first = std::str::from_utf8(first).ok()?;
    rest.iter().all(|other| *other == first.as_bytes()).then(|| first.to_owned())
}

/// Removes the lane from both. Other members of baggage pass unchanged.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> = headers.keys().filter(|n| is_lane(n)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
    strip_baggage(headers);
}

/// Removes the lane from baggage only.
pub(crate) fn strip_baggage(headers: &mut HeaderMap) {
    if !headers.get_all(BAGGAGE).iter().flat_map(members).any(|m| lane_of(m).is_some()) {
        return;
    }
    let kept: Vec<HeaderValue> = headers
        .get_all(BAGGAGE)
        .iter()
        .filter_map(|value| {
            let members: Vec<&[u8]> = members(value).filter(|m| lane_of(m).is_none()).collect();
            HeaderValue::from_bytes(members.join(&b","[..]).trim_ascii()).ok().filter(|v| !v.is_empty())
        })
        .collect();
    headers.remove(BAGGAGE);
    for value in kept {
        headers.append(BAGGAGE, value);
    }
}

/// Puts the lane into both, in place of any other. Baggage becomes one line, for many read only the first, and the
/// lane comes first, for baggage that is too long is cut at its end.
pub(crate) fn set(headers: &mut HeaderMap, lane: Option<&str>) {
    strip(headers);
    let Some(lane) = lane else { return };
    let mut baggage = [MEMBER, b"=", lane.as_bytes()].concat();
    for value in headers.get_all(BAGGAGE) {
        baggage.push(b',');
        baggage.extend_from_slice(value.as_bytes());
    }
    // A lane is a name, and the rest was a value before: both are valid.
    if let (Ok(lane), Ok(baggage)) = (HeaderValue::from_str(lane), HeaderValue::from_bytes(&baggage)) {
        headers.insert(LANE, lane);
        headers.insert(BAGGAGE, baggage);
    }
}

/// Some languages' servers cannot tell `_` from `-`.
pub(crate) fn is_lane(name: &HeaderName) -> bool {
    headers::is_same(name.as_str().as_bytes(), LANE.as_str())
}

fn members(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|b| *b == b',')
}

/// The lane, if the member is one; its properties do not belong to it.
fn lane_of(member: &[u8]) -> Option<&[u8]> {
    let entry = member.split(|b| *b == b';').next().unwrap_or(member);
    let mut halves = entry.splitn(2, |b| *b == b'=');
    let key = halves.next().unwrap_or_default().trim_ascii();
    key.eq_ignore_ascii_case(MEMBER).then(|| halves.next().unwrap_or_default().trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(list: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in list {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn lines(headers: &HeaderMap) -> Vec<(&str, &str)> {
        headers.iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect()
    }

    #[test]
    fn the_header_wins_over_baggage() {
        let claimed = |list: &[(&str, &str)]| claimed(&map(list));
        assert_eq!(claimed(&[("x-sampan-lane", "a"), ("baggage", "sampan.lane=b")]).as_deref(), Some("a"));
        assert_eq!(claimed(&[("baggage", "k=v, Sampan.Lane = b ;p=1")]).as_deref(), Some("b"));
        assert_eq!(claimed(&[("x-sampan-lane", "a"), ("x-sampan-lane", "a")]).as_deref(), Some("a"));
        assert_eq!(claimed(&[("x-sampan-lane", "a"), ("x-sampan-lane", "b")]), None);
        assert_eq!(claimed(&[("baggage", "sampan.lane=a"), ("baggage", "sampan.lane=b")]), None);
        assert_eq!(claimed(&[("baggage", "xsampan.lane=a,sampan.lanes=a")]), None);
    }

    #[test]
    fn setting_replaces_and_keeps_other_members() {
        let sent =
            [("x_sampan_lane", "z"), ("baggage", "a=1,sampan.lane=z"), ("baggage", "b=2;p"), ("x-sampan-lane", "z")];
        let mut headers = map(&sent);
        set(&mut headers, Some("gray"));
        let mut found = lines(&headers);
        found.sort_unstable();
        assert_eq!(found, [("baggage", "sampan.lane=gray,a=1,b=2;p"), ("x-sampan-lane", "gray")]);
        set(&mut headers, None);
        assert_eq!(lines(&headers), [("baggage", "a=1,b=2;p")]);
    }
}
