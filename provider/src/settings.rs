//! The provider block.

use crate::actions;
use crate::api_token::ApiToken;
use crate::data_source::KindData;
use crate::functions;
use crate::list::KindList;
use crate::report;
use crate::report_data::ReportData;
use crate::resource::KindResource;
use sampan_client::{Client, Config, Secret, Token};
use sampan_schema::report::REPORTS;
use sampan_schema::{KINDS, name, namespace};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tf_plugin::{Attr, Configured, Context, Diagnostics, Object, Provider, Registry, Schema, Type, path, validate};

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
    /// Labels of every resource that can have some; those of the resource win.
    pub default_labels: BTreeMap<String, String>,
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

/// The default labels that are known.
fn labels(config: &Object) -> BTreeMap<String, String> {
    let all = config.attr("default_labels").as_map().into_iter().flatten();
    all.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
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
            .attr(Attr::map("default_labels", Type::String).optional().describe(
                "Labels of every resource that can have some. Those of the resource win; `effective_labels` shows both.",
            ))
            .attr(Attr::int64("retries").optional().validate(validate::range(0..=20)).describe(
                "Further tries of a request after connection errors and the statuses 429, 502, 503 and 504, with \
                 growing pauses or those that the server asks for; 4 when it is null.",
            ))
            .attr(Attr::string("proxy").optional().sensitive().describe(
                "URL of an HTTP proxy. Variable `SAMPAN_PROXY`; without it those that many programs know: \
                 `HTTPS_PROXY`, `NO_PROXY`. Loopback is asked directly unless this is set.",
            ))
            .attr(Attr::string("ca_file").optional().describe(
                "File with certificates (PEM) that are trusted beside those of the system. Variable `SAMPAN_CA_FILE`.",
            ))
    }

    fn register(&self, registry: &mut Registry<Connection>) {
        for kind in KINDS {
            registry.resource(KindResource::new(kind)).data_source(KindData::new(kind)).list(KindList::new(kind));
        }
        for report in REPORTS {
            registry.data_source(ReportData::new(report));
        }
        registry.ephemeral(ApiToken);
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
        for wrong in namespace::labels(&labels(config)) {
            d.error(path!("default_labels"), "Invalid label", format!("{}: {}.", wrong.field_path, wrong.message));
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
        if let Some(retries) = config.attr("retries").as_i64().and_then(|n| u32::try_from(n).ok()) {
            settings.retries = retries;
        }
        settings.proxy = given(&config, "proxy", "SAMPAN_PROXY").map(Secret);
        if let Some(file) = given(&config, "ca_file", "SAMPAN_CA_FILE") {
            match std::fs::read_to_string(&file) {
                Ok(pem) => settings.ca_certificates = Some(pem),
                Err(error) => {
                    d.error(path!("ca_file"), "Certificates cannot be read", format!("{file}: {error}."));
                    return Configured::Failed;
                }
            }
        }
        let client = match Client::new(settings) {
            Ok(client) => client,
            Err(error) => {
                // The text says which setting it is.
                d.push(report::plain("Provider cannot be configured", &error));
                return Configured::Failed;
            }
        };
        // Asked now, so that a wrong address, token or version is told once, here, and before anything is planned.
        match cx.run(client.server()).await {
            Ok(Ok(_)) => {
                let namespace = given(&config, "namespace", "SAMPAN_NAMESPACE");
                let default_labels = labels(&config);
                Configured::Ready(Connection { client, namespace, default_labels, planned: Planned::default() })
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
