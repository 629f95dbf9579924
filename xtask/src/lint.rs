//! The pages of `sampan lint`: one for each rule, and the list.

use std::collections::BTreeMap;

use sampan_validator::rules::{RULES, SCHEMA_RULES};

const INTRODUCTION: &str = "\
# Rules of `sampan lint`

`sampan lint PATH` reads Terraform configuration without terraform, provider or network. `sampan lint --plan plan.json`
judges what `terraform show -json` says of a plan. `sampan explain SMP301` prints a page of this folder, and `sampan lsp`
shows the findings in an [editor](../guides/editors.md) while you type.

`--fix` makes the safe fixes: those that keep the meaning of the configuration, its format and its comments. `--diff`
shows them and changes nothing; it ends with 1 if there is something to change. `--changed-since REF` reports only what
is about files that changed since a commit.

The rules of the second table are those of the schema. Provider and API server refuse the same with the same id, as an
error. SMP102 to SMP699 of the first table are about what is risky. From SMP900 on the rules are about the configuration as a text.

A rule that could not decide, because a value is unknown, is never a finding. The summary counts these and says what
they wait for; `-v` lists them.

A finding is silenced by a comment with a reason, and perhaps a last day:
`# sampan:ignore SMP301 reason=\"load test\" until=2027-03-31`. At the end of a line it is for that line. On a line of its
own it is for the argument or block below; above a `module` call it is for everything that the module makes. A comment
that silences nothing is a finding itself.

| exit code | meaning |
| --- | --- |
| 0 | nothing at or above `--fail-on`, which is `warning` |
| 1 | findings |
| 2 | input that could not be analysed: syntax, a file that cannot be read |
| 3 | wrong usage or configuration |

The nearest `.sampanlint.hcl` upwards has the settings `fail_on`, `baseline`, `var_file`, `policies` (files or
folders, see [policies](../guides/policies.md)), `production` (patterns of
namespaces), `required_labels`, `registries` (patterns of registries or repositories), `budget_cpu`, `budget_memory`, and the blocks `rule \"SMP301\" { severity = \"error\" }` (or `enabled = false`) and
`per_path \"examples/**\" { ignore = [\"SMP303\"] }`.
";

/// The files by their path in the repository.
pub fn pages() -> BTreeMap<String, String> {
    let mut index = format!(
        "{INTRODUCTION}\n## Rules of the linter\n\n| id | name | severity | says |\n| --- | --- | --- | --- |\n"
    );
    let mut files = BTreeMap::new();
    for rule in RULES {
        let meta = rule.meta();
        let (id, severity) = (meta.id, meta.severity.word());
        index.push_str(&format!("| [{id}]({id}.md) | {} | {severity} | {} |\n", meta.name, meta.summary()));
        files.insert(format!("docs/lint/{id}.md"), format!("{}\n", meta.page.trim_end()));
    }
    index.push_str("\n## Rules of the schema\n\n| id | says |\n| --- | --- |\n");
    for (id, says) in SCHEMA_RULES {
        index.push_str(&format!("| {id} | {says} |\n"));
    }
    files.insert("docs/lint/index.md".into(), index);
    files
}
