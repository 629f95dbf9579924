//! Who may depend on whom. The test `edges` holds the workspace to this table; `cargo xtask edges` draws it.

/// A crate, and every crate of ours it may use, at run time, in its build and in its tests.
#[derive(Debug, Clone, Copy)]
pub struct Edges {
    pub name: &'static str,
    pub may_use: &'static [&'static str],
}

/// The table. A crate that is not in it is an error, and so is an edge.
pub const TABLE: &[Edges] = &[
    Edges { name: "sampan-schema", may_use: &[] },
    Edges { name: "tf-plugin", may_use: &[] },
    Edges { name: "sampan-client", may_use: &["sampan-schema"] },
    Edges { name: "terraform-provider-sampan", may_use: &["sampan-schema", "sampan-client", "tf-plugin"] },
    Edges { name: "sampan-validator", may_use: &["sampan-schema"] },
    Edges { name: "sampan-engine", may_use: &["sampan-schema"] },
    Edges { name: "sampan-store", may_use: &["sampan-schema"] },
    Edges { name: "sampan-gateway", may_use: &["sampan-engine"] },
    Edges { name: "sampan-node", may_use: &["sampan-engine"] },
    Edges {
        name: "sampan-server",
        may_use: &["sampan-schema", "sampan-engine", "sampan-store", "sampan-gateway", "sampan-node"],
    },
    Edges {
        name: "sampan",
        may_use: &[
            "sampan-schema",
            "sampan-client",
            "sampan-validator",
            "sampan-engine",
            "sampan-node",
            "sampan-server",
        ],
    },
    Edges { name: "sampan-testacc", may_use: &["sampan-schema", "sampan-node"] },
    Edges {
        name: "xtask",
        may_use: &[
            "sampan-schema",
            "sampan-validator",
            "sampan-engine",
            "sampan-gateway",
            "sampan-node",
            "sampan-testacc",
            "tf-plugin",
            "terraform-provider-sampan",
        ],
    },
];

/// A Mermaid diagram of the table, for ARCHITECTURE.md.
pub fn diagram() -> String {
    let mut out = String::from("graph TD\n");
    for edges in TABLE {
        for to in edges.may_use {
            out.push_str(&format!("  {} --> {to}\n", edges.name));
        }
    }
    out
}
