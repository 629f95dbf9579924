//! Many routes to many instances.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use sampan_engine::route::{Builder, RouteTable, Served, Serving, Split};
use sampan_schema::application::Port;
use sampan_schema::route::Spec;
use serde_json::{from_value, json};

pub const HOSTS: u64 = 100;
/// Of each host. Each has an application of its own.
pub const PATHS: u64 = 10;
const INSTANCES: u64 = 10;
pub const ENDPOINTS: u64 = HOSTS * PATHS * INSTANCES;

pub struct Routes {
    specs: Vec<Spec>,
    split: Split,
    ports: BTreeMap<String, Port>,
    /// What serves, held as the server holds it: what does not change stays the same one.
    applications: BTreeMap<String, Arc<Served>>,
    builder: Builder,
}

/// Host and path of a request for the n-th route.
pub fn target(n: u64) -> (String, String) {
    (format!("h-{}.bench", n / PATHS % HOSTS), format!("/p-{}/some/page", n % PATHS))
}

fn made_up(error: serde_json::Error) -> String {
    format!("made-up input: {error}")
}

fn spec(host: u64) -> Result<Spec, String> {
    let rule = |path: u64| {
        let number = host * PATHS + path;
        let mut backends = vec![json!({ "application": format!("a-{number}"), "port": "http", "weight": 90 })];
        if path == 1 {
            backends.push(json!({ "application": format!("a-{}", number + 1), "port": "http", "weight": 10 }));
        }
        json!({
            "name": format!("r-{path}"), "backends": backends,
            "matches": [{ "path": { "type": "PathPrefix", "value": format!("/p-{path}") } }],
        })
    };
    let spec = json!({
        "namespace": "n", "name": format!("h-{host}"), "visibility": "public",
        "hostnames": [format!("h-{host}.bench")], "rules": (0..PATHS).map(rule).collect::<Vec<_>>(),
    });
    from_value(spec).map_err(made_up)
}

impl Routes {
    pub fn new() -> Result<Self, String> {
        let split = Split {
            gray: "new".into(),
            weight: 1000,
            matches: from_value(json!([
                { "headers": [{ "name": "x-user", "type": "RegularExpression", "value": "tester-[0-9]+" }] },
                { "cookies": [{ "name": "theme", "value": "gray" }], "method": "GET" },
                { "path": { "value": "/gray" }, "source_cidrs": ["198.51.100.0/24"] },
            ]))
            .map_err(made_up)?,
            sticky: Some(from_value(json!({})).map_err(made_up)?),
            tag: "gray".into(),
            salt: 7,
            ..Split::default()
        };
        let ports = json!({ "http": { "container_port": 8080, "protocol": "HTTP" } });
        let ports = from_value(ports).map_err(made_up)?;
        let specs = (0..HOSTS).map(spec).collect::<Result<_, _>>()?;
        let mut routes = Self { specs, split, ports, applications: BTreeMap::new(), builder: Builder::default() };
        (0..HOSTS * PATHS).for_each(|number| routes.serve(number, 0));
        Ok(routes)
    }

    /// From now on a tenth of the applications, `turn` says which, has other instances.
    pub fn change(&mut self, turn: u64) {
        (0..HOSTS * PATHS).filter(|number| number % 10 == turn % 10).for_each(|number| self.serve(number, turn));
    }

    /// The table of what is now.
    pub fn table(&mut self, generation: u64) -> RouteTable {
        self.builder.table(generation, &self.specs, &self.applications, BTreeMap::new())
    }

    fn serve(&mut self, number: u64, attempt: u64) {
        let served = Arc::new(self.served(number, attempt));
        self.applications.insert(format!("n/a-{number}"), served);
    }

    fn served(&self, number: u64, attempt: u64) -> Served {
        let is_split = number.is_multiple_of(10);
        let instance = |n: u64| Serving {
            key: format!("a-{number}-abcd-{n}/0/{attempt}").into(),
            ip: IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + (number * INSTANCES + n) as u32)),
            revision: if is_split && n < 2 { "new".into() } else { "old".into() },
            ports: self.ports.clone(),
            warmup: None,
        };
        let split = is_split.then(|| self.split.clone());
        Served { instances: (0..INSTANCES).map(instance).collect(), split, ..Served::default() }
    }
}
