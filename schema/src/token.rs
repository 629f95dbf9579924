//! Tokens of the API that end by themselves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::is_name;
use crate::permission::Role;

/// How long a token may live before it is renewed, in seconds.
pub const TTL_SECONDS: std::ops::RangeInclusive<u64> = 60..=86_400;

/// What a caller asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What lists call it. Need not be unique.
    #[schemars(regex(pattern = crate::name::PATTERN))]
    pub name: String,
    /// `admin` or `read_only`.
    pub role: String,
    /// Seconds from now to its end, 60 to 86400.
    #[schemars(range(min = 60, max = 86_400))]
    pub ttl_seconds: u64,
}

/// How much longer a token shall live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Renewal {
    /// Seconds from now to its end, 60 to 86400.
    #[schemars(range(min = 60, max = 86_400))]
    pub ttl_seconds: u64,
}

/// A token as the API shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TokenInfo {
    /// What it is renewed and revoked by.
    pub id: String,
    pub name: String,
    /// `admin` or `read_only`.
    pub role: String,
    /// RFC 3339.
    pub create_time: String,
    /// RFC 3339; empty when it does not end by itself.
    pub expire_time: String,
    /// Id of the token that it was made with; empty for those of the server.
    pub made_by: String,
}

/// A new token: the only time that it is shown.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MadeToken {
    #[serde(flatten)]
    pub info: TokenInfo,
    /// The token itself.
    pub token: String,
}

impl std::fmt::Debug for MadeToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MadeToken").field("info", &self.info).finish_non_exhaustive()
    }
}

/// What is wrong with a time to live, if anything.
pub fn ttl(seconds: u64) -> Result<(), String> {
    if TTL_SECONDS.contains(&seconds) {
        return Ok(());
    }
    Err(format!("ttl_seconds is {seconds}, want {} to {}", TTL_SECONDS.start(), TTL_SECONDS.end()))
}

impl NewToken {
    /// The role that is asked for.
    ///
    /// # Errors
    /// What is wrong with the request.
    pub fn checked(&self) -> Result<Role, String> {
        if !is_name(&self.name) {
            return Err(format!("name is {:?}, want lower-case letters, digits and -, from a letter on", self.name));
        }
        ttl(self.ttl_seconds)?;
        Role::of(&self.role).ok_or_else(|| format!("role is {:?}, want admin or read_only", self.role))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_is_asked_for_has_a_name_a_role_and_an_end() {
        let ask = |name: &str, role: &str, ttl_seconds| {
            NewToken { name: name.into(), role: role.into(), ttl_seconds }.checked()
        };
        assert_eq!(ask("ci", "admin", 60), Ok(Role::Admin));
        assert_eq!(ask("ci", "read_only", 86_400), Ok(Role::ReadOnly));
        for (name, role, ttl, word) in [
            ("Ci", "admin", 60, "name"),
            ("", "admin", 60, "name"),
            ("ci", "root", 60, "role"),
            ("ci", "admin", 59, "ttl_seconds"),
            ("ci", "admin", 86_401, "ttl_seconds"),
        ] {
            let error = ask(name, role, ttl).unwrap_err();
            assert!(error.starts_with(word), "{error}");
        }
    }

    #[test]
    fn a_role_has_one_word_everywhere() {
        for role in Role::ALL {
            assert_eq!(serde_json::to_value(role).unwrap(), role.word());
            assert_eq!(Role::of(role.word()), Some(role));
        }
    }

    #[test]
    fn a_new_token_is_not_in_its_debug_form() {
        let made = MadeToken { info: TokenInfo::default(), token: "s3cret".into() };
        assert!(!format!("{made:?}").contains("s3cret"));
    }
}
