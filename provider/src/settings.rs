//! The provider block.

use crate::actions;
use crate::data_source::KindData;
use crate::functions;
use crate::list::KindList;
use crate::report;
use crate::report_data::ReportData;
use crate::resource::KindResource;
use sampan_client::{Client, Config, Token};
use sampan_schema::report::REPORTS;
use sampan_schema::{KINDS, name};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tf_plugin::{Attr, Configured, Context, Diagnostics, Object, Provider, Registry, Schema, path};

/// The provider.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sampan;

/// What the provider block comes to.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Where requests go.
    pub client: Client,
    /// Namespace of resources that name none.
    pub namespace: Option<String>,
    /// What this run is going to make or change.
    pub(crate) planned: Planned,
}

/// Gray policies that plans of this process make or change, by namespace and name. Terraform plans what is referred to
/// before what refers to it, and through the same provider, so an application finds its policy here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Planned(Arc<Mutex<BTreeSet<(String, String)>>>);

impl Planned {
    /// A policy will be made or changed.
    pub(crate) fn note(&self, namespace: &str, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((namespace.to_owned(), name.to_owned()));
    }

    /// Whether a policy will be made or changed.
    pub(crate) fn has(&self, namespace: &str, name: &str) -> bool {
        let planned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        planned.contains(&(namespace.to_owned(), name.to_owned()))
    }
}

/// The value of an argument, or of its variable when it is not set.
fn given(config: &Object, argument: &str, variable: &str) -> Option<String> {
    let written = config.attr(argument).as_str().map(str::to_owned);
    written.or_else(|| std::env::var(variable).ok().filter(|value| !value.is_empty()))
}

impl Provider for Sampan {
    type Client = Connection;

    fn schema(&self) -> Schema {
        Schema::new(0)
            .describe("Applications, their routes and configuration on a Sampan server.")
            .attr(
                Attr::string("endpoint").optional().describe(
                    "Address of the server: `https://…`, or `http://…` on loopback. Variable `SAMPAN_ENDPOINT`.",
                ),
            )
            .attr(
                Attr::string("token")
                    .optional()
                    .sensitive()
                    .describe("Token of the API. May be ephemeral. Variable `SAMPAN_TOKEN`."),
            )
            .attr(
                Attr::string("token_file").optional().describe(
                    "File with the token, read again when the server refuses it. Variable `SAMPAN_TOKEN_FILE`.",
                ),
            )
            .attr(
                Attr::string("namespace")
                    .optional()
                    .describe("Namespace of resources and data sources that name none. Variable `SAMPAN_NAMESPACE`."),
            )
    }

    fn register(&self, registry: &mut Registry<Connection>) {
        for kind in KINDS {
            registry.resource(KindResource::new(kind)).data_source(KindData::new(kind)).list(KindList::new(kind));
        }
        for report in REPORTS {
            registry.data_source(ReportData::new(report));
        }
        functions::register(registry);
        actions::register(registry);
    }

    async fn validate(&self, _: &Context, config: &Object, d: &mut Diagnostics) {
        if config.attr("token").as_str().is_some() && config.attr("token_file").as_str().is_some() {
            d.error(path!("token_file"), "Two tokens", "Write token or token_file, not both.");
        }
        if let Some(namespace) = config.attr("namespace").as_str().filter(|namespace| !name::is_name(namespace)) {
            d.error(path!("namespace"), "Invalid namespace", format!("{namespace:?} is no name of a namespace."));
        }
    }

    async fn configure(&self, cx: &Context, config: Object, d: &mut Diagnostics) -> Configured<Connection> {
        if let Some(offline) = Configured::offline_if_unknown(&config) {
            return offline;
        }
        let Some(endpoint) = given(&config, "endpoint", "SAMPAN_ENDPOINT") else {
            let text = "Set endpoint in the provider block, or the variable SAMPAN_ENDPOINT.";
            d.error(path!("endpoint"), "Where is the server?", text);
            return Configured::Failed;
        };
        // What is written wins over any variable.
        let token = match (config.attr("token").as_str(), config.attr("token_file").as_str()) {
            (Some(text), _) => Token::Text(text.to_owned()),
            (None, Some(file)) => Token::File(PathBuf::from(file)),
            (None, None) => match given(&config, "token", "SAMPAN_TOKEN") {
                Some(text) => Token::Text(text),
                None => {
                    given(&config, "token_file", "SAMPAN_TOKEN_FILE").map_or(Token::None, |f| Token::File(f.into()))
                }
            },
        };
        let from = match &token {
            Token::None => None,
            Token::Text(_) if config.attr("token").is_null() => Some("the variable SAMPAN_TOKEN".to_owned()),
            Token::Text(_) => Some("token in this block".to_owned()),
            Token::File(path) => Some(format!("the file {}", path.display())),
        };
        let mut settings = Config::new(endpoint, token);
        settings.user_agent = concat!("terraform-provider-sampan/", env!("CARGO_PKG_VERSION")).to_owned();
        let client = match Client::new(settings) {
            Ok(client) => client,
            Err(error) => {
                d.push(report::plain("Provider cannot be configured", &error).at(path!("endpoint")));
                return Configured::Failed;
            }
        };
        // Asked now, so that a wrong address, token or version is told once, here, and before anything is planned.
        match cx.run(client.server()).await {
            Ok(Ok(_)) => {
                let namespace = given(&config, "namespace", "SAMPAN_NAMESPACE");
                Configured::Ready(Connection { client, namespace, planned: Planned::default() })
            }
            Ok(Err(error)) => {
                d.push(report::unusable(&error, from.as_deref()));
                Configured::Failed
            }
            Err(interrupted) => {
                d.error(None, "Provider is not configured", interrupted.to_string());
                Configured::Failed
            }
        }
    }
}
