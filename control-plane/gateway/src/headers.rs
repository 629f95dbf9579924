//! What of a message's head is refused, dropped or added on its way through.

use std::net::IpAddr;

use http::header::{
    CONNECTION, CONTENT_TYPE, COOKIE, EXPECT, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
    UPGRADE,
};
use http::uri::Authority;
use http::{Method, Uri, Version};
use sampan_engine::route::{Cookie, Headers, Listener};

use crate::lane;

pub(crate) const REVISION: HeaderName = HeaderName::from_static("x-sampan-revision");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The host to route by: lower case, without port and final dot.
pub(crate) fn host(uri: &Uri, version: Version, headers: &HeaderMap) -> Result<String, &'static str> {
    let mut all = headers.get_all(HOST).iter();
    let value = match (all.next(), all.next()) {
        (Some(value), None) => value,
        (None, None) if version == Version::HTTP_2 => {
            let named = uri.authority().and_then(|a| authority(a.as_str()));
            return named.map(|(host, _)| host).ok_or("the authority is missing or not valid");
        }
        _ => return Err("exactly one Host header is needed"),
    };
    let (host, port) = value.to_str().ok().and_then(authority).ok_or("the Host header is not valid")?;
    if let Some(target) = uri.authority() {
        let same = authority(target.as_str()).is_some_and(|(h, p)| h == host && p.unwrap_or(80) == port.unwrap_or(80));
        if !same {
            return Err("the Host header differs from the request target");
        }
    }
    Ok(host)
}

fn authority(text: &str) -> Option<(String, Option<u16>)> {
    // Most are a name and nothing else.
    if !text.is_empty() && !text.ends_with('.') && text.bytes().all(is_plain) {
        return Some((text.to_ascii_lowercase(), None));
    }
    let parsed: Authority = text.parse().ok()?;
    let host = parsed.host();
    // Neither user info nor anything else that the parser forgives.
    let port = match text.strip_prefix(host)? {
        "" => None,
        rest => Some(rest.strip_prefix(':').filter(|p| p.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()?),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let literal = host.starts_with('[') && host.ends_with(']');
    let plain = host.bytes().all(is_plain);
    (!host.is_empty() && (literal || plain)).then(|| (host.to_ascii_lowercase(), port))
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

/// Refuses what the gateway and an endpoint could understand differently.
pub(crate) fn check(method: &Method, uri: &Uri, version: Version, headers: &HeaderMap) -> Result<(), &'static str> {
    if *method == Method::CONNECT {
        return Err("CONNECT is not served");
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(first) = codings.next() {
        let chunked = first.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
        if !chunked || codings.next().is_some() || version != Version::HTTP_11 {
            return Err("the only Transfer-Encoding served is one `chunked`");
        }
    }
    if has_dot_segment(uri.path()) {
        return Err("the path has dot segments or a NUL");
    }
    Ok(())
}

/// `.` and `..`, also percent-encoded or between backslashes: routed as written, but many endpoints resolve them.
fn has_dot_segment(path: &str) -> bool {
    if !path.bytes().any(|b| matches!(b, b'.' | b'%')) {
        return false;
    }
    let lower = path.to_ascii_lowercase();
    if lower.contains("%00") {
        return true;
    }
    let plain = lower.replace("%2e", ".").replace("%2f", "/").replace("%5c", "/").replace('\\', "/");
    // A parameter after `;` is not part of the segment's name for servers that know them.
    plain.split('/').any(|segment| matches!(segment.split(';').next(), Some("." | "..")))
}

/// Whether the request is one of gRPC over HTTP/2, which an endpoint is sent in the same way.
pub(crate) fn is_grpc(version: Version, headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let prefix = b"application/grpc";
    version == Version::HTTP_2 && kind.get(..prefix.len()).is_some_and(|k| k.eq_ignore_ascii_case(prefix))
}

/// What HTTP/2 says in another way becomes headers of HTTP/1.1: the authority, and one line of cookies.
pub(crate) fn from_http2(uri: &Uri, headers: &mut HeaderMap) {
    if !headers.contains_key(HOST) {
        if let Some(host) = uri.authority().and_then(|a| HeaderValue::from_str(a.as_str()).ok()) {
            headers.insert(HOST, host);
        }
    }
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1 {
        if let Ok(whole) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
            headers.insert(COOKIE, whole);
        }
    }
}

/// The protocol of an upgrade that is passed on.
pub(crate) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut all = headers.get_all(UPGRADE).iter();
    let (Some(value), None) = (all.next(), all.next()) else { return None };
    let asked = tokens(headers).any(|t| t.eq_ignore_ascii_case("upgrade"));
    // HTTP/2 by upgrade would pass everything after it unseen.
    let wanted = value.to_str().is_ok_and(|v| {
        !v.split(',').any(|p| {
            let name = p.split('/').next().unwrap_or(p).trim();
            ["h2c", "h2", "http", "tls"].iter().any(|refused| name.eq_ignore_ascii_case(refused))
        })
    });
    (asked && wanted).then(|| value.clone())
}

fn tokens(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers.get_all(CONNECTION).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')).map(str::trim)
}

/// Drops what is meant for this hop only.
pub(crate) fn drop_hop_by_hop(headers: &mut HeaderMap) {
    drop_and(headers, |_| false);
}

/// Drops what is meant for this hop only, and `more`.
fn drop_and(headers: &mut HeaderMap, more: impl Fn(&HeaderName) -> bool) {
    // In one pass over what there is: to look for each by its name costs more than the few headers of a message.
    let mut dropped: Vec<HeaderName> = headers.keys().filter(|n| is_hop_by_hop(n) || more(n)).cloned().collect();
    if dropped.contains(&CONNECTION) {
        // Most name only what is dropped in any case.
        let named = tokens(headers).filter(|t| !["keep-alive", "upgrade"].iter().any(|k| t.eq_ignore_ascii_case(k)));
        let named: Vec<HeaderName> =
            named.filter_map(|t| HeaderName::from_bytes(t.as_bytes()).ok()).filter(|n| *n != HOST).collect();
        dropped.extend(named);
    }
    for name in dropped {
        headers.remove(name);
    }
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// Makes a request's headers those for the endpoint, without a lane: that is the route's to set. `Host` stays.
/// `client` is its address.
pub(crate) fn to_endpoint(headers: &mut HeaderMap, listener: Listener, client: &HeaderValue) {
    let is_public = listener == Listener::Public;
    drop_and(headers, |n| *n == EXPECT || lane::is_lane(n) || (is_public && is_reserved(n.as_str())));
    lane::strip_baggage(headers);
    let chain = if is_public { None } else { chain(headers, client) };
    headers.insert(FORWARDED_FOR, chain.unwrap_or_else(|| client.clone()));
    headers.entry(FORWARDED_PROTO).or_insert(HeaderValue::from_static("http"));
    if let Some(host) = headers.get(HOST).cloned() {
        headers.entry(FORWARDED_HOST).or_insert(host);
    }
}

/// The addresses that a request has come by, if there are any before this client's.
fn chain(headers: &HeaderMap, client: &HeaderValue) -> Option<HeaderValue> {
    let before: Vec<&str> = headers.get_all(FORWARDED_FOR).iter().filter_map(|v| v.to_str().ok()).collect();
    let last = client.to_str().ok().filter(|_| !before.is_empty())?;
    HeaderValue::from_str(&format!("{}, {last}", before.join(", "))).ok()
}

/// As endpoints are told it.
pub(crate) fn address(ip: IpAddr) -> HeaderValue {
    // An address has no character that a header cannot have.
    HeaderValue::from_str(&ip.to_canonical().to_string()).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// The line that makes a caller known. Without `Secure`: the gateway speaks plain HTTP, and a browser would not send
/// such a cookie back to it.
pub(crate) fn set_cookie(cookie: &Cookie<'_>) -> Option<HeaderValue> {
    let Cookie { name, value, max_age_seconds } = cookie;
    HeaderValue::from_str(&format!("{name}={value}; Max-Age={max_age_seconds}; Path=/; HttpOnly; SameSite=Lax")).ok()
}

/// A request's headers as the route sees them.
pub(crate) struct Seen<'a>(pub(crate) &'a HeaderMap);

impl Headers for Seen<'_> {
    fn values(&self, name: &str) -> Vec<&str> {
        self.0.get_all(name).iter().filter_map(|v| std::str::from_utf8(v.as_bytes()).ok()).collect()
    }
}

/// Names only the gateway may set. Some languages' servers cannot tell `_` from `-`.
fn is_reserved(name: &str) -> bool {
    if !name.starts_with(['x', 'f']) {
        return false;
    }
    let begins = |prefix: &str| name.len() >= prefix.len() && is_same(&name.as_bytes()[..prefix.len()], prefix);
    let is = |whole: &str| is_same(name.as_bytes(), whole);
    begins("x-sampan-") || begins("x-forwarded-") || is(FORWARDED.as_str()) || is("x-real-ip")
}

/// Names in lower case, `_` the same as `-`.
pub(crate) fn is_same(name: &[u8], plain: &str) -> bool {
    name.len() == plain.len() && name.iter().zip(plain.bytes()).all(|(a, b)| *a == b || (*a == b'_' && b == b'-'))
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

    #[test]
    fn hosts() {
        let uri: Uri = "/".parse().unwrap();
        for (value, want) in [
            ("Example.COM", Some("example.com")),
            ("example.com:8080", Some("example.com")),
            ("example.com.", Some("example.com")),
            ("[::1]:80", Some("[::1]")),
            ("10.0.0.1", Some("10.0.0.1")),
            ("", None),
            (".", None),
            ("a@b", None),
            ("a:b", None),
            ("a:", None),
            ("a:99999", None),
            ("a/b", None),
            ("a b", None),
            ("a,b", None),
            ("a?b", None),
        ] {
            assert_eq!(host(&uri, Version::HTTP_11, &map(&[("host", value)])).ok().as_deref(), want, "{value}");
        }
        assert!(host(&uri, Version::HTTP_11, &map(&[])).is_err());
        assert!(host(&uri, Version::HTTP_11, &map(&[("host", "a"), ("host", "a")])).is_err());
        let absolute: Uri = "http://a/x".parse().unwrap();
        assert!(host(&absolute, Version::HTTP_11, &map(&[("host", "A:80")])).is_ok());
        assert!(host(&absolute, Version::HTTP_11, &map(&[("host", "b")])).is_err());
        assert!(host(&absolute, Version::HTTP_11, &map(&[("host", "a:81")])).is_err());
    }

    #[test]
    fn http2_names_its_host_in_one_way_or_in_two_that_agree() {
        let uri: Uri = "http://A.example:80/x".parse().unwrap();
        let host = |uri: &Uri, list: &[(&str, &str)]| host(uri, Version::HTTP_2, &map(list)).ok();
        assert_eq!(host(&uri, &[]).as_deref(), Some("a.example"));
        assert_eq!(host(&uri, &[("host", "a.example")]).as_deref(), Some("a.example"));
        assert_eq!(host(&uri, &[("host", "b.example")]), None);
        assert_eq!(host(&uri, &[("host", "a.example"), ("host", "a.example")]), None);
        assert_eq!(host(&Uri::from_static("/x"), &[]), None);
        let mut headers = map(&[("cookie", "a=1"), ("cookie", "b=2")]);
        from_http2(&uri, &mut headers);
        assert_eq!(
            (&headers["host"], &headers["cookie"]),
            (&"A.example:80".parse().unwrap(), &"a=1; b=2".parse().unwrap())
        );
    }

    #[test]
    fn dot_segments() {
        for path in ["/..", "/a/../b", "/%2e%2E/b", "/a/.%2e", "/..%2fb", "/a%5c..%5cb", "/./a", "/a/..;x/b", "/a%00"] {
            assert!(has_dot_segment(path), "{path}");
        }
        for path in ["/", "//a", "/a..b", "/...", "/a/.well-known/x", "/a.b/", "/%20"] {
            assert!(!has_dot_segment(path), "{path}");
        }
    }

    #[test]
    fn lanes_and_what_is_reserved_are_stripped() {
        let sent = [
            ("host", "h"),
            ("X-Sampan-Lane", "a"),
            ("x-sampan-lane", "b"),
            ("x_sampan_lane", "c"),
            ("x-forwarded-for", "6.6.6.6"),
            ("x_forwarded_proto", "https"),
            ("forwarded", "for=6.6.6.6"),
            ("baggage", "user=1;p=2, Sampan.Lane = x ;q, k=v"),
            ("baggage", "sampan.lane=y"),
            ("baggage", "z=1"),
            ("connection", "x-custom, close, x-sampan-lane"),
            ("x-custom", "1"),
            ("te", "trailers"),
        ];
        let mut headers = map(&sent);
        to_endpoint(&mut headers, Listener::Public, &address([10, 0, 0, 1].into()));
        let names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        for gone in ["x-sampan-lane", "x_sampan_lane", "x_forwarded_proto", "forwarded", "connection", "x-custom", "te"]
        {
            assert!(!names.contains(&gone), "{gone}");
        }
        let baggage: Vec<_> = headers.get_all("baggage").iter().map(|v| v.to_str().unwrap()).collect();
        assert_eq!(baggage, ["user=1;p=2, k=v", "z=1"]);
        assert_eq!(headers["x-forwarded-for"], "10.0.0.1");
        assert_eq!(
            (&headers["x-forwarded-proto"], &headers["x-forwarded-host"]),
            (&"http".parse().unwrap(), &"h".parse().unwrap())
        );

        let mut headers = map(&sent[..10]);
        to_endpoint(&mut headers, Listener::Internal, &address([10, 0, 0, 1].into()));
        assert!(!headers.contains_key("x-sampan-lane") && !headers.contains_key("x_sampan_lane"));
        let baggage: Vec<_> = headers.get_all("baggage").iter().map(|v| v.to_str().unwrap()).collect();
        assert_eq!(baggage, ["user=1;p=2, k=v", "z=1"]);
        assert_eq!(headers["x-forwarded-for"], "6.6.6.6, 10.0.0.1");
    }

    #[test]
    fn upgrades() {
        let asked = |v| upgrade(&map(&[("connection", "keep-alive, Upgrade"), ("upgrade", v)])).is_some();
        assert!(asked("websocket"));
        assert!(!asked("h2c") && !asked("websocket, h2c") && !asked("HTTP/2.0") && !asked("TLS/1.0"));
        assert!(upgrade(&map(&[("upgrade", "websocket")])).is_none());
    }
}
