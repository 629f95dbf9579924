//! Where the server is, and the token.

use std::path::PathBuf;
use std::time::Duration;

use sampan_client::{Client, Config, Token};

use crate::error::Failure;

/// Flags of every verb that talks to a server.
#[derive(Clone, clap::Args)]
pub struct Connection {
    /// API of the server.
    #[arg(
        long,
        global = true,
        env = "SAMPAN_ENDPOINT",
        hide_env_values = true,
        default_value = "http://127.0.0.1:7080",
        value_name = "URL"
    )]
    pub endpoint: String,
    /// File with the token; SAMPAN_TOKEN holds a token itself and is used when there is no file.
    #[arg(long, global = true, env = "SAMPAN_TOKEN_FILE", hide_env_values = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Never a flag: command lines are visible to others.
    #[arg(skip = std::env::var("SAMPAN_TOKEN").ok())]
    pub token: Option<String>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} with {}", self.endpoint, self.token_source())
    }
}

impl Connection {
    fn named_file(&self) -> Option<&PathBuf> {
        self.token_file.as_ref().filter(|path| !path.as_os_str().is_empty())
    }

    /// Where the token came from, for error texts.
    pub fn token_source(&self) -> String {
        match (self.named_file(), &self.token) {
            (Some(path), _) => format!("the token of file {}", path.display()),
            (None, Some(token)) if !token.trim().is_empty() => "the token of SAMPAN_TOKEN".into(),
            _ => "no token was given".into(),
        }
    }

    /// A client; sends nothing.
    ///
    /// # Errors
    /// An endpoint that cannot be one.
    pub fn client(&self) -> Result<Client, Failure> {
        self.patient_client(Duration::from_secs(30))
    }

    /// A client whose requests may take `timeout`.
    ///
    /// # Errors
    /// As [`Self::client`].
    pub fn patient_client(&self, timeout: Duration) -> Result<Client, Failure> {
        let token = match (self.named_file(), &self.token) {
            (Some(path), _) => Token::File(path.clone()),
            (None, Some(token)) if !token.trim().is_empty() => Token::Text(token.trim().to_owned()),
            _ => Token::None,
        };
        let mut config = Config::new(&self.endpoint, token);
        config.user_agent = concat!("sampan-cli/", env!("CARGO_PKG_VERSION")).into();
        config.timeout = timeout;
        config.retries = 2;
        Ok(Client::new(config)?)
    }
}
