//! Turns answers of the container runtime into reasons. One table, because its codes alone say little:
//! an unreachable registry, a missing command and a reserved name all come as `Unknown`.

use sampan_engine::runtime::RuntimeError;
use tonic::{Code, Status};

struct Rule {
    /// Any of these texts; empty: the code alone decides.
    texts: &'static [&'static str],
    /// And this code, if given.
    code: Option<Code>,
    reason: &'static str,
    permanent: bool,
    advice: &'static str,
}

const fn rule(texts: &'static [&'static str], reason: &'static str, permanent: bool, advice: &'static str) -> Rule {
    Rule { texts, code: None, reason, permanent, advice }
}

const fn code(code: Code, reason: &'static str, permanent: bool, advice: &'static str) -> Rule {
    Rule { texts: &[], code: Some(code), reason, permanent, advice }
}

const IMAGE_TEXTS: &[&str] = &[
    "failed to resolve image",
    "failed to resolve reference",
    "failed to get image from containerd",
    "failed to pull and unpack image",
];

/// The first rule that fits decides.
const RULES: &[Rule] = &[
    code(Code::Cancelled, "DeadlineExceeded", false, "the state is unknown until it is listed again"),
    code(Code::DeadlineExceeded, "DeadlineExceeded", false, "the state is unknown until it is listed again"),
    rule(
        &["Timeout expired", "context deadline exceeded"],
        "DeadlineExceeded",
        false,
        "the state is unknown until it is listed again",
    ),
    rule(
        &["transport error", "h2 protocol error"],
        "RuntimeUnavailable",
        false,
        "the container runtime ended in the middle of the call; the state is unknown until it is listed again",
    ),
    rule(&["server is not initialized yet"], "RuntimeUnavailable", false, "the container runtime is still starting"),
    rule(
        &["failed to reserve container name", "failed to reserve sandbox name"],
        "NameReserved",
        false,
        "an earlier attempt is not cleaned up yet",
    ),
    rule(
        &["no runtime for"],
        "IsolationUnavailable",
        true,
        "configure the handler of this class in the container runtime",
    ),
    rule(
        &["server gave HTTP response to HTTPS client"],
        "RegistryNotTls",
        true,
        "give the registry TLS, or start the server with --insecure-registry HOST:PORT if it is trusted",
    ),
    rule(
        &[
            "401 Unauthorized",
            "403 Forbidden",
            "authorization failed",
            "pull access denied",
            "no basic auth credentials",
        ],
        "RegistryDenied",
        true,
        "check the credentials for this registry",
    ),
    rule(&["invalid reference format", "failed to parse reference"], "ImageInvalid", true, "check the image reference"),
    rule(&["no match for platform"], "ImageWrongPlatform", true, "the image has no variant for this machine"),
    rule(
        &[
            "connection refused",
            "no such host",
            "i/o timeout",
            "network is unreachable",
            "no route to host",
            "TLS handshake timeout",
            "failed to do request",
        ],
        "RegistryUnreachable",
        false,
        "check that the registry runs and can be reached from this host",
    ),
    rule(
        &["500 Internal Server Error", "502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout"],
        "RegistryUnreachable",
        false,
        "the registry is failing",
    ),
    rule(&["429 Too Many Requests"], "RegistryBusy", false, "the registry limits requests"),
    rule(&["no space left on device"], "DiskFull", false, "free space on the host"),
    rule(&["no IP addresses available"], "AddressesExhausted", false, "use a larger subnet, or fewer instances"),
    rule(&["failed to setup network for sandbox"], "NetworkFailed", false, "see the log of containerd"),
    rule(
        &["executable file not found", "stat /", ": no such file or directory: unknown"],
        "CommandNotFound",
        true,
        "check `command` and the image's entrypoint",
    ),
    rule(&["exec format error"], "ImageWrongPlatform", true, "the program is for another machine"),
    rule(&["no command specified"], "CommandNotFound", true, "the image has no entrypoint: set `command`"),
    rule(
        &["permission denied: unknown", "is a directory: unknown"],
        "CommandNotExecutable",
        true,
        "the command is not an executable file",
    ),
    Rule {
        texts: IMAGE_TEXTS,
        code: Some(Code::NotFound),
        reason: "ImageNotFound",
        permanent: true,
        advice: "check the image's name and digest",
    },
    rule(IMAGE_TEXTS, "ImagePullFailed", false, "see the log of the container runtime"),
    // Of a sandbox or container: what is gone is made again.
    code(Code::NotFound, "NotFound", false, "it is gone"),
    code(
        Code::Unavailable,
        "RuntimeUnavailable",
        false,
        "the container runtime does not answer; it is being restarted",
    ),
    code(Code::Unimplemented, "RuntimeTooOld", true, "the container runtime does not offer this call"),
    code(Code::InvalidArgument, "Invalid", true, "the container runtime refused the request"),
];

/// What a failed call means.
pub fn from_status(call: &str, status: &Status) -> RuntimeError {
    let text = status.message();
    let fits = |rule: &&Rule| {
        rule.code.is_none_or(|code| code == status.code())
            && (rule.texts.is_empty() || rule.texts.iter().any(|part| text.contains(part)))
    };
    match RULES.iter().find(fits) {
        Some(rule) => RuntimeError {
            reason: rule.reason.into(),
            message: format!("{call}: {}: {}", shorten(text), rule.advice),
            permanent: rule.permanent,
        },
        None => RuntimeError::transient("Unknown", format!("{call}: {}", shorten(text))),
    }
}

/// The call got no answer in time.
pub fn deadline(call: &str, seconds: u64) -> RuntimeError {
    RuntimeError::transient(
        "DeadlineExceeded",
        format!("{call}: no answer within {seconds} s; the state is unknown until it is listed again"),
    )
}

fn shorten(text: &str) -> String {
    const LIMIT: usize = 600;
    match text.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_string(),
    }
}

/// "Not found" is success for everything that removes.
pub fn gone_is_fine(result: Result<(), RuntimeError>) -> Result<(), RuntimeError> {
    match result {
        Err(error) if error.reason == "NotFound" => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_has_its_reason() {
        let unknown = Code::Unknown;
        let cases: &[(Code, &str, &str, bool)] = &[
            (
                Code::NotFound,
                r#"failed to pull and unpack image "r/a@sha256:0": failed to resolve reference "r/a@sha256:0": r/a@sha256:0: not found"#,
                "ImageNotFound",
                true,
            ),
            (Code::NotFound, r#"failed to resolve image "r/a": not found"#, "ImageNotFound", true),
            (
                unknown,
                r#"failed to pull and unpack image "r/a": failed to resolve reference "r/a": failed to do request: Head "http://r/v2/": dial tcp 127.0.0.1:1: connect: connection refused"#,
                "RegistryUnreachable",
                false,
            ),
            (
                unknown,
                r#"failed to pull and unpack image "r/a": failed to resolve reference "r/a": failed to do request: Head "https://r/v2/": dial tcp: lookup r: no such host"#,
                "RegistryUnreachable",
                false,
            ),
            (
                unknown,
                r#"failed to pull and unpack image "r/a": failed to resolve reference "r/a": failed to do request: Head "https://r/v2/": http: server gave HTTP response to HTTPS client"#,
                "RegistryNotTls",
                true,
            ),
            (
                unknown,
                r#"failed to pull and unpack image "r/a": failed to resolve reference "r/a": unexpected status code [manifests x]: 401 Unauthorized"#,
                "RegistryDenied",
                true,
            ),
            (
                unknown,
                r#"failed to pull and unpack image "r/a": failed to resolve reference "r/a": unexpected status code [manifests x]: 503 Service Unavailable"#,
                "RegistryUnreachable",
                false,
            ),
            (
                unknown,
                r#"failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "/nope": stat /nope: no such file or directory: unknown"#,
                "CommandNotFound",
                true,
            ),
            (
                unknown,
                r#"failed to create containerd task: OCI runtime create failed: unable to start container process: exec: "nope": executable file not found in $PATH: unknown"#,
                "CommandNotFound",
                true,
            ),
            (
                unknown,
                r#"OCI runtime create failed: unable to start container process: exec: "/etc": permission denied: unknown"#,
                "CommandNotExecutable",
                true,
            ),
            (
                unknown,
                r#"failed to generate container "x" spec: failed to generate spec: no command specified"#,
                "CommandNotFound",
                true,
            ),
            (
                unknown,
                r#"failed to reserve container name "main_web_ns_uid_0": name is reserved for "x""#,
                "NameReserved",
                false,
            ),
            (
                unknown,
                r#"failed to reserve sandbox name "web_ns_uid_0": name is reserved for "x""#,
                "NameReserved",
                false,
            ),
            (
                unknown,
                r#"failed to get sandbox runtime: no runtime for "kata" is configured"#,
                "IsolationUnavailable",
                true,
            ),
            (unknown, "server is not initialized yet", "RuntimeUnavailable", false),
            (
                unknown,
                r#"failed to setup network for sandbox "x": plugin type="bridge" failed (add): failed to allocate for range 0: no IP addresses available in range set: 10.0.0.1-10.0.0.2"#,
                "AddressesExhausted",
                false,
            ),
            (
                unknown,
                r#"failed to setup network for sandbox "x": plugin type="bridge" failed (add): x"#,
                "NetworkFailed",
                false,
            ),
            (
                Code::DeadlineExceeded,
                "failed to exec in container: timeout 1s exceeded: context deadline exceeded",
                "DeadlineExceeded",
                false,
            ),
            (Code::Cancelled, "Timeout expired", "DeadlineExceeded", false),
            (
                unknown,
                r#"failed to pull and unpack image "r/a": failed to extract layer: unexpected EOF"#,
                "ImagePullFailed",
                false,
            ),
            (Code::NotFound, "an error occurred when try to find container", "NotFound", false),
            (Code::Unavailable, "tcp connect error", "RuntimeUnavailable", false),
            (unknown, "transport error", "RuntimeUnavailable", false),
            (unknown, "something new", "Unknown", false),
        ];
        for (code, text, reason, permanent) in cases {
            let error = from_status("Call", &Status::new(*code, *text));
            assert_eq!((error.reason.as_str(), error.permanent), (*reason, *permanent), "{text}");
        }
    }

    #[test]
    fn long_texts_are_cut_at_a_character() {
        let error = from_status("Call", &Status::unknown("ü".repeat(2000)));
        assert!(error.message.len() < 1300);
    }
}
