//! A token of the API for one run of Terraform: made, renewed and revoked with it, and stored nowhere.

use crate::report;
use crate::settings::Connection;
use sampan_client::Error;
use sampan_schema::permission::Role;
use sampan_schema::token::{NewToken, TTL_SECONDS};
use std::time::{Duration, SystemTime};
use tf_plugin::{
    Attr, Context, Diagnostic, Diagnostics, EphemeralResource, Interrupted, Object, OpenRequest, Opened, Private,
    Renewed, Schema, validate,
};

/// Life of a token that says nothing else; it is renewed while Terraform runs.
const TTL: u64 = 900;
/// How long the end may take: Terraform may be in a hurry.
const CLOSE: Duration = Duration::from_secs(10);
/// Keys of what is kept for renew and close. The token itself is not kept.
const ID: &str = "id";
const SECONDS: &str = "ttl_seconds";

/// The ephemeral resource `sampan_api_token`.
pub(crate) struct ApiToken;

/// When two thirds of a life are over: the next try still comes in time.
fn renewal(ttl: u64) -> SystemTime {
    SystemTime::now() + Duration::from_secs(ttl * 2 / 3)
}

fn kept(id: &str, ttl: u64) -> Private {
    let mut private = Private::new();
    // Neither key is reserved, and both values have a JSON form.
    let _ = private.set(ID, id);
    let _ = private.set(SECONDS, &ttl);
    private
}

fn refused(summary: &str, answer: Result<Error, Interrupted>) -> Diagnostic {
    match answer {
        Ok(Error::Problem(problem)) if problem.status == 403 && problem.code == "FORBIDDEN" => Diagnostic::error(
            summary,
            format!("{}. A token can be made with one of the role admin that lives longer.", Error::Problem(problem)),
        ),
        Ok(error) => report::plain(summary, &error),
        Err(why) => Diagnostic::error(summary, format!("No answer came before {why}.")),
    }
}

impl EphemeralResource<Connection> for ApiToken {
    fn type_name(&self) -> &'static str {
        "sampan_api_token"
    }

    fn schema(&self) -> Schema {
        let roles = Role::ALL.map(Role::word);
        let ttl = validate::range(*TTL_SECONDS.start() as i64..=*TTL_SECONDS.end() as i64);
        Schema::new(0)
            .describe("A token of the API that lives as long as this run of Terraform, and is in no state and no plan.")
            .attr(
                Attr::string("role")
                    .required()
                    .validate(validate::one_of(roles))
                    .describe("What it may: `read_only` reads, `admin` does everything."),
            )
            .attr(
                Attr::string("name")
                    .optional()
                    .validate(validate::regex_as(sampan_schema::name::PATTERN, "a name"))
                    .describe("What the server's list calls it; `terraform` when it is null."),
            )
            .attr(Attr::int64("ttl_seconds").optional().validate(ttl).describe(
                "When it ends if nobody renews it, 60 to 86400 seconds; 900 when it is null. It is renewed in time \
                 while Terraform runs, and revoked at the end. Terraform does not close what an apply that fails has \
                 opened: such a token ends by itself.",
            ))
            .attr(Attr::string("id").computed().describe("What the server calls it. Not secret."))
            .attr(Attr::string("expire_time").computed().describe("RFC 3339; a renewal moves it."))
            .attr(Attr::string("token").computed().sensitive().describe("The token."))
    }

    async fn open(&self, cx: &Context, to: &Connection, rq: OpenRequest) -> Opened {
        let text = |name: &str| rq.config.attr(name).as_str().map(str::to_owned);
        let ttl = rq.config.attr("ttl_seconds").as_i64().and_then(|n| u64::try_from(n).ok()).unwrap_or(TTL);
        let new = NewToken {
            name: text("name").unwrap_or_else(|| "terraform".to_owned()),
            role: text("role").unwrap_or_default(),
            ttl_seconds: ttl,
        };
        let made = match cx.run(to.client.make_token(&new)).await {
            Ok(Ok(made)) => made,
            Ok(Err(error)) => return Opened::failed(refused("No token was made", Ok(error))),
            Err(why) => return Opened::failed(refused("No token was made", Err(why))),
        };
        let result: Object = rq
            .config
            .with("id", made.info.id.as_str())
            .with("expire_time", made.info.expire_time.as_str())
            .with("token", made.token.as_str());
        Opened::result(result).with_private(kept(&made.info.id, ttl)).renew_at(renewal(ttl))
    }

    async fn renew(&self, cx: &Context, to: &Connection, private: Private) -> Renewed {
        let (Ok(Some(id)), Ok(Some(ttl))) = (private.get::<String>(ID), private.get::<u64>(SECONDS)) else {
            return Renewed::failed(Diagnostic::error(
                "The token was not renewed",
                "Terraform lost what it is called.",
            ));
        };
        match cx.run(to.client.renew_token(&id, Duration::from_secs(ttl))).await {
            Ok(Ok(_)) => Renewed::until(renewal(ttl)),
            Ok(Err(error)) => Renewed::failed(refused("The token was not renewed", Ok(error))),
            Err(why) => Renewed::failed(refused("The token was not renewed", Err(why))),
        }
    }

    async fn close(&self, _: &Context, to: &Connection, private: Private, d: &mut Diagnostics) {
        let Ok(Some(id)) = private.get::<String>(ID) else { return };
        // Also after an interrupt, which the context of the call would pass on.
        let why = match tokio::time::timeout(CLOSE, to.client.revoke_token(&id)).await {
            Ok(Ok(_)) => return,
            Ok(Err(error)) if error.is_not_found() => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer came in {} s", CLOSE.as_secs()),
        };
        let text = format!("{why}. The token {id} ends by itself; `expire_time` says when.");
        d.warn(None, "The token was not revoked", text);
    }
}
